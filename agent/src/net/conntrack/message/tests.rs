use super::*;

fn tuple(source: &str, destination: &str) -> Tuple {
    Tuple {
        protocol: Protocol::TCP,
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

fn requested(tuple: &Tuple) -> Vec<u8> {
    let mut writer = Writer::default();
    request(&mut writer, 9, tuple);
    writer.bytes().to_vec()
}

/// An answer with this kind and payload.
fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(kind, 0, 7, |writer| writer.raw(payload));
    writer.bytes().to_vec()
}

fn all(bytes: &[u8]) -> Vec<(u32, Result<Answer, Malformed>)> {
    answers(bytes).collect()
}

#[test]
fn a_request_has_the_layout_of_the_header_file() {
    let bytes = requested(&tuple("10.0.0.1:258", "10.0.0.2:80"));
    let mut wanted = Vec::new();
    wanted.extend(72_u32.to_ne_bytes());
    wanted.extend([0x0101_u16, 1].map(u16::to_ne_bytes).concat());
    wanted.extend([9_u32, 0].map(u32::to_ne_bytes).concat());
    // struct nfgenmsg: the family, the version, no resource.
    wanted.extend([2, 0, 0, 0]);
    let header = |length: u16, kind: u16| [length, kind].map(u16::to_ne_bytes).concat();
    wanted.extend(header(52, 0x8001));
    wanted.extend(header(20, 0x8001));
    wanted.extend([header(8, 1), vec![10, 0, 0, 1]].concat());
    wanted.extend([header(8, 2), vec![10, 0, 0, 2]].concat());
    wanted.extend(header(28, 0x8002));
    wanted.extend([header(5, 1), vec![6, 0, 0, 0]].concat());
    wanted.extend([header(6, 2), vec![1, 2, 0, 0]].concat());
    wanted.extend([header(6, 3), vec![0, 80, 0, 0]].concat());
    assert_eq!(bytes, wanted);
}

/// An entry, with what else the kernel says of one before and between.
fn entry_of(original: &Tuple, reply: &Tuple) -> Vec<u8> {
    let nested = |tuple: &Tuple| requested(tuple)[24..].to_vec();
    let mut writer = Writer::default();
    writer.message(NEW, 0, 7, |writer| {
        writer.raw(&[2, 0, 0, 0]);
        writer.attribute(3, &[0, 0, 1, 8]);
        writer.nested(CTA_TUPLE_ORIG, |writer| writer.raw(&nested(original)));
        writer.attribute(11, b"seven b");
        writer.nested(CTA_TUPLE_REPLY, |writer| writer.raw(&nested(reply)));
    });
    writer.bytes().to_vec()
}

#[test]
fn an_entry_is_read_in_both_families() {
    for (original, reply) in [
        (
            tuple("10.0.0.1:1000", "10.96.0.1:80"),
            tuple("10.0.0.9:8080", "10.0.0.1:1000"),
        ),
        (
            tuple("[fd00::1]:1000", "[fd96::1]:80"),
            tuple("[fd00::9]:8080", "[fd00::1]:1000"),
        ),
    ] {
        let bytes = entry_of(&original, &reply);
        let entry = Entry { original, reply };
        assert_eq!(all(&bytes), [(7, Ok(Answer::Entry(entry)))]);
    }
}

#[test]
fn an_entry_that_lacks_a_part_is_malformed() {
    let original = tuple("10.0.0.1:1000", "10.96.0.1:80");
    let whole = entry_of(&original, &tuple("10.0.0.9:8080", "10.0.0.1:1000"));
    for length in 16..whole.len() {
        let cut = message(NEW, &whole[16..length]);
        // The last attribute's padding says nothing.
        if length < whole.len() - 2 {
            assert_eq!(all(&cut), [(7, Err(Malformed))], "{length}");
        }
        // A length that is more than there is leads nowhere.
        assert_eq!(all(&whole[..length]), [], "{length}");
    }
}

#[test]
fn errors_are_told_by_their_number() {
    let error = |errno: i32| all(&message(NLMSG_ERROR, &errno.to_ne_bytes()));
    assert_eq!(error(-2), [(7, Ok(Answer::NoEntry))]);
    assert_eq!(error(-1), [(7, Ok(Answer::Refused(1)))]);
    assert_eq!(error(0), [(7, Ok(Answer::Other))]);
    assert_eq!(all(&message(NLMSG_ERROR, &[1])), [(7, Err(Malformed))]);
    assert_eq!(all(&message(99, b"?")), [(7, Ok(Answer::Other))]);
}

#[test]
fn one_that_is_malformed_does_not_hide_those_behind_it() {
    let bytes = [
        message(NEW, b""),
        message(NLMSG_ERROR, &[254, 255, 255, 255]),
    ]
    .concat();
    let all = all(&bytes);
    assert_eq!(all, [(7, Err(Malformed)), (7, Ok(Answer::NoEntry))]);
}

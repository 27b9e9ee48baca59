use super::{Address, Code, Fault, Kind, Message, name::is_host};

/// A message from its header's flags and counts, and what follows.
pub(super) fn message(id: u16, flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [id, flags].into_iter().chain(counts) {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(rest);
    bytes
}

/// A name without pointers.
pub(super) fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// A question of class IN.
pub(super) fn question(text: &str, kind: Kind) -> Vec<u8> {
    [name(text), kind.0.to_be_bytes().to_vec(), vec![0, 1]].concat()
}

/// A record of class IN.
pub(super) fn record(owner: &[u8], kind: Kind, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("data").to_be_bytes();
    [
        owner,
        &kind.0.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &length,
        data,
    ]
    .concat()
}

/// A pointer to the question's name.
const QUESTION: [u8; 2] = [0xc0, 12];

fn address(ip: &str, ttl: u32) -> Address {
    Address {
        ip: ip.parse().expect("an address"),
        ttl,
    }
}

#[test]
fn a_query_says_its_question() {
    // As glibc 2.36 asked for www.example.com, with EDNS.
    let bytes = [
        &message(0x1234, 0x0100, [1, 0, 0, 1], &[])[..],
        &question("WWW.Example.com", Kind::AAAA),
        &[0, 0, 41, 4, 0xb0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let message = Message::parse(&bytes).expect("a query");
    assert_eq!(message.id, 0x1234);
    assert!(!message.is_answer);
    let question = message.question.expect("a question");
    assert_eq!(&*question.name, "www.example.com");
    assert_eq!(question.kind, Kind::AAAA);
    assert!(message.addresses.is_empty());
}

#[test]
fn addresses_belong_to_the_name_that_was_asked_for() {
    let alias = name("edge.example.net");
    let mut rest = question("www.example.com", Kind::A);
    // The order is the server's to choose: the addresses come before the name that leads to them.
    rest.extend(record(&alias, Kind::A, 300, &[192, 0, 2, 1]));
    rest.extend(record(&alias, Kind::A, 20, &[192, 0, 2, 2]));
    rest.extend(record(&QUESTION, Kind::CNAME, 60, &alias));
    // Of another name, and of another type.
    rest.extend(record(&name("other.example"), Kind::A, 60, &[192, 0, 2, 9]));
    rest.extend(record(&alias, Kind(16), 60, b"\x03abc"));
    let bytes = message(7, 0x8180, [1, 5, 0, 0], &rest);
    let message = Message::parse(&bytes).expect("an answer");
    assert!(message.is_answer && !message.is_truncated);
    assert_eq!(message.code, Code::NOERROR);
    assert_eq!(
        message.addresses,
        [address("192.0.2.1", 60), address("192.0.2.2", 20)]
    );
}

#[test]
fn names_that_stand_for_each_other_end() {
    let (a, b) = (name("a.example"), name("b.example"));
    let mut rest = question("a.example", Kind::A);
    rest.extend(record(&a, Kind::CNAME, 60, &b));
    rest.extend(record(&b, Kind::CNAME, 60, &a));
    rest.extend(record(&a, Kind::A, 60, &[192, 0, 2, 1]));
    let bytes = message(7, 0x8180, [1, 3, 0, 0], &rest);
    let message = Message::parse(&bytes).expect("an answer");
    // Both were taken once, which leads back to the first name.
    assert_eq!(message.addresses, [address("192.0.2.1", 60)]);
}

#[test]
fn the_code_has_the_bits_that_edns_adds() {
    let rest = [
        question("x.example", Kind::A),
        vec![0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0],
    ]
    .concat();
    let answer = Message::parse(&message(1, 0x8180, [1, 0, 0, 1], &rest)).expect("an answer");
    assert_eq!(answer.code, Code(16));
    assert_eq!(answer.code.name(), "badvers");
    let answer = Message::parse(&message(1, 0x8183, [1, 0, 0, 0], &rest)).expect("an answer");
    assert_eq!(answer.code, Code::NXDOMAIN);
}

#[test]
fn an_answer_that_is_cut_keeps_what_came_before() {
    let mut rest = question("x.example", Kind::A);
    rest.extend(record(&QUESTION, Kind::A, 60, &[192, 0, 2, 1]));
    rest.extend(record(&QUESTION, Kind::A, 60, &[192, 0, 2, 2]));
    let bytes = message(1, 0x8380, [1, 2, 0, 0], &rest);
    let answer = Message::parse(&bytes[..bytes.len() - 1]).expect("an answer");
    assert!(answer.is_truncated);
    assert_eq!(answer.addresses, [address("192.0.2.1", 60)]);
    assert_eq!(Message::parse(&bytes[..20]), Err(Fault::Name(14)));
    assert_eq!(Message::parse(&bytes[..11]), Err(Fault::Short(11)));
}

#[test]
fn pointers_lead_back_and_nowhere_else() {
    for rest in [
        // At itself, ahead, and at the header's end by way of itself.
        vec![0xc0, 12, 0, 1, 0, 1],
        vec![0xc0, 14, 0, 0, 1, 0, 1],
        vec![1, b'a', 0xc0, 12, 0, 1, 0, 1],
        // A reserved kind of label.
        vec![0x41, b'a', 0, 0, 1, 0, 1],
    ] {
        let bytes = message(1, 0x0100, [1, 0, 0, 0], &rest);
        assert!(
            matches!(Message::parse(&bytes), Err(Fault::Name(_))),
            "{rest:?}"
        );
    }
    // 128 labels of one byte are 256 bytes.
    let long = [[1, b'a'].repeat(127), vec![0, 0, 1, 0, 1]].concat();
    assert!(Message::parse(&message(1, 0x0100, [1, 0, 0, 0], &long)).is_ok());
    let longer = [[1, b'a'].repeat(128), vec![0, 0, 1, 0, 1]].concat();
    assert!(Message::parse(&message(1, 0x0100, [1, 0, 0, 0], &longer)).is_err());
}

#[test]
fn what_no_host_is_called_is_escaped() {
    let rest = [b"\x04a.\\\n\x00".to_vec(), vec![0, 1, 0, 1]].concat();
    let query = Message::parse(&message(1, 0x0100, [1, 0, 0, 0], &rest)).expect("a query");
    let name = query.question.expect("a question").name;
    assert_eq!(&*name, "a\\046\\092\\010");
    assert!(!is_host(&name) && !is_host("."));
    assert!(is_host("_sip._udp.example-1.com"));
}

#[test]
fn what_is_no_query_for_one_name_is_refused() {
    let rest = question("x.example", Kind::A);
    // A dynamic update, two questions, none.
    for (flags, questions) in [(0x2800, 1), (0x0100, 2), (0x0100, 0)] {
        let bytes = message(1, flags, [questions, 0, 0, 0], &rest);
        assert!(matches!(Message::parse(&bytes), Err(Fault::NoQuery { .. })));
    }
    // An error may come without the question.
    let answer = Message::parse(&message(1, 0x8181, [0, 0, 0, 0], &[])).expect("an answer");
    assert_eq!(answer.question, None);
    assert_eq!(answer.code.name(), "formerr");
}

mod corpus;
mod late;

use super::*;

type Read = Vec<(Name, Option<String>)>;

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| u8::try_from(char::from(digit).to_digit(16).expect("a digit")).expect("small"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub(super) fn block(decoder: &mut Decoder, bytes: &[u8]) -> Result<Read, Error> {
    let mut read = Vec::new();
    decoder.begin();
    let used = decoder.decode(bytes, &mut |name, value| {
        let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
        read.push((name, text));
    })?;
    decoder.end(bytes.len() - used)?;
    Ok(read)
}

fn is(name: Name, value: &str) -> (Name, Option<String>) {
    (name, Some(value.to_owned()))
}

const OTHER: (Name, Option<String>) = (Name::Other, None);

fn request(decoder: &mut Decoder, hex: &str, path: &str, others: usize) {
    let read = block(decoder, &bytes(hex)).expect("a block");
    let mut expected = vec![is(Name::Method, "GET"), OTHER, is(Name::Path, path)];
    expected.extend(std::iter::repeat_n(OTHER, others));
    assert_eq!(read, expected);
}

/// Appendix C.2.
#[test]
fn single_representations() {
    let mut decoder = Decoder::new();
    let read = block(
        &mut decoder,
        &bytes("400a637573746f6d2d6b65790d637573746f6d2d686561646572"),
    );
    assert_eq!(read, Ok(vec![OTHER]));
    assert_eq!(decoder.table.sizes(), (1, 55));
    let mut decoder = Decoder::new();
    let read = block(&mut decoder, &bytes("040c2f73616d706c652f70617468"));
    assert_eq!(read, Ok(vec![is(Name::Path, "/sample/path")]));
    let read = block(&mut decoder, &bytes("100870617373776f726406736563726574"));
    assert_eq!(read, Ok(vec![OTHER]));
    assert_eq!(
        block(&mut decoder, &bytes("82")),
        Ok(vec![is(Name::Method, "GET")])
    );
    assert_eq!(decoder.table.sizes(), (0, 0));
}

/// Appendix C.3 and C.4.
#[test]
fn requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let huffman = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new();
        request(&mut decoder, blocks[0], "/", 1);
        assert_eq!(decoder.table.sizes(), (1, 57));
        request(&mut decoder, blocks[1], "/", 2);
        assert_eq!(decoder.table.sizes(), (2, 110));
        request(&mut decoder, blocks[2], "/index.html", 2);
        assert_eq!(decoder.table.sizes(), (3, 164));
    }
}

/// Appendix C.5 and C.6: a table of 256 bytes, from which entries are evicted.
#[test]
fn responses() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745
         4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let huffman = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0
         03ed 4ee5 b106 3d50 07",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        let sizes = [(4, 222), (4, 222), (3, 215)];
        for ((hex, status), sizes) in blocks.iter().zip(["302", "307", "200"]).zip(sizes) {
            let read = block(&mut decoder, &bytes(hex)).expect("a block");
            assert_eq!(read[0], is(Name::Status, status));
            assert!(read[1..].iter().all(|field| *field == OTHER));
            assert_eq!(decoder.table.sizes(), sizes);
        }
    }
}

#[test]
fn a_block_can_be_cut_anywhere() {
    let whole = bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    let prepared = || {
        let mut decoder = Decoder::new();
        for hex in [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
        ] {
            block(&mut decoder, &bytes(hex)).expect("a block");
        }
        decoder
    };
    let expected = block(&mut prepared(), &whole).expect("a block");
    for cut in 0..=whole.len() {
        let mut decoder = prepared();
        let mut read = Vec::new();
        let mut visit = |name, value: Option<&[u8]>| {
            let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
            read.push((name, text));
        };
        decoder.begin();
        let used = decoder.decode(&whole[..cut], &mut visit).expect("a start");
        let rest = decoder
            .decode(&whole[used..], &mut visit)
            .expect("the rest");
        assert_eq!(decoder.end(whole.len() - used - rest), Ok(()));
        assert_eq!(read, expected, "cut at {cut}");
        assert_eq!(decoder.table.sizes(), (3, 164));
    }
}

#[test]
fn a_query_is_not_kept() {
    let mut decoder = Decoder::new();
    let read = block(&mut decoder, b"\x44\x0b/a?key=pass");
    assert_eq!(read, Ok(vec![is(Name::Path, "/a")]));
    // The entry counts with all of its bytes nevertheless.
    assert_eq!(decoder.table.sizes(), (1, 32 + 5 + 11));
    assert_eq!(block(&mut decoder, b"\xbe"), Ok(vec![is(Name::Path, "/a")]));
}

/// A string literal that is not compressed.
pub(super) fn text(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let most = 127;
    if value.len() < most {
        bytes.push(value.len() as u8);
    } else {
        bytes.push(most as u8);
        let mut rest = value.len() - most;
        while rest > 127 {
            bytes.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(value);
    bytes
}

#[test]
fn a_value_is_read_up_to_its_bound_and_stepped_over_behind_it() {
    let long = vec![b'a'; 3 * MAX_VALUE];
    let mut bytes = vec![0x04];
    bytes.extend(text(&long));
    bytes.push(0x82);
    for cut in [0, 5, MAX_VALUE, 2 * MAX_VALUE, bytes.len()] {
        let mut decoder = Decoder::new();
        let mut read = Vec::new();
        let mut visit = |name, value: Option<&[u8]>| read.push((name, value.map(<[u8]>::len)));
        decoder.begin();
        let used = decoder.decode(&bytes[..cut], &mut visit).expect("a start");
        let rest = decoder
            .decode(&bytes[used..], &mut visit)
            .expect("the rest");
        assert_eq!(used + rest, bytes.len());
        assert_eq!(decoder.end(0), Ok(()));
        assert_eq!(
            read,
            [(Name::Path, Some(MAX_VALUE)), (Name::Method, Some(3))],
            "cut at {cut}"
        );
    }
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    block(&mut decoder, b"\x44\x02/a").expect("a block");
    let mut large = vec![0x44];
    large.extend(text(&[b'/'; 5000]));
    block(&mut decoder, &large).expect("a block");
    assert_eq!(decoder.table.sizes(), (0, 0));
    assert_eq!(block(&mut decoder, b"\xbe"), Err(Error::Index(62)));
    // One of which only the start is read, too.
    block(&mut decoder, b"\x44\x02/a").expect("a block");
    let mut large = vec![0x44];
    large.extend(text(&vec![b'/'; 3 * MAX_VALUE]));
    block(&mut decoder, &large).expect("a block");
    assert_eq!(block(&mut decoder, b"\xbe"), Err(Error::Index(62)));
}

#[test]
fn what_is_no_block_is_refused() {
    let refused = |bytes: &[u8]| block(&mut Decoder::new(), bytes).expect_err("no block");
    assert_eq!(refused(b"\x80"), Error::Index(0));
    assert_eq!(refused(b"\xbe"), Error::Index(62));
    assert_eq!(refused(b"\x7e\x01a"), Error::Index(62));
    assert_eq!(refused(b"\xff\xff\xff\xff\xff\x0f"), Error::Number);
    assert_eq!(refused(b"\x82\x20"), Error::LateSize);
    assert_eq!(refused(b"\x04\x05/a"), Error::Truncated);
    assert_eq!(refused(b"\x04"), Error::Truncated);
    // A name of 9,000 bytes.
    assert_eq!(refused(b"\x00\x7f\xa9\x45aaaa"), Error::LongName(9000));
    // The end of string, eight bits of padding, and padding with zeros.
    assert_eq!(refused(b"\x04\x84\xff\xff\xff\xff"), Error::Huffman);
    assert_eq!(refused(b"\x04\x82\x1f\xff"), Error::Huffman);
    assert_eq!(refused(b"\x04\x81\x18"), Error::Huffman);
}

#[test]
fn changes_of_the_size_evict_and_bound() {
    let mut decoder = Decoder::new();
    block(&mut decoder, b"\x44\x02/a\x44\x02/b").expect("a block");
    assert_eq!(decoder.table.sizes(), (2, 78));
    // 40 bytes hold one of them.
    let read = block(&mut decoder, b"\x3f\x09\xbe").expect("a block");
    assert_eq!(read, [is(Name::Path, "/b")]);
    assert_eq!(decoder.table.sizes(), (1, 39));
    // A table of 2^20 bytes, of which 64 KiB are held: what is behind them is unknown, and no error.
    block(&mut decoder, b"\x3f\xe1\xff\x3f").expect("a block");
    for number in 0..3000 {
        let value = format!("/{number:04}");
        let mut bytes = vec![0x44];
        bytes.extend(text(value.as_bytes()));
        block(&mut decoder, &bytes).expect("a block");
    }
    let (entries, size) = decoder.table.sizes();
    assert!(size <= MAX_HELD && entries < 3000, "{entries} {size}");
    let newest = block(&mut decoder, b"\xbe").expect("a block");
    assert_eq!(newest, [is(Name::Path, "/2999")]);
    let oldest = block(&mut decoder, b"\xff\xb7\x16").expect("a block");
    assert_eq!(oldest, [(Name::Unknown, None)]);
}

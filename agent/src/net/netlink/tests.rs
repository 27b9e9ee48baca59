use super::*;

#[test]
fn what_is_written_is_read_back() {
    let mut writer = Writer::default();
    writer.message(7, NLM_F_REQUEST, 5, |writer| {
        writer.raw(&[1, 2, 3, 4]);
        writer.nested(1, |writer| {
            writer.attribute(2, b"five.");
            writer.attribute(3, &[9]);
        });
        writer.attribute(4, b"");
    });
    writer.message(8, NLM_F_DUMP, 6, |_| ());
    let bytes = writer.bytes();
    let (first, behind) = split(bytes).expect("a message");
    assert_eq!((first.kind, first.sequence), (7, 5));
    let attributes = &first.payload[4..];
    let nested = attribute(attributes, 1).expect("an attribute");
    assert_eq!(attribute(nested, 2), Some(&b"five."[..]));
    assert_eq!(attribute(nested, 3), Some(&[9][..]));
    assert_eq!(attribute(nested, 4), None);
    assert_eq!(attribute(attributes, 4), Some(&b""[..]));
    let (second, behind) = split(behind).expect("a message");
    assert_eq!((second.kind, second.payload), (8, &b""[..]));
    assert!(behind.is_empty() && split(behind).is_none());
}

#[test]
fn the_layout_is_that_of_the_header_file() {
    let mut writer = Writer::default();
    writer.message(0x0102, 0x301, 9, |writer| writer.attribute(5, &[6, 7]));
    let mut wanted = 24_u32.to_ne_bytes().to_vec();
    wanted.extend([0x0102_u16, 0x301].map(u16::to_ne_bytes).concat());
    wanted.extend([9_u32, 0].map(u32::to_ne_bytes).concat());
    wanted.extend([6_u16, 5].map(u16::to_ne_bytes).concat());
    wanted.extend([6, 7, 0, 0]);
    assert_eq!(writer.bytes(), wanted);
}

#[test]
fn a_length_that_leads_nowhere_is_the_end() {
    for length in [0_u16, 3, 200] {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([1, 0, 0, 0, 0, 0]);
        assert_eq!(attribute(&bytes, 2), None, "{length}");
    }
    for length in [0_u32, 15, 17, u32::MAX] {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(HEADER, 0);
        assert_eq!(split(&bytes), None, "{length}");
    }
}

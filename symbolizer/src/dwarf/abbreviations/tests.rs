use gimli::constants as dw;
use object::Endianness;

use super::{Abbreviations, Kind};
use crate::dwarf::{
    cursor::Cursor,
    form::{Encoding, Value},
};

const ENCODING: Encoding = Encoding {
    version: 4,
    address: 8,
    offset: 4,
};

fn parse(bytes: &[u8]) -> Result<Abbreviations, &'static str> {
    Abbreviations::parse(Cursor::new(bytes, Endianness::Little), true, ENCODING, None)
}

/// An inlined call with values of a fixed size, an entry with a block, and a variable.
const TABLE: [u8; 29] = [
    1, 0x1d, 1, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x59, 0x05, 0, 0, // inlined
    2, 0x34, 0, 0x02, 0x18, 0x3a, 0x0b, 0, 0, // variable
    9, 0x24, 0, 0, 0, // a type without attributes
    0, 0,
];

#[test]
fn codes_need_no_order() {
    let table = parse(&TABLE).expect("a table");
    assert_eq!(table.get(1).map(|entry| entry.kind), Some(Kind::Inlined));
    assert_eq!(table.get(2).map(|entry| entry.kind), Some(Kind::Other));
    assert!(table.get(9).is_some());
    for code in [0, 3, 8, 10, u64::MAX] {
        assert!(table.get(code).is_none());
    }
    let turned = [&TABLE[22..27], &TABLE[..22], &[0]].concat();
    let table = parse(&turned).expect("a table");
    assert_eq!(table.get(1).map(|entry| entry.kind), Some(Kind::Inlined));
    assert!(table.get(9).is_some() && table.get(3).is_none());
}

#[test]
fn values_are_skipped_and_read() {
    let table = parse(&TABLE).expect("a table");
    let bytes = [
        7, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x20, 0, 0, 0, 0x34, 0x12,
    ];
    let entry = table.get(1).expect("it");
    let mut cursor = Cursor::new(&bytes, Endianness::Little);
    let mut found = Vec::new();
    table
        .values(entry, &mut cursor, |name, value| found.push((name, value)))
        .expect("whole");
    assert_eq!(cursor.at(), bytes.len());
    assert_eq!(
        found[1],
        (dw::DW_AT_low_pc, Value::Address(0x0807_0605_0403_0201))
    );
    assert_eq!(found[3], (dw::DW_AT_call_line, Value::Constant(0x1234)));
    // The layout reads the same, and needs some bytes behind.
    let (layout, length) = table.layout_of(entry).expect("its sizes are fixed");
    assert_eq!(length as usize, bytes.len());
    assert!(
        layout
            .read(&mut Cursor::new(&bytes, Endianness::Little), length)
            .is_none()
    );
    let longer = [&bytes[..], &[0xff; 8]].concat();
    let mut cursor = Cursor::new(&longer, Endianness::Little);
    let call = layout.read(&mut cursor, length).expect("whole");
    assert_eq!(cursor.at(), bytes.len());
    assert_eq!((call.call_line, call.call_file), (0x1234, 0));
    assert_eq!(call.code.0, Some(found[1].1));
    assert_eq!(call.code.1, Some(Value::Constant(0x20)));

    let variable = table.get(2).expect("it");
    let bytes = [3, 0xaa, 0xbb, 0xcc, 1];
    let mut cursor = Cursor::new(&bytes, Endianness::Little);
    table.skip(variable, &mut cursor).expect("whole");
    assert_eq!(cursor.at(), bytes.len());
    let mut cursor = Cursor::new(&bytes[..3], Endianness::Little);
    assert_eq!(table.skip(variable, &mut cursor), None);
}

#[test]
fn what_is_cut_short_or_unknown_is_an_error() {
    for length in 0..TABLE.len() - 2 {
        let is_between = [0, 13, 22, 27].contains(&length);
        assert_eq!(parse(&TABLE[..length]).is_ok(), is_between, "{length}");
    }
    assert!(parse(&[1, 0x34, 0, 3, 0x7f, 0, 0, 0]).is_err());
}

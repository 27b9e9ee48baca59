use super::*;

/// An ELF file without sections: one segment of code at 0x1000 and one of data at 0x2000, which begins with `table`.
fn program(table: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x2000];
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    bytes[16..24].copy_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    bytes[32] = 64;
    bytes[54..58].copy_from_slice(&[56, 0, 2, 0]);
    for (place, (flags, at, size)) in [
        (5_u32, 0x1000_u64, 0x1000_u64),
        (6, 0x2000, table.len() as u64),
    ]
    .into_iter()
    .enumerate()
    {
        let header = &mut bytes[64 + 56 * place..][..56];
        header[..4].copy_from_slice(&1_u32.to_le_bytes());
        header[4..8].copy_from_slice(&flags.to_le_bytes());
        for field in [8, 16, 24] {
            header[field..field + 8].copy_from_slice(&at.to_le_bytes());
        }
        for field in [32, 40] {
            header[field..field + 8].copy_from_slice(&size.to_le_bytes());
        }
    }
    bytes.extend(table);
    bytes
}

/// A table of two functions, `a.A` and `b.B`, whose code starts at `text`.
fn table(text: u64) -> Vec<u8> {
    let names = b"\0a.A\0b.B\0";
    let functions = HEADER + 16;
    let words = [
        u64::from(MAGICS[1]) | 1 << 48 | 8 << 56,
        2,
        0,
        text,
        HEADER,
        HEADER + 9,
        0,
        0,
        functions,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(names);
    bytes.resize(functions as usize, 0);
    // Two functions, the end, and their descriptions, which name them the other way round.
    for number in [0, 20, 16, 28, 32, 0, 5, 16, 1] {
        bytes.extend(u32::to_le_bytes(number));
    }
    bytes
}

fn found(table: &[u8]) -> Result<Vec<Found>, Why> {
    let bytes = program(table);
    let image = Image::bytes(&bytes)?;
    let end = bytes.len() as u64;
    Table::at(&image, 0x2000..end)?.functions(&image, &[""], &["a.A", "b.B"])
}

#[test]
fn a_function_reaches_to_the_next_one() {
    let first = Found {
        wanted: 1,
        start: 0,
        end: 16,
    };
    let second = Found {
        wanted: 0,
        start: 16,
        end: 32,
    };
    assert_eq!(found(&table(0x1000)).expect("it is sound"), [first, second]);
}

#[test]
fn a_table_that_contradicts_itself_is_refused() {
    let change = |at: usize, byte: u8| {
        let mut bytes = table(0x1000);
        bytes[at] = byte;
        found(&bytes).expect_err("it is broken").to_string()
    };
    assert!(change(8, 200).contains("200 functions in "));
    assert!(change(15, 1).contains("functions in "));
    assert!(change(0, 0xf7).contains("unknown magic"));
    assert!(change(0, 0xfa).contains("Go 1.17 or earlier"));
    assert!(change(65, 200).contains("a part at "));
    // The second function before the first.
    let functions = HEADER as usize + 16;
    assert!(change(functions, 99).contains("not in order"));
    assert!(change(functions + 12, 255).contains("beyond the file's end"));
}

#[test]
fn the_start_of_the_code_is_in_the_header_or_in_the_module_s_description() {
    let text = |bytes: &[u8]| {
        let bytes = program(bytes);
        let image = Image::bytes(&bytes)?;
        Table::at(&image, 0x2000..bytes.len() as u64)?.text(&image)
    };
    assert_eq!(text(&table(0x1040)).expect("it is known"), 0x1040);
    assert!(text(&table(0)).is_err());
    let mut with_module = table(0);
    with_module.resize(256, 0);
    let mut module = vec![0; 256];
    module[..8].copy_from_slice(&0x2000_u64.to_le_bytes());
    module[8..16].copy_from_slice(&(0x2000 + HEADER).to_le_bytes());
    module[176..184].copy_from_slice(&0x1080_u64.to_le_bytes());
    with_module.extend(&module);
    assert_eq!(text(&with_module).expect("it is known"), 0x1080);
    // Something that only begins like one.
    with_module[256 + 8] ^= 1;
    assert!(text(&with_module).is_err());
}

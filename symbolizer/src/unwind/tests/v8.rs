//! V8's builtins: functions without entries.

use std::{fs::File, path::Path};

use super::{cfi::*, image::Image, *};

const START: u64 = 0x40_1000;
const FUNCTION: u8 = 2;
const OBJECT: u8 = 1;

/// A file with two entries and a symbol table (`SHT_SYMTAB`); the string table begins with so many bytes of other names.
fn file(symbols: &[(&str, u8, u64, u64)], others: usize) -> Vec<u8> {
    let eh = section(&[(START, 16, &[]), (START + 0x1800, 64, &[])]);
    let mut names = vec![0];
    names.resize(1 + others, b'a');
    names.push(0);
    let mut table = vec![0; 24];
    for &(name, kind, address, size) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        table.extend([kind, 0, 1, 0]);
        table.extend([address.to_le_bytes(), size.to_le_bytes()].concat());
        names.extend(name.as_bytes());
        names.push(0);
    }
    let image = Image::new(0x2000)
        .with(".eh_frame", 2, eh)
        .with(".symtab", 0, table)
        .with(".strtab", 0, names);
    let mut bytes = image.bytes();
    let headers = usize::from_le_bytes(bytes[40..48].try_into().expect("eight"));
    let (symtab, kind, link) = (headers + 2 * 64, 4, 40);
    bytes[symtab + kind] = 2;
    bytes[symtab + link] = 3;
    bytes
}

fn entries_alone() -> Vec<(u64, Rule)> {
    vec![
        (START, leaf(sp(8))),
        (START + 16, Rule::None),
        (START + 0x1800, leaf(sp(8))),
        (START + 0x1840, Rule::None),
    ]
}

#[test]
fn builtins_have_frame_pointers_where_no_entry_says_otherwise() {
    let symbols = [
        ("Builtins_JSEntry", FUNCTION, START + 0x400, 0x10),
        ("Builtins_Add_Handler", FUNCTION, START + 0x140, 0x20),
        ("Builtins_RecordWrite", FUNCTION, START + 0x100, 0x30),
        ("Builtins_described", FUNCTION, START + 0x1800, 0x50),
        ("Builtins_data", OBJECT, START + 0x600, 0x10),
        ("NoBuiltins_", FUNCTION, START + 0x700, 0x10),
    ];
    let expected = [
        (START, leaf(sp(8))),
        (START + 16, Rule::None),
        // Between neighbours is nothing else.
        (START + 0x100, Rule::FramePointer),
        (START + 0x160, Rule::None),
        (START + 0x400, Rule::FramePointer),
        (START + 0x410, Rule::None),
        (START + 0x1800, leaf(sp(8))),
        (START + 0x1840, Rule::FramePointer),
        (START + 0x1850, Rule::None),
    ];
    // The first name lies across the pieces that names are read in, too.
    for others in [0, (1 << 18) - 6] {
        let converted = convert(&file(&symbols, others)).expect("converts");
        assert_eq!(rows(&converted), expected, "{others}");
    }
    let converted = convert(&file(&symbols[4..], 0)).expect("converts");
    assert_eq!(rows(&converted), entries_alone());
}

#[test]
fn a_symbol_table_that_lies_beyond_the_file_takes_nothing_from_the_tables() {
    let mut bytes = file(&[("Builtins_JSEntry", FUNCTION, START + 0x400, 0x10)], 0);
    let headers = usize::from_le_bytes(bytes[40..48].try_into().expect("eight"));
    let size = headers + 2 * 64 + 32;
    bytes[size..size + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    let converted = convert(&bytes).expect("converts");
    assert_eq!(rows(&converted), entries_alone());
}

/// The one that is here, if there is one with symbols.
#[test]
fn all_builtins_of_node_have_a_rule() {
    let test = "all_builtins_of_node_have_a_rule";
    let path = Path::new("/usr/bin/node");
    let (Ok(file), Ok(nm)) = (
        File::open(path),
        std::process::Command::new("nm").arg(path).output(),
    ) else {
        eprintln!("SKIPPED {test}: no node or no nm here");
        return;
    };
    let nm = String::from_utf8_lossy(&nm.stdout);
    let builtins: Vec<u64> = nm
        .lines()
        .filter(|line| line.contains(" t Builtins_"))
        .filter_map(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok())
        .collect();
    if builtins.is_empty() {
        eprintln!("SKIPPED {test}: node has no symbols of them");
        return;
    }
    let mut rules = Rules::new();
    let mut table = Table::default();
    convert_file(&file, "node", 1 << 28, &mut rules, |page| table.push(page)).expect("converts");
    let first = rules.get(table.find(builtins[0]));
    assert_eq!(first, Some(Rule::FramePointer));
    for builtin in builtins {
        let rule = rules.get(table.find(builtin));
        assert_ne!(rule, Some(Rule::None), "{builtin:#x}");
    }
}

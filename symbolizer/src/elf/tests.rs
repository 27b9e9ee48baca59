use std::{collections::HashMap, process::Command, sync::Arc};

use super::{
    symbols::{Symbols, Which},
    *,
};

const LIMIT: usize = 1 << 30;

fn input(bytes: &[u8], limit: usize) -> Input {
    Input::new(Image::Memory(bytes.into()), "f".into(), limit)
}

/// A shared object for x86-64 without code, with so many sections. Their names are one text of `length` bytes that has no end, from a byte further on for each.
pub(crate) fn endless_names(sections: u16, length: usize) -> Vec<u8> {
    const HEADER: usize = 64;
    let mut file = vec![0; HEADER];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let halves = [(16, elf::ET_DYN), (18, elf::EM_X86_64), (52, 64), (58, 64)];
    for (at, half) in halves.into_iter().chain([(60, sections), (62, 1)]) {
        file[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
    file[20] = elf::EV_CURRENT;
    file[40..48].copy_from_slice(&((HEADER + length) as u64).to_le_bytes());
    file.resize(HEADER + length, b'A');
    for number in 0..u32::from(sections) {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&number.to_le_bytes());
        header[4..8].copy_from_slice(&elf::SHT_STRTAB.to_le_bytes());
        header[24..32].copy_from_slice(&(HEADER as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
        file.extend(header);
    }
    file
}

fn own_bytes() -> Vec<u8> {
    let path = std::env::current_exe().expect("a test has a file");
    std::fs::read(path).expect("it can be read")
}

/// All that is read of a file's names.
fn read(input: &Input) -> Result<(Elf, Option<Symbols>), Error> {
    let elf = Elf::read(&input.source()?)?;
    plt::Plt::read(input, &elf)?;
    for which in [Which::Dynamic, Which::All] {
        if let Some(symbols) = Symbols::open(input, &elf, which)? {
            symbols.table(&elf)?;
        }
    }
    let symbols = Symbols::open(input, &elf, Which::All)?;
    Ok((elf, symbols))
}

#[test]
fn an_empty_or_foreign_file_is_no_elf() {
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 64]] {
        let error = read(&input(bytes, LIMIT)).expect_err("no ELF");
        assert!(matches!(error, Error::NotElf { .. }), "{error}");
        assert!(error.to_string().starts_with("f: "), "{error}");
    }
}

#[test]
fn a_file_and_its_bytes_say_the_same() {
    let path = std::env::current_exe().expect("a test has a file");
    let file = Arc::new(File::open(&path).expect("opens"));
    let of_file = Input::new(Image::File(Arc::clone(&file)), "f".into(), LIMIT);
    let (a, functions) = read(&of_file).expect("parses");
    let (b, same) = read(&input(&own_bytes(), LIMIT)).expect("parses");
    let (functions, same) = (functions.expect("some"), same.expect("some"));
    let count = functions.table(&a).expect("readable").len();
    assert_eq!(count, same.table(&b).expect("readable").len());
    assert!(count > 100);
    assert_eq!(a.build_id, b.build_id);
    assert_eq!(build_id(&file, "f").expect("parses"), a.build_id);
}

#[test]
fn the_limit_is_kept() {
    let error = read(&input(&own_bytes(), 4096)).expect_err("too large");
    assert!(
        matches!(error, Error::TooLarge { limit: 4096, .. }),
        "{error}"
    );
}

#[test]
fn names_of_sections_are_cut_where_they_have_no_end() {
    let input = input(&endless_names(1000, 1 << 20), LIMIT);
    let elf = Elf::read(&input.source().expect("bytes")).expect("parses");
    assert_eq!(elf.sections.len(), 1000);
    assert!(elf.sections.iter().all(|section| section.name.len() == 64));
}

/// Every prefix and many single-byte changes of the headers: an error or an answer, never a panic.
#[test]
fn damaged_files_are_errors() {
    let whole = std::fs::read("/bin/true").expect("/bin/true is there");
    for length in (0..whole.len()).step_by(97) {
        let _ = read(&input(&whole[..length], LIMIT));
    }
    let mut damaged = whole.clone();
    let sections = usize::from_le_bytes(whole[0x28..0x30].try_into().expect("eight bytes"));
    for at in (0..0x400).chain(sections..whole.len()) {
        for value in [0, 1, 0x7f, 0xff] {
            let kept = std::mem::replace(&mut damaged[at], value);
            if let Ok((elf, Some(symbols))) = read(&input(&damaged, 1 << 24)) {
                let _ = symbols.find(&elf, 0x1000);
            }
            damaged[at] = kept;
        }
    }
}

/// `nm` is the independent reader.
#[test]
fn names_and_addresses_agree_with_nm() {
    let path = std::env::current_exe().expect("a test has a file");
    let Ok(output) = Command::new("nm")
        .args(["-S", "--defined-only"])
        .arg(&path)
        .output()
    else {
        eprintln!("SKIPPED names_and_addresses_agree_with_nm: no nm here (package binutils)");
        return;
    };
    let (elf, symbols) = read(&input(&own_bytes(), LIMIT)).expect("parses");
    let symbols = symbols.expect("a test is not stripped");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names = HashMap::<u64, Vec<&str>>::new();
    let mut functions = Vec::new();
    for line in text.lines() {
        let parts: Vec<_> = line.split(' ').collect();
        let [address, size, kind, name] = parts[..] else {
            continue;
        };
        if !matches!(kind, "t" | "T" | "w" | "W" | "i") {
            continue;
        }
        let parse = |text| u64::from_str_radix(text, 16).expect("nm prints hexadecimal");
        names.entry(parse(address)).or_default().push(name);
        functions.push((parse(address), parse(size)));
    }
    assert!(functions.len() > 100);
    for (address, size) in functions {
        let found = symbols
            .find(&elf, address + size / 2)
            .expect("readable")
            .expect("in a function");
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let name = symbols.names.with(found.name, name).expect("it has a name");
        let known = names
            .get(&found.addresses.start)
            .expect("a start that nm knows");
        assert!(known.contains(&&*name), "{found:x?} {name} {known:?}");
    }
}

/// `objdump` names the stubs that it takes apart.
#[test]
fn stubs_agree_with_objdump() {
    let mut compared = 0;
    for path in [
        "/bin/true",
        "/usr/bin/git",
        "/usr/bin/python3",
        "/usr/bin/llvm-symbolizer-14",
    ] {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let Ok(output) = Command::new("objdump")
            .args(["-d", "-j", ".plt", "-j", ".plt.sec", "-j", ".plt.got", path])
            .output()
        else {
            eprintln!("SKIPPED stubs_agree_with_objdump: no objdump here (package binutils)");
            return;
        };
        let input = input(&bytes, LIMIT);
        let elf = Elf::read(&input.source().expect("bytes")).expect("parses");
        let plt = plt::Plt::read(&input, &elf).expect("parses");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((address, name)) = line
                .strip_suffix("@plt>:")
                .and_then(|line| line.split_once(" <"))
            else {
                continue;
            };
            let address = u64::from_str_radix(address, 16).expect("hexadecimal");
            // objdump names one without a symbol for its slot.
            if name.starts_with('*') {
                continue;
            }
            let plt = plt.as_ref().expect("it has stubs");
            for at in [address, address + 7] {
                let (found, addresses) = plt.find(at).expect("readable").expect("a stub");
                assert_eq!(addresses.start, address, "{path} {found}");
                assert_eq!(
                    found,
                    format!("{}@plt", name.split('@').next().expect("a name")),
                    "{path}"
                );
            }
            compared += 1;
        }
    }
    if compared == 0 {
        eprintln!("SKIPPED stubs_agree_with_objdump: no program with stubs here");
    }
}

/// A first answer, from looking through the table, is the one that the table in order gives.
#[test]
fn the_first_answer_is_that_of_the_table() {
    let bytes = own_bytes();
    let input = input(&bytes, LIMIT);
    let elf = Elf::read(&input.source().expect("bytes")).expect("parses");
    let ordered = Symbols::open(&input, &elf, Which::All)
        .expect("there")
        .expect("not stripped");
    let table = ordered.table(&elf).expect("readable");
    let code = elf.section(b".text").expect("code").addresses();
    let step = (code.end - code.start) / 50;
    let addresses = (code.start..code.end).step_by(step as usize);
    let mut known = 0;
    for address in addresses.chain([0, code.start - 1, code.end, u64::MAX]) {
        let fresh = Symbols::open(&input, &elf, Which::All)
            .expect("there")
            .expect("not stripped");
        let first = fresh.find(&elf, address).expect("readable");
        assert_eq!(fresh.bytes(), size_of::<Symbols>(), "it was put in order");
        assert_eq!(first, table.find(address), "{address:#x}");
        known += usize::from(first.is_some());
    }
    assert!(known > 40, "{known}");
}

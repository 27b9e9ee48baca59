use super::*;

const LIMIT: usize = 1 << 30;

fn own_bytes() -> Vec<u8> {
    let path = std::env::current_exe().expect("a test has a file");
    std::fs::read(path).expect("it can be read")
}

#[test]
fn an_empty_or_foreign_file_is_no_elf() {
    for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0; 64]] {
        let error = Elf::from_bytes(bytes, "f", LIMIT).expect_err("no ELF");
        assert!(matches!(error, Error::NotElf { .. }), "{error}");
        assert!(error.to_string().starts_with("f: "), "{error}");
    }
}

#[test]
fn a_file_and_its_bytes_say_the_same() {
    let path = std::env::current_exe().expect("a test has a file");
    let file = File::open(&path).expect("opens");
    let a = Elf::from_file(&file, "f", LIMIT).expect("parses");
    let b = Elf::from_bytes(&own_bytes(), "f", LIMIT).expect("parses");
    assert_eq!(a.functions(), b.functions());
    assert!(a.functions() > 100);
    assert_eq!(a.build_id(), b.build_id());
    assert_eq!(
        Elf::build_id_of(&file, "f").expect("parses").as_deref(),
        a.build_id()
    );
}

#[test]
fn the_limit_is_kept() {
    let error = Elf::from_bytes(&own_bytes(), "f", 4096).expect_err("too large");
    assert!(
        matches!(error, Error::TooLarge { limit: 4096, .. }),
        "{error}"
    );
}

/// Every prefix and many single-byte changes of the headers: an error or an answer, never a panic.
#[test]
fn damaged_files_are_errors() {
    let whole = std::fs::read("/bin/true").expect("/bin/true is there");
    for length in (0..whole.len()).step_by(97) {
        let _ = Elf::from_bytes(&whole[..length], "f", LIMIT);
    }
    let mut damaged = whole.clone();
    let sections = usize::from_le_bytes(whole[0x28..0x30].try_into().expect("eight bytes"));
    let headers = (0..0x400).chain(sections..whole.len());
    for at in headers {
        for value in [0, 1, 0x7f, 0xff] {
            let kept = std::mem::replace(&mut damaged[at], value);
            if let Ok(elf) = Elf::from_bytes(&damaged, "f", 1 << 24) {
                let _ = elf
                    .address_of(0x1000)
                    .and_then(|address| elf.symbol(address));
            }
            damaged[at] = kept;
        }
    }
}

/// `nm` is the independent reader.
#[test]
fn names_and_addresses_agree_with_nm() {
    let path = std::env::current_exe().expect("a test has a file");
    let Ok(output) = std::process::Command::new("nm")
        .args(["-S", "--defined-only"])
        .arg(&path)
        .output()
    else {
        eprintln!("SKIPPED names_and_addresses_agree_with_nm: no nm here (package binutils)");
        return;
    };
    let elf = Elf::from_bytes(&own_bytes(), "f", LIMIT).expect("parses");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names = std::collections::HashMap::<u64, Vec<&str>>::new();
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
        let symbol = elf.symbol(address + size / 2).expect("in a function");
        let known = names.get(&symbol.address).expect("a start that nm knows");
        assert!(known.contains(&&*symbol.name), "{symbol:?} {known:?}");
    }
}

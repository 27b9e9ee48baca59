//! Addresses to names: of any bytes in the place of a file.

use std::io::Write as _;

use fathom_symbolizer::{
    Gear, JitCode, JitFormat, Kernel, Options, Symbolizer, demangle, demangle_full,
};

/// What all that is made of a file may take.
const MEMORY: usize = 1 << 22;

/// An ELF file.
pub fn elf(data: &[u8]) {
    let mut options = Options::default();
    options.memory = MEMORY;
    options.debug_directories.clear();
    let symbolizer = Symbolizer::new(options);
    let Ok(module) = symbolizer.open_image(data, "f") else {
        return;
    };
    let offsets = (0..data.len() as u64).step_by(1 + data.len() / 64);
    let addresses = offsets.flat_map(|offset| [Some(offset), module.address_of(offset)]);
    for address in addresses.flatten().chain([u64::MAX]) {
        for gear in [Gear::Names, Gear::Lines] {
            let answer = symbolizer.symbolize(&module, gear, address);
            let memory = symbolizer.memory();
            assert!(memory.bytes <= memory.budget, "{memory:?}");
            let Ok(frames) = answer else {
                continue;
            };
            if let Some(outermost) = frames.outermost() {
                assert!(!outermost.inlined);
            }
            if gear == Gear::Names {
                assert!(frames.len() <= 1);
            }
            // What is known is answered again, and the same.
            let again = symbolizer.symbolize(&module, gear, address);
            assert_eq!(again.ok().as_ref(), Some(&frames));
            for frame in &frames {
                let _ = frame.to_string();
            }
        }
    }
}

/// A Go program.
pub fn pclntab(data: &[u8]) {
    elf(data);
}

/// What a compiler wrote of its functions: lines, or the records of a dump.
pub fn perf_map(data: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(data).expect("written");
    for format in [JitFormat::PerfMap, JitFormat::Dump] {
        let mut code = JitCode::new(MEMORY);
        code.add(format, file.try_clone().expect("open"), "f".to_owned());
        code.read_on().expect("readable");
        // A node of the tree, or a part of one that was covered, for each line or record.
        assert!(code.bytes() <= 400 * (data.len() + 1), "{}", code.bytes());
        let lines = lines(data);
        let ends = lines
            .iter()
            .flat_map(|&(start, end, _)| [start, end - 1, end]);
        for address in ends.take(64).chain([0, 0x1004, 0x2008, u64::MAX]) {
            let frames = code.frames(address).expect("it is small");
            let name = frames.first().and_then(|frame| frame.name.as_ref());
            if format == JitFormat::PerfMap {
                let newest = lines
                    .iter()
                    .rfind(|(start, end, _)| (*start..*end).contains(&address));
                let newest = newest.map(|(_, _, name)| name.as_str());
                assert_eq!(name.map(|name| name.linkage()), newest, "{address:#x}");
            }
        }
    }
}

/// The functions of a map's whole lines, in the order of the file.
fn lines(data: &[u8]) -> Vec<(u64, u64, String)> {
    let whole = data.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = data[..whole].split(|&byte| byte == b'\n');
    lines
        .filter_map(|line| {
            let line = line.trim_ascii();
            let first = line.iter().position(|&byte| byte == b' ')?;
            let rest = &line[first + 1..];
            let second = rest.iter().position(|&byte| byte == b' ')?;
            let number = |text: &[u8]| {
                let text = std::str::from_utf8(text).ok()?;
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
            };
            let (start, size) = (number(&line[..first])?, number(&rest[..second])?);
            let name = &rest[second + 1..];
            let name = String::from_utf8_lossy(&name[..name.len().min(4096)]).into_owned();
            let end = start.checked_add(size)?;
            (size > 0 && !name.is_empty()).then_some((start, end, name))
        })
        .collect()
}

/// The kernel's list.
pub fn kallsyms(data: &[u8]) {
    let Ok(kernel) = Kernel::parse(data, "f") else {
        return;
    };
    assert!(
        kernel.bytes() <= 16 * (data.len() + 16),
        "{}",
        kernel.bytes()
    );
    for line in data.split(|&byte| byte == b'\n').take(64) {
        let Some(address) = line.split(|&byte| byte == b' ').next() else {
            continue;
        };
        let address = std::str::from_utf8(address).ok();
        let Some(address) = address.and_then(|text| u64::from_str_radix(text, 16).ok()) else {
            continue;
        };
        for at in [address, address.wrapping_add(1), address.wrapping_sub(1)] {
            if let Some(symbol) = kernel.symbol(at) {
                assert!(symbol.address <= at);
                assert!(!symbol.name.is_empty());
            }
        }
    }
}

/// A mangled name.
pub fn mangled(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else {
        return;
    };
    assert!(demangle(name).len() <= name.len().max(4096));
    assert!(demangle_full(name).len() <= name.len() + (1 << 16));
}

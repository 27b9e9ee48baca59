//! Files that are cut short, contradict themselves or were made to cost.

use std::time::{Duration, Instant};

use super::{cfi::*, image::Image, *};

const START: u64 = 0x40_1000;

fn error_of(bytes: &[u8]) -> String {
    convert(bytes)
        .map(|_| ())
        .expect_err("an error")
        .to_string()
}

#[test]
fn an_error_names_the_file_and_the_section() {
    let good = section(&[(START, 16, &[0x0e, 16])]);
    let mut no_cie = good.clone();
    let at = cie("", &[], &[]).len();
    no_cie[at + 4..at + 8].copy_from_slice(&0x7000_u32.to_le_bytes());
    let operand_cut = section(&[(START, 16, &[0x41, 0x0e, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80])]);
    for bad in [
        good[..good.len() - 1].to_vec(),
        good[..good.len() - 9].to_vec(),
        no_cie,
        operand_cut,
        [&good[..], &[0xff, 0xff, 0xff, 0xff, 1]].concat(),
    ] {
        let error = error_of(&Image::new(16).with(".eh_frame", 2, bad).bytes());
        assert!(error.starts_with("f: the section .eh_frame: "), "{error}");
    }
    let debug = error_of(&Image::new(16).with(".debug_frame", 0, [7, 0]).bytes());
    assert!(
        debug.starts_with("f: the section .debug_frame: "),
        "{debug}"
    );
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let mut image = Image::new(16);
    image.machine = 8;
    let error = error_of(&image.bytes());
    assert!(error.starts_with("f: of machine 8: "), "{error}");
    let mut relocatable = Image::new(16).bytes();
    relocatable[16] = 1;
    let error = error_of(&relocatable);
    assert!(error.starts_with("f: neither executable nor"), "{error}");
    let mut narrow = Image::new(16).bytes();
    narrow[4] = 1;
    let error = error_of(&narrow);
    assert!(error.starts_with("f: not of 64 bits"), "{error}");
}

/// What is unpacked has the size that it says, and not more than the limit.
#[test]
fn a_packed_section_can_not_explode() {
    let packed = super::sources::packed(super::sources::ZLIB, &vec![0; 1 << 20]);
    let mut more = packed.clone();
    more[8..16].copy_from_slice(&((1_u64 << 20) + 1).to_le_bytes());
    let mut huge = packed.clone();
    huge[8..16].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    for (bytes, why) in [
        (more, "1048576 bytes when unpacked instead of 1048577"),
        (huge, "has 1099511627776 bytes, more than the limit"),
        (packed[..packed.len() / 2].to_vec(), "can't be unpacked"),
        (packed[..20].to_vec(), "cut short"),
    ] {
        let error = error_of(&Image::new(16).with(".debug_frame", 0x800, bytes).bytes());
        assert!(
            error.contains(why) && error.contains(".debug_frame"),
            "{error}"
        );
    }
}

/// Many short entries with a long CIE each, and long ones for the same addresses: neither may cost more than its bytes.
#[test]
fn the_time_is_bounded_by_the_size() {
    let long = vec![0; 1 << 20];
    let mut bytes = cie("", &[], &long);
    for number in 0..20_000 {
        let entry = fde(bytes.len(), 0, START + number, 1, &[]);
        bytes.extend(entry);
    }
    let error = error_of(&Image::new(20_000).with(".eh_frame", 2, bytes).bytes());
    assert!(
        error.contains("no common information entry at 0x0"),
        "{error}"
    );

    let many: Vec<u8> = [0x41, 0x0e, 16].repeat(5_000);
    let entries: Vec<(u64, u64, &[u8])> = (0..500)
        .map(|start| (START + start, 1 << 40, &many[..]))
        .collect();
    let started = Instant::now();
    let image = Image::new(1 << 20).with(".eh_frame", 2, section(&entries));
    let (conversion, ..) = convert(&image.bytes()).expect("converts");
    assert_eq!((conversion.entries, conversion.overlapping), (1, 499));
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Each of the names has no end before that of the table of them all.
#[test]
fn the_names_of_sections_cost_no_more_than_their_number() {
    let file = crate::elf::tests::endless_names(u16::MAX, LIMIT);
    let started = Instant::now();
    let (conversion, ..) = convert(&file).expect("converts");
    assert_eq!(conversion.entries, 0);
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A file may not fill the table that all share.
#[test]
fn a_file_adds_a_bounded_number_of_rules() {
    let mut instructions = Vec::new();
    for offset in 0..9_000_u16 {
        instructions.extend([
            0x41,
            0x0e,
            0x80 | (offset & 0x7f) as u8,
            (offset >> 7) as u8,
        ]);
    }
    let bytes = Image::new(10_000)
        .with(".eh_frame", 2, section(&[(START, 10_000, &instructions)]))
        .bytes();
    let mut rules = Rules::new();
    let before = rules.all().len();
    let conversion = convert_bytes(&bytes, "f", LIMIT, &mut rules, |_| {}).expect("converts");
    assert_eq!(rules.all().len() - before, 8192);
    let full = conversion.unsupported(Unsupported::RulesFull);
    // All offsets but 8 are new; the first row has 8.
    assert_eq!(full, 9_000 - 8192 + 1 - 1);
}

/// Every prefix, and bytes changed one at a time: an error or an answer, never a panic.
#[test]
fn damaged_files_are_errors() {
    for whole in [
        &include_bytes!("../../../../fuzz/corpus/unwind/x86_64")[..],
        include_bytes!("../../../../fuzz/corpus/unwind/aarch64"),
    ] {
        for length in 0..whole.len() {
            let _ = convert(&whole[..length]);
        }
        let mut damaged = whole.to_vec();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let kept = std::mem::replace(&mut damaged[at], value);
                let _ = convert(&damaged);
                damaged[at] = kept;
            }
        }
    }
}

//! Which source says what, on files made by hand.

use super::{cfi::*, image::Image, *};

const START: u64 = 0x40_1000;

fn eh_frame(code: usize, bytes: Vec<u8>) -> (Conversion, Table, Rules) {
    convert(&Image::new(code).with(".eh_frame", 2, bytes).bytes()).expect("converts")
}

#[test]
fn gaps_have_no_rule_and_equal_rows_are_one() {
    let nothing: &[u8] = &[0x41, 0x0e, 8];
    let entries = [(START + 32, 16, nothing), (START + 48, 16, nothing)];
    let converted = eh_frame(128, section(&entries));
    let expected = [(START + 32, leaf(sp(8))), (START + 64, Rule::None)];
    assert_eq!(rows(&converted), expected);
    assert_eq!((converted.0.rows, converted.0.kept), (4, 3));
}

#[test]
fn a_page_begins_with_the_rule_that_goes_on_in_it() {
    // From 0x401000 over two ends of pages; the rule changes in the second and exactly at the third.
    let mut instructions = advance(0x1_0000);
    instructions.extend([0x0e, 16]);
    instructions.extend(advance(0x0f000));
    instructions.extend([0x0e, 24]);
    let converted = eh_frame(0x2_8000, section(&[(START, 0x2_8000, &instructions)]));
    let pages: Vec<(u64, Vec<u16>)> = converted
        .1
        .pages()
        .map(|page| (page.number, page.rows.iter().map(|row| row.low).collect()))
        .collect();
    let expected = [
        (0x40, vec![0, 0x1000]),
        (0x41, vec![0, 0x1000]),
        (0x42, vec![0, 0x9000]),
    ];
    assert_eq!(pages, expected);
    let rule = |address| converted.2.get(converted.1.find(address));
    assert_eq!(rule(0x40_0fff), Some(Rule::None));
    assert_eq!(rule(0x41_0000), Some(leaf(sp(8))));
    assert_eq!(rule(0x41_1000), Some(leaf(sp(16))));
    assert_eq!(rule(0x41_ffff), Some(leaf(sp(16))));
    assert_eq!(rule(0x42_0000), Some(leaf(sp(24))));
    assert_eq!(rule(0x42_9000), Some(Rule::None));
    assert_eq!(rule(0x43_0000), Some(Rule::None));
}

#[test]
fn a_terminator_in_the_middle_ends_nothing() {
    let mut bytes = section(&[(START, 16, &[])]);
    bytes.extend([0; 4]);
    let at = bytes.len();
    bytes.extend(cie("", &[], &[]));
    let entry = fde(bytes.len(), at, START + 16, 16, &[0x0e, 32]);
    bytes.extend(entry);
    bytes.extend([0; 8]);
    let converted = eh_frame(32, bytes);
    assert_eq!(converted.0.entries, 2);
    let expected = [
        (START, leaf(sp(8))),
        (START + 16, leaf(sp(32))),
        (START + 32, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
}

#[test]
fn an_unknown_augmentation_costs_its_entries_alone() {
    let mut bytes = section(&[(START, 16, &[])]);
    let at = bytes.len();
    bytes.extend(cie("zX", &[1], &[]));
    let entry = fde(bytes.len(), at, START + 16, 16, &[]);
    bytes.extend(entry);
    let entry = fde(bytes.len(), 0, START + 32, 16, &[]);
    bytes.extend(entry);
    let (conversion, ..) = eh_frame(48, bytes);
    assert_eq!(conversion.entries, 2);
    assert_eq!(conversion.unsupported(Unsupported::Encoding), 1);
}

#[test]
fn an_unknown_instruction_costs_the_rest_of_its_entry() {
    let instructions: &[u8] = &[0x44, 0x0e, 16, 0x44, 0x3f, 0x44, 0x0e, 24];
    // A restore without a remember, and an offset for an expression, have no meaning.
    let empty: &[u8] = &[0x44, 0x0b];
    let offset: &[u8] = &[0x0f, 2, 0x77, 8, 0x44, 0x0e, 16];
    let converted = eh_frame(
        48,
        section(&[
            (START, 16, instructions),
            (START + 16, 16, empty),
            (START + 32, 16, offset),
        ]),
    );
    let bad = Rule::Unsupported(Unsupported::Instruction);
    let expected = [
        (START, leaf(sp(8))),
        (START + 4, leaf(sp(16))),
        (START + 8, bad),
        (START + 16, leaf(sp(8))),
        (START + 20, bad),
        (START + 32, leaf(sp(8))),
        (START + 36, bad),
        (START + 48, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
    assert_eq!(converted.0.unsupported(Unsupported::Instruction), 3);
}

#[test]
fn what_does_not_fit_is_counted_by_kind() {
    let far: &[u8] = &[0x0e, 0x80, 0x80, 0x80, 0x80, 0x10];
    let value: &[u8] = &[0x14, 16, 1];
    let converted = eh_frame(32, section(&[(START, 16, far), (START + 16, 16, value)]));
    let expected = [
        (START, Rule::Unsupported(Unsupported::Range)),
        (START + 16, Rule::Unsupported(Unsupported::ReturnAddress)),
        (START + 32, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
}

/// Entries that are elsewhere, empty, or for what others are for.
#[test]
fn the_first_entry_counts() {
    let converted = eh_frame(
        64,
        section(&[
            (0, 16, &[]),
            (START + 8, 0, &[]),
            (START + 16, 16, &[0x0e, 16]),
            (START + 16, 16, &[0x0e, 24]),
            (START + 24, 16, &[0x0e, 32]),
            (START + 48, 1 << 40, &[0x0e, 40]),
        ]),
    );
    let expected = [
        (START + 16, leaf(sp(16))),
        (START + 32, leaf(sp(32))),
        (START + 40, Rule::None),
        (START + 48, leaf(sp(40))),
        (START + 64, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
    let (conversion, ..) = &converted;
    assert_eq!((conversion.elsewhere, conversion.overlapping), (1, 2));
    assert_eq!(conversion.entries, 3);
}

#[test]
fn debug_frame_fills_what_eh_frame_leaves() {
    let eh = section(&[(START + 16, 16, &[0x0e, 16])]);
    for packing in [None, Some(ZLIB), Some(ZSTD)] {
        let debug = debug_frame(&[
            (START, 24, &[0x0e, 64]),
            (START + 20, 4, &[0x0e, 72]),
            (START + 40, 8, &[0x0e, 80]),
        ]);
        let image = Image::new(64).with(".eh_frame", 2, eh.clone());
        let size = debug.len() as u64;
        let image = match packing {
            Some(kind) => image.with(".debug_frame", 0x800, packed(kind, &debug)),
            None => image.with(".debug_frame", 0, debug),
        };
        let converted = convert(&image.bytes()).expect("converts");
        let expected = [
            (START, leaf(sp(64))),
            (START + 16, leaf(sp(16))),
            (START + 32, Rule::None),
            (START + 40, leaf(sp(80))),
            (START + 48, Rule::None),
        ];
        assert_eq!(rows(&converted), expected);
        assert_eq!(converted.0.debug_frame, size);
        assert_eq!(converted.0.overlapping, 2);
    }
}

/// The same entries as `.debug_frame` has them: identified by all ones, and pointed to from the section's start.
fn debug_frame(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = cie("", &[], &[]);
    bytes[4..8].fill(0xff);
    for &(start, length, instructions) in entries {
        let mut entry = fde(0, 0, start, length, instructions);
        entry[4..8].fill(0);
        bytes.extend(entry);
    }
    bytes
}

/// `ELFCOMPRESS_ZLIB` and `ELFCOMPRESS_ZSTD`.
pub(super) const ZLIB: u8 = 1;
const ZSTD: u8 = 2;

/// An `Elf64_Chdr` and a stream.
pub(super) fn packed(kind: u8, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut section = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    section.extend((bytes.len() as u64).to_le_bytes());
    section.extend(8_u64.to_le_bytes());
    if kind == ZSTD {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        section.extend(ruzstd::encoding::compress_to_vec(bytes, level));
        return section;
    }
    let mut writer = flate2::write::ZlibEncoder::new(section, flate2::Compression::default());
    writer.write_all(bytes).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

#[test]
fn a_file_without_tables_has_frame_pointers() {
    let converted = convert(&Image::new(0x1_2345).bytes()).expect("converts");
    let expected = [(START, Rule::FramePointer), (START + 0x1_2345, Rule::None)];
    assert_eq!(rows(&converted), expected);
    assert_eq!(converted.0.kept, 4);
}

#[test]
fn what_a_go_program_leaves_out_has_frame_pointers() {
    let eh = section(&[(START + 16, 16, &[])]);
    let image = Image::new(48)
        .with(".eh_frame", 2, eh)
        .with(".gopclntab", 2, [0; 8]);
    let expected = [
        (START, Rule::FramePointer),
        (START + 16, leaf(sp(8))),
        (START + 32, Rule::FramePointer),
        (START + 48, Rule::None),
    ];
    assert_eq!(rows(&convert(&image.bytes()).expect("converts")), expected);
}

/// glibc's dynamic linker of x86-64: a stack that it has begun ends in it, before it jumps to the program and when it runs constructors.
#[test]
fn the_dynamic_linkers_first_instructions_have_no_caller() {
    let code: &[u8] = &[
        0x48, 0x89, 0xe7, 0xe8, 0xf8, 0x0b, 0, 0, 0x49, 0x89, 0xc4, 0x31, 0xed, 0xe8, 0, 0, 0, 0,
        0x41, 0xff, 0xe4,
    ];
    let eh = section(&[(START + 32, 16, &[])]);
    let mut image = Image::new(48).with(".eh_frame", 2, eh);
    image.code[..code.len()].copy_from_slice(code);
    let expected = [
        (START, Rule::End),
        (START + code.len() as u64, Rule::None),
        (START + 32, leaf(sp(8))),
        (START + 48, Rule::None),
    ];
    assert_eq!(rows(&convert(&image.bytes()).expect("converts")), expected);
    // Without the jump it is something else.
    image.code[18] = 0;
    let expected = [(START + 32, leaf(sp(8))), (START + 48, Rule::None)];
    assert_eq!(rows(&convert(&image.bytes()).expect("converts")), expected);
}

/// What rustc 1.95 makes of a program's start with `-O -C panic=abort`; glibc's first instructions lead there.
#[test]
fn the_main_that_rustc_makes_needs_no_entry() {
    const MAIN: usize = 48;
    let start: [u8; 31] = [
        0x31, 0xed, 0x49, 0x89, 0xd1, 0x5e, 0x48, 0x89, 0xe2, 0x48, 0x83, 0xe4, 0xf0, 0x50, 0x54,
        0x45, 0x31, 0xc0, 0x31, 0xc9, // lea main(%rip),%rdi; call *
        0x48, 0x8d, 0x3d, 21, 0, 0, 0, 0xff, 0x15, 0, 0,
    ];
    let main: [u8; 39] = [
        0x50, 0x48, 0x89, 0xf1, 0x48, 0x63, 0xd7, 0x48, 0x8d, 0x05, 0xa2, 0xfe, 0xff, 0xff, 0x48,
        0x89, 0x04, 0x24, 0x48, 0x8d, 0x35, 0x9f, 0xe3, 0x03, 0x00, 0x48, 0x89, 0xe7, 0x45, 0x31,
        0xc0, 0xff, 0x15, 0xcb, 0x02, 0x04, 0x00, 0x59, 0xc3,
    ];
    let eh = section(&[(START + 96, 16, &[])]);
    let mut image = Image::new(112).with(".eh_frame", 2, eh);
    image.code[..start.len()].copy_from_slice(&start);
    image.code[MAIN..MAIN + main.len()].copy_from_slice(&main);
    let at = |offset: usize| START + (MAIN + offset) as u64;
    let entry = [(START + 96, leaf(sp(8))), (START + 112, Rule::None)];
    let mut expected = vec![
        (at(0), leaf(sp(8))),
        (at(1), leaf(sp(16))),
        (at(38), leaf(sp(8))),
        (at(39), Rule::None),
    ];
    expected.extend(entry);
    let converted = convert(&image.bytes()).expect("converts");
    assert_eq!(rows(&converted), expected);

    // Where it has an entry, that counts.
    let own: &[u8] = &[0x0e, 24];
    let eh = section(&[(at(0), 39, own), (START + 96, 16, &[])]);
    image.sections[0].2 = eh;
    let mut described = vec![(at(0), leaf(sp(24))), (at(39), Rule::None)];
    described.extend(entry);
    let converted = convert(&image.bytes()).expect("converts");
    assert_eq!(rows(&converted), described);

    // What does not begin or end as rustc's is nothing that is known.
    image.sections[0].2 = section(&[(START + 96, 16, &[])]);
    for (changed, byte) in [(0, 0x53), (37, 0x5b), (31, 0x90)] {
        let before = std::mem::replace(&mut image.code[MAIN + changed], byte);
        let converted = convert(&image.bytes()).expect("converts");
        assert_eq!(rows(&converted), entry, "{changed}");
        image.code[MAIN + changed] = before;
    }
}

/// A trampoline within an entry, and across the pieces that code is read in.
#[test]
fn trampolines_are_found_wherever_they_are() {
    const SIGRETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let eh = section(&[(START, 64, &[])]);
    let mut image = Image::new((1 << 18) + 64).with(".eh_frame", 2, eh);
    for at in [20, (1 << 18) - 4] {
        image.code[at..at + 9].copy_from_slice(&SIGRETURN);
    }
    let second = START + (1 << 18) - 4;
    let expected = [
        (START, leaf(sp(8))),
        (START + 20, Rule::SignalFrame),
        (START + 29, leaf(sp(8))),
        (START + 64, Rule::None),
        (second - 1, Rule::SignalFrame),
        (second + 10, Rule::None),
    ];
    assert_eq!(rows(&convert(&image.bytes()).expect("converts")), expected);
}

/// glibc's has an entry, which ends with its system call.
#[test]
fn what_is_in_a_trampolines_system_call_has_its_address_behind_the_entry() {
    let mut eh = cfi::cie("zS", &[], &[]);
    let augmentation = [0];
    eh.extend(cfi::fde(eh.len(), 0, START + 16, 9, &augmentation));
    let Rule::Frame(frame) = leaf(sp(8)) else {
        unreachable!("it is a frame's")
    };
    let signal = Rule::Frame(Frame {
        is_signal: true,
        ..frame
    });
    let image = |eh| Image::new(64).with(".eh_frame", 2, eh).bytes();
    let expected = [(START + 16, signal), (START + 26, Rule::None)];
    assert_eq!(
        rows(&convert(&image(eh.clone())).expect("converts")),
        expected
    );
    // What follows at once says for itself how it is unwound.
    let other = eh.len();
    eh.extend(cfi::cie("", &[], &[]));
    eh.extend(cfi::fde(eh.len(), other, START + 25, 16, &[]));
    let expected = [
        (START + 16, signal),
        (START + 25, leaf(sp(8))),
        (START + 41, Rule::None),
    ];
    assert_eq!(rows(&convert(&image(eh)).expect("converts")), expected);
}

#[test]
fn rules_keep_their_numbers_from_file_to_file() {
    let mut rules = Rules::new();
    let mut numbers = Vec::new();
    for offsets in [[16, 24], [24, 16]] {
        let (a, b) = ([0x0e, offsets[0]], [0x0e, offsets[1]]);
        let bytes = Image::new(32)
            .with(
                ".eh_frame",
                2,
                section(&[(START, 16, &a), (START + 16, 16, &b)]),
            )
            .bytes();
        let mut table = Table::default();
        convert_bytes(&bytes, "f", LIMIT, &mut rules, |page| table.push(page)).expect("converts");
        numbers.push([table.find(START), table.find(START + 16)]);
    }
    assert_eq!(numbers[0], [numbers[1][1], numbers[1][0]]);
    for (number, rule) in [
        (Rules::NONE, Rule::None),
        (Rules::END, Rule::End),
        (Rules::FRAME_POINTER, Rule::FramePointer),
        (Rules::SIGNAL_FRAME, Rule::SignalFrame),
        (Rules::RULES_FULL, Rule::Unsupported(Unsupported::RulesFull)),
    ] {
        assert_eq!(rules.get(number), Some(rule));
    }
    for kind in Unsupported::ALL {
        assert!(rules.known(Rule::Unsupported(kind)).is_some());
    }
}

//! Small files that an assembler and a linker made: their sources are in tests/data.

use super::*;

const X86_64: &[u8] = include_bytes!("../../../../fuzz/corpus/unwind/x86_64");
const AARCH64: &[u8] = include_bytes!("../../../../fuzz/corpus/unwind/aarch64");

/// What a reader of tests/data/x86_64.s expects at the addresses that `objdump -d` shows.
#[test]
fn every_form_of_x86_64() {
    let converted = convert(X86_64).expect("converts");
    let saved = Saved::AtCfa(-16);
    let ra = Saved::AtCfa(-8);
    let other = |number, offset| Cfa::Offset(Register::Other(number), offset);
    let at_fp = Saved::At(Register::FramePointer, 0);
    let deref = |base, at, plus| Cfa::Deref { base, at, plus };
    let expected = [
        // _start
        (0x157c, Rule::End),
        (0x1592, Rule::None),
        // framed
        (0x1594, leaf(sp(8))),
        (0x1595, frame(sp(16), saved, ra)),
        (0x1598, frame(fp(16), saved, ra)),
        (0x15a2, leaf(sp(8))),
        (0x15a3, frame(fp(16), saved, ra)),
        (0x15a4, leaf(sp(8))),
        // aligned, whose first rule is that of the one before
        (0x15aa, leaf(other(10, 0))),
        (0x15b6, frame(other(10, 0), at_fp, ra)),
        (
            0x15b8,
            frame(deref(Register::FramePointer, -8, 0), at_fp, ra),
        ),
        (0x15bf, frame(other(10, 0), at_fp, ra)),
        (0x15c4, frame(sp(8), at_fp, ra)),
        // kept
        (0x15c5, leaf(sp(8))),
        (0x15c8, leaf(other(0, 8))),
        (0x15d1, leaf(deref(Register::StackPointer, 16, 8))),
        (0x15db, Rule::Unsupported(Unsupported::CfaExpression)),
        (0x15dc, leaf(other(0, 8))),
        (0x15df, leaf(sp(8))),
        // moved
        (
            0x15e1,
            frame(sp(0), Saved::Undefined, Saved::In(Register::Other(1))),
        ),
        // first
        (0x15e4, Rule::End),
        // described, and restore right behind it
        (0x15ea, Rule::SignalFrame),
        (0x15ff, Rule::None),
        // .plt
        (0x1600, leaf(sp(16))),
        (0x1606, leaf(sp(24))),
        (0x1610, leaf(Cfa::Plt { pushed_at: 11 })),
        (0x1620, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
    let (conversion, ..) = &converted;
    assert_eq!(conversion.machine, Machine::X86_64);
    assert_eq!(conversion.unsupported(Unsupported::CfaExpression), 1);
    assert_eq!(conversion.unsupported(Unsupported::FramePointer), 1);
    assert_eq!(conversion.unsupported(Unsupported::Instruction), 0);
    assert_eq!((conversion.entries, conversion.overlapping), (6, 0));
}

/// And of tests/data/aarch64.s.
#[test]
fn every_form_of_aarch64() {
    let converted = convert(AARCH64).expect("converts");
    let saved = |cfa| frame(cfa, Saved::AtCfa(-32), Saved::AtCfa(-24));
    let leaf = frame(sp(0), Saved::Same, Saved::Same);
    let expected = [
        // _start
        (0x1434, Rule::End),
        (0x1444, Rule::None),
        // framed: a sign state is no row
        (0x144c, leaf),
        (0x1454, saved(sp(32))),
        (0x1458, saved(fp(32))),
        (0x1464, leaf),
        (0x146c, saved(fp(32))),
        // moved
        (0x1474, leaf),
        (
            0x1478,
            frame(sp(0), Saved::Same, Saved::In(Register::Other(15))),
        ),
        (0x1480, leaf),
        // first
        (0x1484, Rule::End),
        (0x148c, Rule::None),
        // restore, from the byte before it on
        (0x148f, Rule::SignalFrame),
        (0x1499, Rule::None),
        // .plt
        (0x14a0, leaf),
        (0x14a4, frame(sp(16), Saved::Same, Saved::AtCfa(-8))),
        (0x14c0, leaf),
        (0x14d0, Rule::None),
    ];
    assert_eq!(rows(&converted), expected);
    assert_eq!(converted.0.machine, Machine::Aarch64);
}

/// A file without section headers has its table found through `PT_GNU_EH_FRAME`.
#[test]
fn section_headers_are_not_needed() {
    let whole = convert(X86_64).expect("converts");
    let mut stripped = X86_64.to_vec();
    stripped[40..48].fill(0);
    stripped[60..64].fill(0);
    let stripped = convert(&stripped).expect("converts");
    for address in 0x157c..0x1600 {
        let [a, b] = [&whole, &stripped].map(|(_, table, rules)| rules.get(table.find(address)));
        assert_eq!(a, b, "{address:#x}");
    }
    assert_eq!(stripped.0.entries, 6);
}

/// The kernel's own, read from this process's memory.
#[test]
fn the_vdso_converts() {
    let mappings = crate::mappings(std::process::id()).expect("own mappings");
    let Some(mapping) = mappings
        .iter()
        .find(|mapping| mapping.kind == crate::MappingKind::Vdso)
    else {
        eprintln!("SKIPPED the_vdso_converts: this kernel maps none");
        return;
    };
    let image = crate::read_vdso(std::process::id(), mapping).expect("can be read");
    let (conversion, ..) = convert(&image).expect("converts");
    assert!(conversion.entries > 0 && conversion.rows >= conversion.entries);
}

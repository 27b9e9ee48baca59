//! Unwind tables: of files, and of call frame information in a file made around it.

#[path = "unwind/image.rs"]
mod image;
#[path = "unwind/truth.rs"]
mod truth;

use fathom_symbolizer::unwind::{
    Conversion, Machine, Rule, Rules, Table, Unsupported, convert_bytes,
};
use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindContext, UnwindSection as _};
use image::{Image, SECTIONS_AT};
use truth::State;

const LIMIT: usize = 1 << 24;

/// A file; or, behind a byte that chooses, the contents of `.eh_frame` or `.debug_frame`.
pub fn unwind(data: &[u8]) {
    if let Some((conversion, table, rules)) = convert(data) {
        // All that is handed on is bounded by what comes in: a row needs a byte of code, and one an instruction.
        assert!(conversion.kept <= 2 * data.len() as u64 + 2 * conversion.pages + 3);
        assert!(table.bytes() <= 16 * (data.len() + 16));
        assert!(rules.all().len() <= 8192 + 32);
    }
    let Some((&choice, section)) = data.split_first() else {
        return;
    };
    let name = if choice & 1 == 0 {
        ".eh_frame"
    } else {
        ".debug_frame"
    };
    let mut image = Image::new(0x1_8000).with(name, 2, section);
    if choice & 2 != 0 {
        image.machine = 183;
    }
    let Some((conversion, table, rules)) = convert(&image.bytes()) else {
        return;
    };
    if choice & 1 == 0 && conversion.overlapping == 0 {
        same_as_gimli(section, &conversion, &table, &rules);
    }
}

fn convert(bytes: &[u8]) -> Option<(Conversion, Table, Rules)> {
    let mut rules = Rules::new();
    let mut table = Table::default();
    let conversion = convert_bytes(bytes, "f", LIMIT, &mut rules, |page| table.push(page)).ok()?;
    let mut last = None;
    for page in table.pages() {
        assert!(last < Some(page.number));
        last = Some(page.number);
        assert_eq!(page.rows.first().map(|row| row.low), Some(0));
        assert!(
            page.rows
                .is_sorted_by(|a, b| a.low < b.low && a.rule != b.rule)
        );
        assert!(page.rows.iter().all(|row| rules.get(row.rule).is_some()));
        assert!(page.rows.iter().any(|row| row.rule != Rules::NONE));
    }
    Some((conversion, table, rules))
}

/// Where gimli takes the whole section, its rows are the table's.
fn same_as_gimli(section: &[u8], conversion: &Conversion, table: &Table, rules: &Rules) {
    let mut frames = EhFrame::new(section, LittleEndian);
    frames.set_address_size(8);
    if conversion.machine == Machine::Aarch64 {
        frames.set_vendor(gimli::Vendor::AArch64);
    }
    let bases = BaseAddresses::default().set_eh_frame(SECTIONS_AT);
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(&bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(entry) = entry else {
            continue;
        };
        let Ok(entry) = entry.parse(EhFrame::cie_from_offset) else {
            continue;
        };
        let code = 0x40_1000..0x40_1000 + 0x1_8000;
        let end = entry.initial_address().saturating_add(entry.len());
        if !code.contains(&entry.initial_address()) {
            continue;
        }
        let Ok(mut rows) = entry.rows(&frames, &bases, &mut context) else {
            continue;
        };
        while let Ok(Some(row)) = rows.next_row() {
            let address = row.start_address();
            if row.end_address() <= address || address >= end.min(code.end) {
                continue;
            }
            let rule = rules.get(table.find(address)).expect("a known number");
            let state = State {
                machine: conversion.machine,
                address,
            };
            let expected = state.by_row(&frames, entry.cie(), row);
            match rule {
                Rule::Unsupported(kind) => assert_ne!(kind, Unsupported::Encoding),
                // A frame pointer of no known form is left out.
                _ => assert!(
                    agrees(state.by_rule(rule), expected),
                    "{address:#x}: {rule:?} {expected:?}"
                ),
            }
        }
    }
}

fn agrees(ours: Option<truth::Caller>, theirs: Option<truth::Caller>) -> bool {
    use truth::Caller::Frame;
    match (ours, theirs) {
        (
            Some(Frame {
                cfa: a,
                frame_pointer: None,
                return_address: b,
            }),
            Some(Frame {
                cfa: c,
                return_address: d,
                ..
            }),
        ) => (a, b) == (c, d),
        _ => ours.is_some() && ours == theirs,
    }
}

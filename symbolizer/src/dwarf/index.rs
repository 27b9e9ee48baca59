//! Which unit has the code at an address.

use super::{
    context::{Allowance, Context},
    cursor::Cursor,
    root::{Before, Root},
    spans::{Painter, Spans},
    units::Units,
    unread::Unread,
};
use crate::{Error, elf::sections::Section};

/// How many ranges all units may have.
const MAX_RANGES: u32 = 1 << 22;

/// Finds out what each unit covers: from `.debug_aranges` for those that it lists, and from their roots for the others.
///
/// Where two units cover an address, it is the first one's, as LLVM has it. Of a unit that is `unread` in the end there may be some ranges.
pub(super) fn index(units: &Units, unread: &mut Unread) -> Result<Spans<u64>, Error> {
    let mut ranges = Vec::new();
    let mut is_listed = vec![false; units.headers.len()];
    let section = units.file.sections.get(".debug_aranges");
    aranges(&section, units, &mut |unit, low, high| {
        is_listed[unit] = true;
        ranges.push((unit, low, high));
    })?;
    let mut allowance = Allowance(MAX_RANGES);
    let mut before = Before::default();
    for (number, header) in units.headers.iter().enumerate() {
        if is_listed[number] || header.is_type {
            continue;
        }
        let mut covered = || -> Result<(), Error> {
            let root = Root::read_after(&units.file, header, &mut before)?;
            let context = Context::linked(units.file.clone(), *header, root)?;
            let code = (context.root.low, context.root.high, context.root.ranges);
            context.ranges(code, &mut allowance, |low, high| {
                ranges.push((number, low, high));
            })
        };
        covered().or_else(|error| unread.add(error))?;
    }
    ranges.sort_by_key(|&(unit, ..)| std::cmp::Reverse(unit));
    let mut painter = Painter::default();
    for (unit, low, high) in ranges {
        painter.paint(low, high, unit as u32);
    }
    Ok(painter.flatten(Some))
}

/// `.debug_aranges` (DWARF 5, section 6.1.2).
fn aranges(
    section: &Section,
    units: &Units,
    each: &mut impl FnMut(usize, u64, u64),
) -> Result<(), Error> {
    let bytes = section.read_all()?;
    let mut cursor = Cursor::new(&bytes, units.file.endian);
    // Of a set that is no whole one, and of those behind it, the units' roots say the same.
    while let Some(set) = Set::read(&mut cursor) {
        let known = units
            .headers
            .binary_search_by_key(&set.unit, |header| header.offset);
        if let (Ok(unit), Some(mut ranges)) = (known, set.ranges) {
            list(&mut ranges, set.address, |low, high| {
                each(unit, low, high);
            });
        }
        cursor.seek(set.end);
    }
    Ok(())
}

struct Set<'a> {
    unit: u64,
    address: u8,
    /// `None` for a set of a kind that is not known.
    ranges: Option<Cursor<'a>>,
    end: usize,
}

impl<'a> Set<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let start = cursor.at();
        let (length, offset_size) = cursor.initial_length()?;
        let end = usize::try_from(length).ok()?.checked_add(cursor.at())?;
        let mut inner = cursor.until(end)?;
        let version = inner.u16()?;
        let unit = inner.number(offset_size)?;
        let address = inner.u8()?;
        let segment = inner.u8()?;
        let is_known = version == 2 && segment == 0 && matches!(address, 4 | 8);
        // The ranges begin at a multiple of their size, counted from the set's start.
        let tuple = 2 * usize::from(address.max(1));
        inner.seek(start + (inner.at() - start).next_multiple_of(tuple));
        Some(Self {
            unit,
            address,
            ranges: is_known.then_some(inner),
            end,
        })
    }
}

fn list(cursor: &mut Cursor<'_>, address: u8, mut each: impl FnMut(u64, u64)) {
    let discarded = match address {
        8 => u64::MAX - 1,
        _ => u64::from(u32::MAX) - 1,
    };
    while let (Some(low), Some(length)) = (cursor.number(address), cursor.number(address)) {
        if low != 0 && low < discarded && length > 0 {
            each(low, low.saturating_add(length));
        }
    }
}

//! What a unit's root says: where its code, its lines and the tables that its other entries count in are.

use gimli::{DwAt, constants as dw};

use super::{
    abbreviations::Abbreviations,
    cursor::Cursor,
    file::File,
    form::{Encoding, Text, Value},
    header::Header,
};
use crate::Error;

/// The attributes of a compile unit, as the entry has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Root {
    pub(super) low: Option<Value>,
    pub(super) high: Option<Value>,
    pub(super) ranges: Option<Value>,
    /// The offset of its line table.
    pub(super) lines: Option<u64>,
    /// The directory that it was compiled in.
    pub(super) directory: Option<Text>,
    /// A `DW_LANG` constant; 0 is none of them.
    pub(super) language: u16,
    pub(super) str_offsets: Option<u64>,
    pub(super) addr: Option<u64>,
    pub(super) rnglists: Option<u64>,
    /// GNU's split DWARF 4: where the split unit's ranges begin.
    pub(super) gnu_ranges: u64,
    /// The file that the unit's entries were split off to.
    pub(super) dwo_name: Option<Text>,
    pub(super) dwo_id: Option<u64>,
}

/// How much of a unit is read to find its root's end; the next try takes sixteen times as much. Older producers write all their flags
/// into it.
const ROOT_AT_FIRST: u64 = 512;

/// The abbreviations of the root before: units that were compiled together have the same table.
#[derive(Debug, Default)]
pub(super) struct Before {
    table: Option<(u64, Encoding, Abbreviations)>,
    /// Bytes of abbreviations that were looked through for roots that are far behind in their table.
    spent: u64,
}

/// How often all abbreviations may be looked through, so that a small file can't ask for endless work.
const MAX_PASSES: u64 = 16;
const MIN_SPENT: u64 = 1 << 20;

impl Root {
    /// Reads a unit's root, with no more of its abbreviations than it takes.
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, Error> {
        Self::read_after(file, header, &mut Before::default())
    }

    /// Reads a unit's root after another one.
    pub(super) fn read_after(
        file: &File,
        header: &Header,
        before: &mut Before,
    ) -> Result<Self, Error> {
        let (offset, encoding) = (header.abbreviations, header.encoding);
        Self::read_by(file, header, |code| {
            let is_same = before.table.as_ref().is_some_and(|(at, like, table)| {
                (*at, *like) == (offset, encoding) && table.get(code).is_some()
            });
            if !is_same {
                // Said again of all roots that follow, which costs them nothing more.
                if before.spent > MAX_PASSES * file.abbrev.size()? + MIN_SPENT {
                    let why = "the roots of units ask for more of it than there is";
                    return Err(file.abbrev.malformed(why));
                }
                let table = file.abbreviations(offset, encoding, Some(code))?;
                before.spent += table.bytes() as u64;
                before.table = Some((offset, encoding, table));
            }
            before
                .table
                .as_ref()
                .map(|(_, _, table)| table)
                .ok_or_else(|| file.abbrev.malformed("it has none"))
        })
    }

    /// Reads a unit's root with the unit's abbreviations.
    pub(super) fn read_with(
        file: &File,
        header: &Header,
        abbreviations: &Abbreviations,
    ) -> Result<Self, Error> {
        Self::read_by(file, header, |_| Ok(abbreviations))
    }

    fn read_by<'a>(
        file: &File,
        header: &Header,
        table: impl FnOnce(u64) -> Result<&'a Abbreviations, Error>,
    ) -> Result<Self, Error> {
        let start = header.offset + u64::from(header.root);
        let left = header.offset + header.length - start;
        let cut = || {
            file.info
                .malformed(format!("the unit at {:#x} is cut short", header.offset))
        };
        let mut work = file.scratch.borrow();
        let mut length = left.min(ROOT_AT_FIRST);
        file.info.read(start, work.bytes(length as usize))?;
        let code = Cursor::new(work.bytes(length as usize), file.endian)
            .uleb()
            .ok_or_else(cut)?;
        let abbreviations = table(code)?;
        let entry = abbreviations.get(code).ok_or_else(|| {
            file.info.malformed(format!(
                "the unit at {:#x} has no abbreviation {code}",
                header.offset
            ))
        })?;
        loop {
            let bytes = work.bytes(file.info.within_limit(length)?);
            let mut root = Self::default();
            let mut cursor = Cursor::new(bytes, file.endian);
            let is_whole = cursor.uleb().is_some()
                && abbreviations
                    .values(entry, &mut cursor, |name, value| {
                        root.take(name, value, start);
                    })
                    .is_some();
            if is_whole {
                return Ok(root);
            }
            if length == left {
                return Err(cut());
            }
            length = left.min(length * 16);
            file.info
                .read(start, work.bytes(file.info.within_limit(length)?))?;
        }
    }

    fn take(&mut self, name: DwAt, value: Value, base: u64) {
        let text = match value {
            Value::Text(Text::Inline(at)) => Some(Text::Inline(base + at)),
            Value::Text(text) => Some(text),
            _ => None,
        };
        let offset = match value {
            Value::Offset(offset) | Value::Constant(offset) => Some(offset),
            _ => None,
        };
        match name {
            dw::DW_AT_low_pc => self.low = Some(value),
            dw::DW_AT_high_pc => self.high = Some(value),
            dw::DW_AT_ranges => self.ranges = Some(value),
            dw::DW_AT_stmt_list => self.lines = offset,
            dw::DW_AT_comp_dir => self.directory = text,
            dw::DW_AT_language => {
                self.language = offset
                    .and_then(|language| u16::try_from(language).ok())
                    .unwrap_or(0);
            }
            dw::DW_AT_str_offsets_base => self.str_offsets = offset,
            dw::DW_AT_addr_base | dw::DW_AT_GNU_addr_base => self.addr = offset,
            dw::DW_AT_rnglists_base => self.rnglists = offset,
            dw::DW_AT_GNU_ranges_base => self.gnu_ranges = offset.unwrap_or(0),
            dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name => self.dwo_name = text,
            dw::DW_AT_GNU_dwo_id => self.dwo_id = offset,
            _ => {}
        }
    }
}

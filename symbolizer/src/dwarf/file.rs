//! The sections of one file that hold DWARF.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use object::Endianness;

use super::{
    Companions,
    abbreviations::Abbreviations,
    cursor::Cursor,
    form::Encoding,
    header::Header,
    meter::{Charge, Meter},
    pages::{Pages, View},
    scratch::Scratch,
    supplementary::Supplementary,
    units::Units,
};
use crate::{
    Error,
    elf::sections::{Section, Sections},
};

/// An executable, a file of separate debug information, a supplementary file, a `.dwo` or a `.dwp`.
#[derive(Debug)]
pub(super) struct File {
    pub(super) sections: Sections,
    pub(super) endian: Endianness,
    pub(super) info: Section,
    pub(super) abbrev: Section,
    pub(super) line: Section,
    pub(super) str: Section,
    pub(super) line_str: Pages,
    pub(super) str_offsets: Pages,
    pub(super) addr: Pages,
    pub(super) ranges: Pages,
    pub(super) rnglists: Pages,
    pub(super) scratch: Scratch,
    /// The tables of abbreviations that units have; some have the same one.
    tables: Mutex<HashMap<(u64, Encoding), Weak<Table>>>,
    supplementary: Supplementary,
    meter: Meter,
    /// Counts it among the files that are open, if somebody counts.
    _counted: Option<Charge>,
}

/// The abbreviations of units.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) abbreviations: Abbreviations,
    _charge: Charge,
}

/// Whether a file is linked, or holds the parts that were split off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Linked,
    Split,
}

/// How much of a table of abbreviations is read at first, where all are wanted, or some; the next try takes eight times as much.
const ALL_AT_FIRST: u64 = 1 << 12;
const SOME_AT_FIRST: u64 = 1 << 9;

impl File {
    /// `None` when it has no DWARF of this kind. With `found`, it may have a supplementary file.
    pub(super) fn open(
        sections: Sections,
        kind: Kind,
        meter: &Meter,
        found: Option<Arc<dyn Companions>>,
    ) -> Option<Self> {
        let is_linked = kind == Kind::Linked;
        let info = sections.find(match kind {
            Kind::Linked => ".debug_info",
            Kind::Split => ".debug_info.dwo",
        })?;
        let section = |linked: &'static str, split: &'static str| {
            sections.get(if is_linked { linked } else { split })
        };
        let pages = |linked, split| Pages::new(section(linked, split), meter);
        Some(Self {
            endian: sections.endian(),
            info,
            abbrev: section(".debug_abbrev", ".debug_abbrev.dwo"),
            line: section(".debug_line", ".debug_line.dwo"),
            str: section(".debug_str", ".debug_str.dwo"),
            line_str: pages(".debug_line_str", ".debug_line_str.dwo"),
            str_offsets: pages(".debug_str_offsets", ".debug_str_offsets.dwo"),
            addr: pages(".debug_addr", ".debug_addr"),
            ranges: pages(".debug_ranges", ".debug_ranges"),
            rnglists: pages(".debug_rnglists", ".debug_rnglists.dwo"),
            scratch: Scratch::new(meter),
            tables: Mutex::default(),
            supplementary: Supplementary::new(found),
            meter: meter.clone(),
            _counted: None,
            sections,
        })
    }

    /// Counts it as long as it is held.
    pub(super) fn counted(self, by: &Meter) -> Self {
        Self {
            _counted: Some(by.charge(1)),
            ..self
        }
    }

    /// The abbreviations of a unit.
    pub(super) fn table(&self, header: &Header) -> Result<Arc<Table>, Error> {
        let key = (header.abbreviations, header.encoding);
        let known = || {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.get(&key).and_then(Weak::upgrade)
        };
        if let Some(table) = known() {
            return Ok(table);
        }
        let abbreviations = self.abbreviations(header.abbreviations, header.encoding, None)?;
        let table = Arc::new(Table {
            _charge: self.meter.charge(abbreviations.bytes()),
            abbreviations,
        });
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.insert(key, Arc::downgrade(&table));
        Ok(table)
    }

    /// The abbreviations at an offset; those behind the one with the code `until` may be missing.
    pub(super) fn abbreviations(
        &self,
        offset: u64,
        encoding: Encoding,
        until: Option<u64>,
    ) -> Result<Abbreviations, Error> {
        let size = self.abbrev.size()?;
        if offset >= size {
            return Err(self.abbrev.malformed(format!(
                "no abbreviations at {offset:#x}: it ends at {size:#x}"
            )));
        }
        let left = size - offset;
        let mut work = self.scratch.borrow();
        let mut wanted = match until {
            Some(_) => SOME_AT_FIRST,
            None => ALL_AT_FIRST,
        };
        loop {
            let length = wanted.min(left);
            let bytes = work.bytes(self.abbrev.within_limit(length)?);
            self.abbrev.read(offset, bytes)?;
            let cursor = Cursor::new(bytes, self.endian);
            match Abbreviations::parse(cursor, length == left, encoding, until) {
                Ok(table) => return Ok(table),
                Err(Abbreviations::CUT) if length < left => wanted *= 8,
                Err(why) => {
                    return Err(self
                        .abbrev
                        .malformed(format!("the abbreviations at {offset:#x}: {why}")));
                }
            }
        }
    }

    /// Lets go what was read of strings and ranges.
    pub(super) fn release(&self) {
        for pages in [
            &self.line_str,
            &self.str_offsets,
            &self.addr,
            &self.ranges,
            &self.rnglists,
        ] {
            pages.release();
        }
        self.tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, table| table.strong_count() > 0);
        self.scratch.release();
        self.sections.release();
        if let Some(other) = self.supplementary.opened() {
            other.file.release();
        }
    }

    /// The units of its supplementary file, when it has one that can be found.
    pub(super) fn supplementary(&self) -> Result<Option<&Units>, Error> {
        self.supplementary.get(&self.sections, &self.meter)
    }

    /// The same, if it was asked for before.
    pub(super) fn opened_supplementary(&self) -> Option<&Units> {
        self.supplementary.opened()
    }

    /// A number of `size` bytes in a section of them.
    pub(super) fn number(&self, view: &View<'_>, offset: u64, size: u8) -> Result<u64, Error> {
        let bytes = view.bytes(offset)?;
        Cursor::new(bytes, self.endian)
            .number(size)
            .ok_or_else(|| view.malformed(format!("it is cut short at {offset:#x}")))
    }
}

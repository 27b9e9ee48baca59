//! One file's DWARF: from an address to functions, inlined calls, files and lines.
//!
//! Versions 2 to 5, in 32 and 64 bits, of either byte order. Nothing is read before it is asked for: the first address costs the
//! headers of the units and one of them. What was read is kept and counted ([`Dwarf::bytes`]), until it is given back
//! ([`Dwarf::shrink`]).
//!
//! Names and paths are handed out unread, with an id ([`DwarfText`]): who asks for many addresses meets the same few again and again,
//! and keeps what they made of them. Files that belong to this one are found by [`Companions`] when an address leads there, which is why
//! it is held.
//!
//! The way of an address is `visit`: `index` knows its unit, `functions` its function, `body` the calls that were inlined there, `lines` its row.
//! `entries` walks over entries, `entry`, `layout`, `form` and `abbreviations` read them, `context` knows what their values count
//! from; `name` says where a name is to be found, and only one that is handed out is read.

mod abbreviations;
mod body;
mod context;
mod cursor;
mod entries;
mod entry;
mod file;
mod form;
mod functions;
mod header;
mod index;
mod layout;
mod lines;
mod meter;
mod name;
mod pages;
mod root;
mod scratch;
mod spans;
mod split;
mod supplementary;
mod text;
mod unit;
mod units;
mod unread;
mod visit;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use self::{
    file::{File, Kind},
    meter::Meter,
    name::Name,
    spans::Spans,
    split::Split,
    units::Units,
    unread::Unread,
};
use crate::{Error, elf::sections::Sections};

pub(crate) use self::{
    text::{DwarfText, TextId},
    visit::{Named, Visit},
};

/// The debug information of one file. It can be asked by any number of threads.
pub(crate) struct Dwarf {
    units: Units,
    unread: Unread,
    index: Spans<u64>,
    split: Split,
    found: Arc<dyn Companions>,
    /// The names of entries that lie in another unit than those that refer to them.
    names: RwLock<HashMap<Name, Name>>,
    meter: Meter,
}

/// Finds the files that a file's debug information is spread over.
pub(crate) trait Companions: Send + Sync {
    /// The file that `.gnu_debugaltlink` or `.debug_sup` names, by its path and build id.
    ///
    /// # Errors
    /// When it is there and can't be read.
    fn supplementary(&self, path: &str, build_id: &[u8]) -> Result<Option<Sections>, Error>;

    /// The `.dwp` file with all that was split off.
    ///
    /// # Errors
    /// When it is there and can't be read.
    fn package(&self) -> Result<Option<Sections>, Error>;

    /// The `.dwo` file of one unit: the directory that the unit was compiled in, and the file's name, which may be absolute. Each is
    /// held as long as its unit is; there may be thousands.
    ///
    /// # Errors
    /// When it is there and can't be read.
    fn split(&self, directory: &str, name: &str) -> Result<Option<Sections>, Error>;
}

/// What is at an address, or where it was inlined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DwarfFrame<'a> {
    /// The function's linkage name, or its plain name where it has none of those; mangled as it is.
    pub(crate) name: Option<DwarfText<'a>>,
    pub(crate) is_linkage_name: bool,
    /// A `DW_LANG` constant; 0 is none.
    pub(crate) language: u16,
    /// The path, with the directory that it was compiled in.
    pub(crate) file: Option<DwarfText<'a>>,
    /// 0 is none.
    pub(crate) line: u32,
    /// 0 is none.
    pub(crate) column: u32,
    /// The function was inlined into the next frame's.
    pub(crate) inlined: bool,
}

impl Dwarf {
    /// Reads which unit covers what. `None` when the file has no DWARF, or is not linked yet.
    ///
    /// # Errors
    /// When a section can't be read or contradicts itself.
    pub(crate) fn open(
        sections: Sections,
        found: Arc<dyn Companions>,
    ) -> Result<Option<Self>, Error> {
        // Before it is linked, all of its functions begin at 0.
        if sections.is_relocatable() {
            return Ok(None);
        }
        let meter = Meter::default();
        let Some(file) = File::open(sections, Kind::Linked, &meter, Some(found.clone())) else {
            return Ok(None);
        };
        let mut unread = Unread::default();
        let units = Units::open(file, &meter, &mut unread)?;
        Ok(Some(Self {
            index: index::index(&units, &mut unread)?,
            units,
            unread,
            split: Split::new(&meter),
            found,
            names: RwLock::default(),
            meter,
        }))
    }

    /// The way through its units, for as many addresses as there are.
    pub(crate) fn visit(&self) -> Visit<'_> {
        Visit::new(self)
    }

    /// Bytes of memory that are held now.
    pub(crate) fn bytes(&self) -> usize {
        let file = &self.units.file;
        let other = file.opened_supplementary();
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        self.meter.bytes()
            + names.capacity() * size_of::<(Name, Name)>()
            + file.sections.bytes()
            + self.split.bytes()
            + other.map_or(0, |other| other.file.sections.bytes())
    }

    /// Gives memory back until no more is held than `to` bytes, or until nothing is left that can be read again.
    pub(crate) fn shrink(&self, to: usize) {
        if self.bytes() <= to {
            return;
        }
        self.units.shrink(to);
        let file = &self.units.file;
        if let Some(other) = file.opened_supplementary() {
            other.shrink(to);
        }
        if self.bytes() > to {
            file.release();
            self.split.release();
            *self.names.write().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
        }
    }
}

impl fmt::Debug for Dwarf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dwarf")
            .field("units", &self.units.headers.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

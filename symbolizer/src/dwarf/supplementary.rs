//! The file of what several files have in common: entries and strings that `dwz` took out of them (DWARF 5, section 7.3.6; GNU's
//! `.gnu_debugaltlink`).

use std::sync::{Arc, OnceLock};

use super::{
    Companions,
    cursor::Cursor,
    file::{File, Kind},
    meter::Meter,
    units::Units,
    unread::Unread,
};
use crate::{
    Error,
    elf::sections::{Section, Sections},
};

/// The supplementary file of another one, opened when something in it is asked for.
#[derive(Default)]
pub(super) struct Supplementary {
    /// `None` in a file that has no other one.
    found: Option<Arc<dyn Companions>>,
    units: OnceLock<Option<Box<Units>>>,
}

/// No longer path, no longer build id.
const MAX_LINK: u64 = 1 << 14;

impl Supplementary {
    pub(super) fn new(found: Option<Arc<dyn Companions>>) -> Self {
        Self {
            found,
            units: OnceLock::new(),
        }
    }

    /// The supplementary file of the file with these sections; `None` when it has none, or it is not there.
    pub(super) fn get(&self, sections: &Sections, meter: &Meter) -> Result<Option<&Units>, Error> {
        if self.units.get().is_none() {
            let units = self.open(sections, meter)?;
            // Another thread may have been as fast.
            let _ = self.units.set(units.map(Box::new));
        }
        Ok(self.units.get().and_then(Option::as_deref))
    }

    /// The file, if it was opened.
    pub(super) fn opened(&self) -> Option<&Units> {
        self.units.get().and_then(Option::as_deref)
    }

    fn open(&self, sections: &Sections, meter: &Meter) -> Result<Option<Units>, Error> {
        let Some(found) = &self.found else {
            return Ok(None);
        };
        let Some((path, build_id)) = link(sections)? else {
            return Ok(None);
        };
        let Some(sections) = found.supplementary(&path, &build_id)? else {
            return Ok(None);
        };
        match File::open(sections, Kind::Linked, meter, None) {
            Some(file) => {
                let mut unread = Unread::default();
                let units = Units::open(file, meter, &mut unread)?;
                // Which addresses need one of its units is not known before.
                match unread.error(&units.file.info) {
                    Some(error) => Err(error),
                    None => Ok(Some(units)),
                }
            }
            None => Ok(None),
        }
    }
}

/// The path and the build id of the supplementary file.
fn link(sections: &Sections) -> Result<Option<(String, Vec<u8>)>, Error> {
    let read = |section: &Section| -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; section.size()?.min(MAX_LINK) as usize];
        section.read(0, &mut bytes)?;
        Ok(bytes)
    };
    let cut = |section: &Section| section.malformed("it is cut short");
    let (bytes, section, is_gnu) = match sections.find(".gnu_debugaltlink") {
        Some(section) => (read(&section)?, section, true),
        None => match sections.find(".debug_sup") {
            Some(section) => (read(&section)?, section, false),
            None => return Ok(None),
        },
    };
    let mut cursor = Cursor::new(&bytes, sections.endian());
    let found = if is_gnu {
        gnu_link(&mut cursor)
    } else {
        standard_link(&mut cursor)
    };
    let (path, build_id) = found.ok_or_else(|| cut(&section))?;
    Ok((!path.is_empty()).then(|| {
        (
            String::from_utf8_lossy(path).into_owned(),
            build_id.to_vec(),
        )
    }))
}

/// A path, and what follows is the build id.
fn gnu_link<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let path = cursor.string()?;
    let left = cursor.end() - cursor.at();
    Some((path, cursor.take(left as u64)?))
}

/// A version, whether this file is the supplementary one itself, its path and its build id.
fn standard_link<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    cursor.u16()?;
    if cursor.u8()? != 0 {
        return Some((&[], &[]));
    }
    let path = cursor.string()?;
    let length = cursor.uleb()?;
    Some((path, cursor.take(length)?))
}

impl std::fmt::Debug for Supplementary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supplementary")
            .field("units", &self.units)
            .finish_non_exhaustive()
    }
}

//! Split DWARF: a unit's entries in a `.dwo` file, or in a `.dwp` with those of all units (DWARF 5, section 7.3; before that, GNU's
//! extension of DWARF 4 with the same shape).
//!
//! What stays in the linked file is a skeleton: addresses, ranges and lines. The two parts know each other by an id.

use std::sync::{Arc, OnceLock};

use gimli::{EndianSlice, IndexSectionId, RunTimeEndian, UnitIndex};
use object::Endianness;

use super::{
    Companions,
    context::{Bases, Context},
    file::{File, Kind},
    form::Text,
    header::{self, Header},
    meter::{Charge, Meter},
    root::Root,
    text,
    unit::Unit,
    unread::Unread,
};
use crate::{Error, elf::sections::Section};

/// Finds the other part of skeletons.
#[derive(Debug)]
pub(super) struct Split {
    package: OnceLock<Option<Package>>,
    /// How many `.dwo` files are held.
    open: Meter,
    meter: Meter,
}

/// A `.dwp` file.
#[derive(Debug)]
struct Package {
    file: Arc<File>,
    index: Section,
    bytes: Vec<u8>,
    _charge: Charge,
}

/// A unit that was split off, and where its part of each table begins.
struct Found {
    file: Arc<File>,
    header: Header,
    root: Root,
    bases: Bases,
}

/// How many `.dwo` files are held at most.
const MAX_OPEN: usize = 128;

impl Split {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            package: OnceLock::new(),
            open: Meter::default(),
            meter: meter.clone(),
        }
    }

    /// Bytes of memory that unpacked sections of the package take.
    pub(super) fn bytes(&self) -> usize {
        let package = self.package.get().and_then(Option::as_ref);
        package.map_or(0, |package| package.file.sections.bytes())
    }

    /// Lets go what can be read of the package again.
    pub(super) fn release(&self) {
        if let Some(package) = self.package.get().and_then(Option::as_ref) {
            package.file.release();
        }
    }

    /// Whether so many files are held that some had better be let go first: a process may have a thousand open, and not only ours.
    pub(super) fn is_full(&self) -> bool {
        self.open.bytes() >= MAX_OPEN
    }

    /// The unit that a skeleton's entries were split off to; `None` when it can't be found, or the one that is there belongs to another
    /// build.
    pub(super) fn find(
        &self,
        skeleton: &Context,
        found: &dyn Companions,
    ) -> Result<Option<Unit>, Error> {
        let id = skeleton.header.dwo_id.or(skeleton.root.dwo_id);
        let (Some(name), Some(id)) = (skeleton.root.dwo_name, id) else {
            return Ok(None);
        };
        let packaged = match self.package(found)? {
            Some(package) => package.find(id)?,
            None => None,
        };
        let is_packaged = packaged.is_some();
        let other = match packaged {
            None => self.apart(skeleton, name, id, found)?,
            packaged => packaged,
        };
        let Some(other) = other else {
            return Ok(None);
        };
        let table = other.file.table(&other.header)?;
        let context = Context {
            bases: Bases {
                addr: skeleton.bases.addr,
                ranges: skeleton.root.gnu_ranges,
                ..other.bases
            },
            file: other.file,
            linked: skeleton.file.clone(),
            header: other.header,
            root: other.root,
            low: skeleton.low,
        };
        let unit = Unit::new(context, table, &self.meter);
        if !is_packaged {
            // What was unpacked to read so far goes with the unit.
            unit.holds(unit.context.file.sections.bytes());
        }
        Ok(Some(unit))
    }

    /// The unit with an id in the `.dwo` file that its skeleton names.
    fn apart(
        &self,
        skeleton: &Context,
        name: Text,
        id: u64,
        found: &dyn Companions,
    ) -> Result<Option<Found>, Error> {
        let directory = match skeleton.root.directory {
            Some(text) => text::of_root(skeleton, text)?,
            None => String::new(),
        };
        let name = text::of_root(skeleton, name)?;
        let Some(sections) = found.split(&directory, &name)? else {
            return Ok(None);
        };
        match File::open(sections, Kind::Split, &self.meter, None) {
            Some(file) => alone(Arc::new(file.counted(&self.open)), id),
            None => Ok(None),
        }
    }

    fn package(&self, found: &dyn Companions) -> Result<Option<&Package>, Error> {
        if self.package.get().is_none() {
            let package = match found.package()? {
                Some(sections) => File::open(sections, Kind::Split, &self.meter, None)
                    .map(|file| Package::read(file, &self.meter))
                    .transpose()?,
                None => None,
            };
            // Another thread may have been as fast.
            let _ = self.package.set(package);
        }
        Ok(self.package.get().and_then(Option::as_ref))
    }
}

/// The unit with an id of a `.dwo` file.
fn alone(file: Arc<File>, id: u64) -> Result<Option<Found>, Error> {
    let mut unread = Unread::default();
    for header in header::headers(&file.info, file.endian, &mut unread)? {
        if header.is_type || header.dwo_id.is_some_and(|own| own != id) {
            continue;
        }
        let root = Root::read(&file, &header)?;
        if header.dwo_id.or(root.dwo_id) == Some(id) {
            return Ok(Some(Found {
                bases: Bases::implied(&header),
                file,
                header,
                root,
            }));
        }
    }
    // It may be the one that can't be read.
    match unread.error(&file.info) {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

impl Package {
    fn read(file: File, meter: &Meter) -> Result<Self, Error> {
        let index = file.sections.get(".debug_cu_index");
        let bytes = index.read_all()?;
        let package = Self {
            _charge: meter.charge(bytes.len()),
            file: Arc::new(file),
            index,
            bytes,
        };
        package.index()?;
        Ok(package)
    }

    fn index(&self) -> Result<UnitIndex<EndianSlice<'_, RunTimeEndian>>, Error> {
        let endian = match self.file.endian {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        gimli::DebugCuIndex::new(&self.bytes, endian)
            .index()
            .map_err(|error| self.index.malformed(error.to_string()))
    }

    /// The unit with an id.
    fn find(&self, id: u64) -> Result<Option<Found>, Error> {
        let index = self.index()?;
        let Some(row) = index.find(id) else {
            return Ok(None);
        };
        let (mut info, mut abbreviations) = (None, 0);
        let (mut strings, mut rnglists) = (0, 0);
        let parts = index
            .sections(row)
            .map_err(|error| self.index.malformed(error.to_string()))?;
        for part in parts {
            let offset = u64::from(part.offset);
            match part.section {
                IndexSectionId::DebugInfo => info = Some(offset),
                IndexSectionId::DebugAbbrev => abbreviations = offset,
                IndexSectionId::DebugStrOffsets => strings = offset,
                IndexSectionId::DebugRngLists => rnglists = offset,
                _ => {}
            }
        }
        let Some(info) = info else {
            return Ok(None);
        };
        let file = &self.file;
        let header = Header::read(&file.info, info, file.info.size()?, file.endian)?;
        let header = header.map(|(_, header)| header).transpose()?;
        let Some(mut header) = header.filter(|header| !header.is_type) else {
            return Ok(None);
        };
        header.abbreviations = header.abbreviations.saturating_add(abbreviations);
        let root = Root::read(file, &header)?;
        let implied = Bases::implied(&header);
        Ok(Some(Found {
            file: self.file.clone(),
            header,
            root,
            bases: Bases {
                str_offsets: implied.str_offsets + strings,
                rnglists: implied.rnglists + rnglists,
                ..implied
            },
        }))
    }
}

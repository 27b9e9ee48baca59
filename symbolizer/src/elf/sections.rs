//! A file's sections by name, read in parts.
//!
//! [`Sections`] owns its file, so that whoever holds it can read for as long as they like. A part is read by `pread`, never
//! mapped: a file that is cut short meanwhile is an error. A compressed section (System V gABI, chapter 4, "Section
//! Compression"; or GNU's older `.zdebug_`) can't be read in parts: it is unpacked whole at its first use, and the copy is kept until
//! [`Sections::release`].

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, SectionHeader as _},
};

use super::{
    Class, Headers, class,
    packing::{Packing, Unpackable, unpack},
    source::Source,
};
use crate::Error;

/// What holds a file's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Image {
    File(Arc<File>),
    Memory(Arc<[u8]>),
}

/// The sections of one file. A clone is the same file, not a copy.
#[derive(Clone, Debug)]
pub(crate) struct Sections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    image: Image,
    /// Bytes of the file when it was opened.
    length: u64,
    name: Box<str>,
    limit: usize,
    endian: Endianness,
    class: Class,
    kind: u16,
    all: Vec<Arc<Header>>,
}

/// One section header, as far as it is asked for.
#[derive(Debug)]
struct Header {
    name: Box<str>,
    kind: u32,
    offset: u64,
    /// Bytes in the file.
    size: u64,
    packing: Packing,
    unpacked: Mutex<Option<Arc<[u8]>>>,
}

/// One section that can be read. What is not there is a section without bytes.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    shared: Arc<Shared>,
    header: Option<Arc<Header>>,
    name: &'static str,
}

impl Sections {
    /// Reads the section headers. `limit` is the most bytes that one read, or one unpacked section, may have.
    ///
    /// # Errors
    /// When the file can't be read, is no ELF file or contradicts itself. A file without sections is no error.
    pub(crate) fn open(image: Image, name: &str, limit: usize) -> Result<Self, Error> {
        let image_of_source = image.clone();
        let source = match &image_of_source {
            Image::File(file) => Source::file(file, name, limit)?,
            Image::Memory(bytes) => Source::bytes(bytes, name, limit),
        };
        let shared = match class(&source)? {
            Class::Elf32 => read::<elf::FileHeader32<Endianness>>(&source, image, Class::Elf32)?,
            Class::Elf64 => read::<elf::FileHeader64<Endianness>>(&source, image, Class::Elf64)?,
        };
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) fn endian(&self) -> Endianness {
        self.0.endian
    }

    /// Whether it is a relocatable file (`ET_REL`): its addresses mean nothing before it is linked.
    pub(crate) fn is_relocatable(&self) -> bool {
        self.0.kind == elf::ET_REL
    }

    /// The section of a name; for `.debug_info` also GNU's compressed `.zdebug_info`. One without bytes in the file (`SHT_NOBITS`) is
    /// as good as none.
    pub(crate) fn find(&self, name: &'static str) -> Option<Section> {
        let is_it = |header: &&Arc<Header>| {
            let same = *header.name == *name
                || (header.packing == Packing::Gnu
                    && header.name.strip_prefix(".z") == name.strip_prefix('.'));
            same && header.kind != elf::SHT_NOBITS
        };
        let header = self.0.all.iter().find(is_it)?;
        Some(self.section(Some(header.clone()), name))
    }

    /// The section of a name, or one without bytes: whoever reads it gets an error that names it.
    pub(crate) fn get(&self, name: &'static str) -> Section {
        self.find(name).unwrap_or_else(|| self.section(None, name))
    }

    fn section(&self, header: Option<Arc<Header>>, name: &'static str) -> Section {
        Section {
            shared: self.0.clone(),
            header,
            name,
        }
    }

    /// Bytes of memory that unpacked copies take.
    pub(crate) fn bytes(&self) -> usize {
        self.0
            .all
            .iter()
            .map(|header| header.unpacked_bytes())
            .sum()
    }

    /// Lets the unpacked copies go. A reader that holds one keeps it; the next one unpacks anew.
    pub(crate) fn release(&self) {
        for header in &self.0.all {
            drop(header.copy().take());
        }
    }
}

fn read<H: FileHeader<Endian = Endianness>>(
    source: &Source<'_>,
    image: Image,
    class: Class,
) -> Result<Shared, Error> {
    let headers = Headers::<H>::read(source)?;
    let endian = headers.endian;
    let bytes = headers.sections()?;
    let sections: &[H::SectionHeader] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
    let names = headers.section_names(sections)?.unwrap_or_default();
    let all = sections.iter().map(|section| {
        let name = String::from_utf8_lossy(names.at(section.sh_name(endian)));
        let flags = section.sh_flags(endian).into();
        Arc::new(Header {
            packing: Packing::of(&name, flags),
            name: name.into(),
            kind: section.sh_type(endian),
            offset: section.sh_offset(endian).into(),
            size: section.sh_size(endian).into(),
            unpacked: Mutex::default(),
        })
    });
    Ok(Shared {
        all: all.collect(),
        image,
        length: source.len(),
        name: source.name().into(),
        limit: source.limit(),
        endian,
        class,
        kind: headers.header.e_type(endian),
    })
}

impl Header {
    fn copy(&self) -> std::sync::MutexGuard<'_, Option<Arc<[u8]>>> {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpacked_bytes(&self) -> usize {
        match self.packing {
            Packing::None => 0,
            _ => self.copy().as_ref().map_or(0, |bytes| bytes.len()),
        }
    }
}

impl Section {
    /// Bytes, unpacked.
    ///
    /// # Errors
    /// When it is compressed and can't be unpacked, or when the file ends before it does.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        match (&self.header, self.unpacked()?) {
            (_, Some(bytes)) => Ok(bytes.len() as u64),
            (Some(header), None) => match header.offset.checked_add(header.size) {
                Some(end) if end <= self.shared.length => Ok(header.size),
                _ => Err(self.malformed(format!(
                    "{} bytes at {:#x} lie beyond the file's end at {:#x}",
                    header.size, header.offset, self.shared.length
                ))),
            },
            (None, None) => Ok(0),
        }
    }

    /// Whether it is compressed in the file.
    pub(crate) fn is_packed(&self) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.packing != Packing::None)
    }

    /// Whether it is read from an unpacked copy, which a caller that reads often had better hold.
    ///
    /// # Errors
    /// As [`Self::size`].
    pub(crate) fn unpacked(&self) -> Result<Option<Arc<[u8]>>, Error> {
        let Some(header) = &self.header else {
            return Ok(None);
        };
        if header.packing == Packing::None {
            return Ok(None);
        }
        let mut copy = header.copy();
        if copy.is_none() {
            *copy = Some(self.unpack(header)?.into());
        }
        Ok(copy.clone())
    }

    /// Fills `into` with what is at an offset.
    ///
    /// # Errors
    /// When that lies beyond the section's end or can't be read.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        let length = into.len() as u64;
        if into.is_empty() {
            return Ok(());
        }
        let size = match self.unpacked()? {
            Some(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(into.len());
                if let Some(part) = bytes.get(start..end) {
                    into.copy_from_slice(part);
                    return Ok(());
                }
                bytes.len() as u64
            }
            None => self.header.as_ref().map_or(0, |header| header.size),
        };
        match &self.header {
            Some(header) if offset.checked_add(length).is_some_and(|end| end <= size) => self
                .shared
                .read(self.name, header.offset.saturating_add(offset), into),
            _ => Err(self.malformed(format!(
                "{length} bytes at {offset:#x} lie beyond its end at {size:#x}"
            ))),
        }
    }

    /// All of it, when it is within the limit.
    ///
    /// # Errors
    /// As [`Self::read`], and when it is larger than the limit.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        let size = self.size()?;
        let mut bytes = vec![0; self.within_limit(size)?];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// A size that may be held at once.
    ///
    /// # Errors
    /// When it is over the limit.
    pub(crate) fn within_limit(&self, size: u64) -> Result<usize, Error> {
        match usize::try_from(size) {
            Ok(length) if length <= self.shared.limit => Ok(length),
            _ => Err(self.too_large(size)),
        }
    }

    fn too_large(&self, size: u64) -> Error {
        Error::TooLarge {
            file: self.shared.name.to_string(),
            what: self.name,
            size,
            limit: self.shared.limit,
        }
    }

    fn unpack(&self, header: &Header) -> Result<Vec<u8>, Error> {
        // What is packed is held meanwhile, too.
        let mut packed = vec![0; self.within_limit(header.size)?];
        self.shared.read(self.name, header.offset, &mut packed)?;
        let Shared {
            endian,
            class,
            limit,
            ..
        } = &*self.shared;
        let bytes = unpack(header.packing, &packed, *endian, *class, *limit);
        bytes.map_err(|why| match why {
            Unpackable::Malformed(why) => self.malformed(why),
            Unpackable::TooLarge(size) => self.too_large(size),
        })
    }

    /// That the section contradicts itself or the file.
    pub(crate) fn malformed(&self, why: impl Into<String>) -> Error {
        Error::malformed(&self.shared.name, self.name, why)
    }
}

impl Shared {
    fn read(&self, what: &'static str, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        match &self.image {
            Image::File(file) => file
                .read_exact_at(into, offset)
                .map_err(Error::read(&self.name, what)),
            Image::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(start..start.saturating_add(into.len()));
                into.copy_from_slice(part.ok_or_else(|| {
                    let why = format!("{} bytes at {offset:#x} lie beyond the file", into.len());
                    Error::malformed(&self.name, what, why)
                })?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;

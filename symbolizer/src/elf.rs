//! One ELF file: what its headers say.
//!
//! Formats: the System V ABI, chapters 4 and 5 (ELF header, sections, symbol table, program header), and for the
//! build id the note `NT_GNU_BUILD_ID` of the GNU linker.

use std::{fs::File, ops::Range};

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, SectionHeader as _},
};

pub(crate) use self::{
    headers::{Class, Headers, Segment, class},
    input::Input,
    sections::Image,
};
use crate::{Error, elf::source::Source};

mod headers;
mod input;
pub(crate) mod packing;
pub(crate) mod plt;
pub(crate) mod sections;
pub(crate) mod source;
pub(crate) mod strings;
pub(crate) mod symbols;
pub(crate) mod windows;

/// What the headers of a file say. It holds nothing of the file's contents.
#[derive(Debug)]
pub(crate) struct Elf {
    pub(crate) class: Class,
    pub(crate) endian: Endianness,
    pub(crate) machine: u16,
    pub(crate) build_id: Option<Vec<u8>>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
}

/// A section, not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// When the file can't be read, is no ELF file, or its headers contradict themselves or the file.
    pub(crate) fn read(source: &Source<'_>) -> Result<Self, Error> {
        match class(source)? {
            Class::Elf32 => Self::of_headers(
                &Headers::<elf::FileHeader32<Endianness>>::read(source)?,
                Class::Elf32,
            ),
            Class::Elf64 => Self::of_headers(
                &Headers::<elf::FileHeader64<Endianness>>::read(source)?,
                Class::Elf64,
            ),
        }
    }

    fn of_headers<Header: FileHeader<Endian = Endianness>>(
        headers: &Headers<'_, Header>,
        class: Class,
    ) -> Result<Self, Error> {
        Ok(Self {
            class,
            endian: headers.endian,
            machine: headers.header.e_machine(headers.endian),
            build_id: headers.build_id()?,
            segments: headers.segments(),
            sections: sections(headers)?,
        })
    }

    /// Where in the file the byte is that is loaded at an address.
    pub(crate) fn offset_of(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let offset = segment
                .file
                .start
                .checked_add(address.checked_sub(segment.address)?)?;
            (offset < segment.file.end).then_some(offset)
        })
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.sections.iter().map(|section| section.name.len());
        self.sections.capacity() * size_of::<Section>()
            + names.sum::<usize>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    /// The first section of a name that has bytes in the file.
    pub(crate) fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| &*section.name == name && section.kind != elf::SHT_NOBITS)
    }
}

impl Section {
    /// Its bytes as they lie in the file.
    pub(crate) fn read(&self, what: &'static str, source: &Source<'_>) -> Result<Vec<u8>, Error> {
        source.read(what, self.offset, self.size)
    }

    /// Its addresses when it is loaded.
    pub(crate) fn addresses(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.size)
    }

    pub(crate) fn is_code(&self) -> bool {
        let code = u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR);
        self.flags & code == code
    }
}

/// The GNU build id of a file; `name` is what errors call it.
///
/// # Errors
/// When the file can't be read, is no ELF file, or contradicts itself.
pub fn build_id(file: &File, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let source = Source::file(file, name, 1 << 20)?;
    match class(&source)? {
        Class::Elf32 => Headers::<elf::FileHeader32<Endianness>>::read(&source)?.build_id(),
        Class::Elf64 => Headers::<elf::FileHeader64<Endianness>>::read(&source)?.build_id(),
    }
}

fn sections<Header: FileHeader<Endian = Endianness>>(
    headers: &Headers<'_, Header>,
) -> Result<Vec<Section>, Error> {
    let endian = headers.endian;
    let bytes = headers.sections()?;
    let all: &[Header::SectionHeader] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
    let names = headers.section_names(all)?.unwrap_or_default();
    Ok(all
        .iter()
        .map(|section| Section {
            name: names.at(section.sh_name(endian)).into(),
            kind: section.sh_type(endian),
            flags: section.sh_flags(endian).into(),
            address: section.sh_addr(endian).into(),
            offset: section.sh_offset(endian).into(),
            size: section.sh_size(endian).into(),
            link: section.sh_link(endian),
        })
        .collect())
}

#[cfg(test)]
pub(crate) mod tests;

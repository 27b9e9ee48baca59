//! A file's headers, read in their own byte order and class.

use std::ops::Range;

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, NoteIterator, ProgramHeader as _, SectionHeader as _},
};

use super::source::Source;
use crate::Error;

/// What a `PT_LOAD` program header maps.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: Range<u64>,
    pub(crate) address: u64,
    pub(crate) executable: bool,
}

/// More headers than any linker writes: what says it has more is no file to trust.
const MAX_SEGMENTS: usize = 4096;
const MAX_SECTIONS: u64 = 1 << 20;
/// The most bytes that are searched for a build id.
const MAX_NOTES: u64 = 1 << 16;
/// The longest build id: a SHA-512.
const MAX_BUILD_ID: usize = 64;
/// The longest section name that is told from others; none that means anything to us is as long.
const MAX_SECTION_NAME: usize = 64;
/// More than any linker writes of section names.
const MAX_SECTION_NAMES: u64 = 1 << 24;

/// Of 32 or of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Elf32,
    Elf64,
}

/// Which of the two a file is of.
pub(crate) fn class(source: &Source<'_>) -> Result<Class, Error> {
    let not_elf = || Error::NotElf {
        file: source.name().to_owned(),
    };
    if source.len() < 52 {
        return Err(not_elf());
    }
    let ident = source.read("the ELF header", 0, 16)?;
    match (ident.get(..4), ident.get(4)) {
        (Some(magic), Some(&elf::ELFCLASS32)) if magic == elf::ELFMAG => Ok(Class::Elf32),
        (Some(magic), Some(&elf::ELFCLASS64)) if magic == elf::ELFMAG => Ok(Class::Elf64),
        _ => Err(not_elf()),
    }
}

/// The names of a file's sections.
#[derive(Debug, Default)]
pub(crate) struct SectionNames(Vec<u8>);

impl SectionNames {
    /// The name at an offset, or as much of it as tells sections apart: without an end, each of them could be as long as all together.
    pub(crate) fn at(&self, offset: u32) -> &[u8] {
        let from = self.0.get(offset as usize..).unwrap_or_default();
        let from = &from[..from.len().min(MAX_SECTION_NAME)];
        &from[..memchr::memchr(0, from).unwrap_or(from.len())]
    }
}

/// A file's headers, for one class (32 or 64 bits).
pub(crate) struct Headers<'a, Header: FileHeader<Endian = Endianness>> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) endian: Endianness,
    pub(crate) header: Header,
    programs: Vec<u8>,
}

impl<'a, Header: FileHeader<Endian = Endianness>> Headers<'a, Header> {
    pub(crate) fn read(source: &'a Source<'a>) -> Result<Self, Error> {
        const WHAT: &str = "the ELF header";
        let bytes = source.read(WHAT, 0, size_of::<Header>() as u64)?;
        let (header, _) = pod::from_bytes::<Header>(&bytes)
            .map_err(|()| Error::malformed(source.name(), WHAT, "it is cut short"))?;
        if !header.is_supported() {
            return Err(Error::malformed(
                source.name(),
                WHAT,
                "unknown class, byte order or version",
            ));
        }
        let endian = header
            .endian()
            .map_err(|error| Error::malformed(source.name(), WHAT, error.to_string()))?;
        let programs = Self::programs(source, endian, header)?;
        Ok(Self {
            source,
            endian,
            header: *header,
            programs,
        })
    }

    fn programs(
        source: &Source<'_>,
        endian: Endianness,
        header: &Header,
    ) -> Result<Vec<u8>, Error> {
        const WHAT: &str = "the program headers";
        let count = usize::from(header.e_phnum(endian));
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MAX_SEGMENTS {
            return Err(Error::malformed(
                source.name(),
                WHAT,
                format!("{count} of them"),
            ));
        }
        if usize::from(header.e_phentsize(endian)) != size_of::<Header::ProgramHeader>() {
            return Err(Error::malformed(
                source.name(),
                WHAT,
                "their size is not the class's",
            ));
        }
        let length = count * size_of::<Header::ProgramHeader>();
        source.read(WHAT, header.e_phoff(endian).into(), length as u64)
    }

    pub(crate) fn program_headers(&self) -> &[Header::ProgramHeader] {
        pod::slice_from_all_bytes(&self.programs).unwrap_or_default()
    }

    /// What is loaded, by the file's own order.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let loaded = self
            .program_headers()
            .iter()
            .filter(|program| program.p_type(self.endian) == elf::PT_LOAD);
        loaded
            .map(|program| {
                let (start, length) = program.file_range(self.endian);
                Segment {
                    file: start..start.saturating_add(length),
                    address: program.p_vaddr(self.endian).into(),
                    executable: program.p_flags(self.endian) & elf::PF_X != 0,
                }
            })
            .collect()
    }

    /// The GNU build id.
    pub(crate) fn build_id(&self) -> Result<Option<Vec<u8>>, Error> {
        const WHAT: &str = "the notes";
        let notes = self
            .program_headers()
            .iter()
            .filter(|program| program.p_type(self.endian) == elf::PT_NOTE);
        for program in notes {
            let (start, length) = program.file_range(self.endian);
            let bytes = self.source.read(WHAT, start, length.min(MAX_NOTES))?;
            // A note that is cut short ends the search in this segment: what comes before it still counts.
            let Ok(mut notes) =
                NoteIterator::<Header>::new(self.endian, program.p_align(self.endian), &bytes)
            else {
                continue;
            };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == elf::ELF_NOTE_GNU
                    && note.n_type(self.endian) == elf::NT_GNU_BUILD_ID
                    && (1..=MAX_BUILD_ID).contains(&note.desc().len())
                {
                    return Ok(Some(note.desc().to_vec()));
                }
            }
        }
        Ok(None)
    }

    /// The section headers, as the file has them; empty where it has none.
    pub(crate) fn sections(&self) -> Result<Vec<u8>, Error> {
        const WHAT: &str = "the section headers";
        let offset: u64 = self.header.e_shoff(self.endian).into();
        if offset == 0 {
            return Ok(Vec::new());
        }
        let size = size_of::<Header::SectionHeader>() as u64;
        if u64::from(self.header.e_shentsize(self.endian)) != size {
            return Err(Error::malformed(
                self.source.name(),
                WHAT,
                "their size is not the class's",
            ));
        }
        let mut count = u64::from(self.header.e_shnum(self.endian));
        if count == 0 {
            // With 65,280 sections or more their number is in the first one's size.
            let first = self.source.read(WHAT, offset, size)?;
            count = pod::from_bytes::<Header::SectionHeader>(&first)
                .map_or(0, |(first, _)| first.sh_size(self.endian).into());
        }
        if count > MAX_SECTIONS {
            return Err(Error::malformed(
                self.source.name(),
                WHAT,
                format!("{count} of them"),
            ));
        }
        self.source.read(WHAT, offset, count * size)
    }

    /// The names of the sections with these headers; none where the file says of no section that it holds them.
    pub(crate) fn section_names(
        &self,
        sections: &[Header::SectionHeader],
    ) -> Result<Option<SectionNames>, Error> {
        let mut at = usize::from(self.header.e_shstrndx(self.endian));
        if at == usize::from(elf::SHN_XINDEX) {
            at = sections
                .first()
                .map_or(0, |first| first.sh_link(self.endian)) as usize;
        }
        let Some((offset, size)) = sections
            .get(at)
            .and_then(|names| names.file_range(self.endian))
        else {
            return Ok(None);
        };
        let size = size.min(MAX_SECTION_NAMES);
        let names = self.source.read("the section names", offset, size)?;
        Ok(Some(SectionNames(names)))
    }
}

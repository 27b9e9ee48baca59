//! One ELF file: its functions, its load segments and its build id.
//!
//! Formats: the System V ABI, chapters 4 and 5 (ELF header, sections, symbol table, program header), and for the
//! build id the note `NT_GNU_BUILD_ID` of the GNU linker.

use std::{fs::File, ops::Range};

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, NoteIterator, ProgramHeader as _, SectionHeader as _, Sym as _},
};

use crate::{
    Error, Symbol,
    elf::source::Source,
    table::{Builder, Table},
};

pub(crate) mod source;

/// A parsed file. It holds nothing of the file but function names, load segments and the build id.
#[derive(Debug)]
pub struct Elf {
    functions: Table,
    segments: Vec<Segment>,
    build_id: Option<Vec<u8>>,
}

/// What a `PT_LOAD` program header maps.
#[derive(Debug)]
struct Segment {
    file: Range<u64>,
    address: u64,
}

/// More headers than any linker writes: what says it has more is no file to trust.
const MAX_SEGMENTS: usize = 4096;
const MAX_SECTIONS: u64 = 1 << 20;
/// The most bytes that are searched for a build id.
const MAX_NOTES: u64 = 1 << 16;
/// The longest build id: a SHA-512.
const MAX_BUILD_ID: usize = 64;
/// How much of a symbol table is read at a time.
const SYMBOLS_AT_ONCE: u64 = 1 << 12;

impl Elf {
    /// Parses a file, whose name errors carry. `limit` is the most bytes that one part, or what is made of it, may
    /// have.
    ///
    /// # Errors
    /// When the file can't be read, is no ELF file, contradicts itself or is over the limit. A file without symbols
    /// is no error.
    pub fn from_file(file: &File, name: &str, limit: usize) -> Result<Self, Error> {
        Self::parse(&Source::file(file, name, limit)?)
    }

    /// Parses an image in memory: a vDSO, or a file that was read whole.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn from_bytes(bytes: &[u8], name: &str, limit: usize) -> Result<Self, Error> {
        Self::parse(&Source::bytes(bytes, name, limit))
    }

    /// The build id of a file, without reading its symbols.
    ///
    /// # Errors
    /// As [`Self::from_file`].
    pub fn build_id_of(file: &File, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let source = Source::file(file, name, 1 << 20)?;
        match class(&source)? {
            Class::Elf32 => Headers::<elf::FileHeader32<Endianness>>::read(&source)?.build_id(),
            Class::Elf64 => Headers::<elf::FileHeader64<Endianness>>::read(&source)?.build_id(),
        }
    }

    fn parse(source: &Source<'_>) -> Result<Self, Error> {
        match class(source)? {
            Class::Elf32 => Headers::<elf::FileHeader32<Endianness>>::read(source)?.parse(),
            Class::Elf64 => Headers::<elf::FileHeader64<Endianness>>::read(source)?.parse(),
        }
    }

    /// The function that holds an address of the file's own address space (a symbol table's).
    pub fn symbol(&self, address: u64) -> Option<Symbol<'_>> {
        self.functions.find(address)
    }

    /// The address in the file's own address space that a file offset is loaded at. With the offset that a mapping
    /// gives, this is the run-time address less the load bias.
    pub fn address_of(&self, file_offset: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.file.contains(&file_offset))?;
        Some(
            segment
                .address
                .wrapping_add(file_offset - segment.file.start),
        )
    }

    /// The GNU build id.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    /// How many functions have a name.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of memory that this takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.functions.bytes() + self.segments.len() * size_of::<Segment>()
    }
}

enum Class {
    Elf32,
    Elf64,
}

fn class(source: &Source<'_>) -> Result<Class, Error> {
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

/// A file's headers, for one class (32 or 64 bits).
pub(crate) struct Headers<'a, Header: FileHeader<Endian = Endianness>> {
    source: &'a Source<'a>,
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

    fn parse(&self) -> Result<Elf, Error> {
        Ok(Elf {
            functions: self.functions()?,
            segments: self.segments(),
            build_id: self.build_id()?,
        })
    }

    fn segments(&self) -> Vec<Segment> {
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
                }
            })
            .collect()
    }

    fn build_id(&self) -> Result<Option<Vec<u8>>, Error> {
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

    /// The functions of `.symtab` and `.dynsym`. One is often a part of the other; the table keeps each address once.
    fn functions(&self) -> Result<Table, Error> {
        let bytes = self.sections()?;
        let sections: &[Header::SectionHeader] =
            pod::slice_from_all_bytes(&bytes).unwrap_or_default();
        let mut builder = Builder::default();
        for section in sections {
            let what = match section.sh_type(self.endian) {
                elf::SHT_SYMTAB => "the section .symtab",
                elf::SHT_DYNSYM => "the section .dynsym",
                _ => continue,
            };
            let names = sections.get(section.sh_link(self.endian) as usize);
            let Some(names) = names.filter(|names| names.sh_type(self.endian) == elf::SHT_STRTAB)
            else {
                return Err(Error::malformed(
                    self.source.name(),
                    what,
                    "it names no string table",
                ));
            };
            self.section_functions(what, section, names, &mut builder)?;
        }
        Ok(builder.finish())
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

    fn section_functions(
        &self,
        what: &'static str,
        section: &Header::SectionHeader,
        names: &Header::SectionHeader,
        into: &mut Builder,
    ) -> Result<(), Error> {
        let entry = size_of::<Header::Sym>() as u64;
        let Some((start, length)) = section.file_range(self.endian) else {
            return Ok(());
        };
        let Some((names_at, names_length)) = names.file_range(self.endian) else {
            return Ok(());
        };
        self.source.check(what, start, length)?;
        let names = self
            .source
            .read("the symbols' string table", names_at, names_length)?;
        let mut at = start;
        let mut left = length / entry;
        while left > 0 {
            let count = left.min(SYMBOLS_AT_ONCE);
            let bytes = self.source.read(what, at, count * entry)?;
            let symbols: &[Header::Sym] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
            for symbol in symbols {
                self.push(symbol, &names, into);
            }
            if into.bytes() > self.source.limit() {
                return Err(Error::TooLarge {
                    file: self.source.name().to_owned(),
                    what,
                    size: into.bytes() as u64,
                    limit: self.source.limit(),
                });
            }
            at += count * entry;
            left -= count;
        }
        Ok(())
    }

    fn push(&self, symbol: &Header::Sym, names: &[u8], into: &mut Builder) {
        let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
        let address: u64 = symbol.st_value(self.endian).into();
        if !is_function || address == 0 || symbol.is_undefined(self.endian) {
            return;
        }
        let name = names
            .get(symbol.st_name(self.endian) as usize..)
            .unwrap_or_default();
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
        if end == 0 {
            return;
        }
        let rank = match symbol.st_bind() {
            elf::STB_GLOBAL => 2,
            elf::STB_WEAK => 1,
            _ => 0,
        };
        into.push(
            address,
            symbol.st_size(self.endian).into(),
            &name[..end],
            rank,
        );
    }
}

#[cfg(test)]
mod tests;

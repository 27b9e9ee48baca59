//! `.symtab` and `.dynsym`: which entries name code, and where (System V ABI, chapter 4, "Symbol Table").

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, Sym as _},
};

use self::nearest::Nearest;
use super::{Class, Elf, Input, Section, source::Source, strings::Strings};
use crate::{
    Error,
    table::{Entry, Function, Table},
};

mod nearest;

/// The functions of one symbol table, and where their names are.
#[derive(Debug)]
pub(crate) struct Symbols {
    pub(crate) names: Strings,
    input: Input,
    section: Section,
    what: &'static str,
    table: OnceLock<Result<Table, Error>>,
    was_asked: AtomicBool,
    is_empty: AtomicBool,
}

/// Which of a file's two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// `.symtab`: all that the linker knew.
    All,
    /// `.dynsym`: what other files may use.
    Dynamic,
}

/// How much of a symbol table is read at a time.
const SYMBOLS_AT_ONCE: usize = 1 << 12;
/// A table that takes a millisecond to be put in order.
const LARGE: u64 = 1 << 19;

impl Which {
    fn kind(self) -> u32 {
        match self {
            Self::All => elf::SHT_SYMTAB,
            Self::Dynamic => elf::SHT_DYNSYM,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::All => "the section .symtab",
            Self::Dynamic => "the section .dynsym",
        }
    }

    fn names(self) -> &'static str {
        match self {
            Self::All => "the string table of .symtab",
            Self::Dynamic => "the string table of .dynsym",
        }
    }
}

impl Symbols {
    /// One of a file's tables, not read yet; none where the file has no such table.
    ///
    /// # Errors
    /// When the table lies beyond the file, or names no string table.
    pub(crate) fn open(input: &Input, elf: &Elf, which: Which) -> Result<Option<Self>, Error> {
        let section = elf
            .sections
            .iter()
            .find(|section| section.kind == which.kind() && section.size > 0);
        let Some(section) = section else {
            return Ok(None);
        };
        let names = elf.sections.get(section.link as usize);
        let Some(names) = names.filter(|names| names.kind == elf::SHT_STRTAB) else {
            return Err(Error::malformed(
                input.name(),
                which.what(),
                "it names no string table",
            ));
        };
        let source = input.source()?;
        source.check(which.what(), section.offset, section.size)?;
        source.check(which.names(), names.offset, names.size)?;
        Ok(Some(Self {
            names: Strings::new(input.clone(), which.names(), names.offset, names.size),
            input: input.clone(),
            section: section.clone(),
            what: which.what(),
            table: OnceLock::new(),
            was_asked: AtomicBool::new(false),
            is_empty: AtomicBool::new(false),
        }))
    }

    /// The function that holds an address. The first answer of a large table comes from looking through it once, which takes a fifth of
    /// the time that it takes to put it in order; the second one orders it.
    ///
    /// # Errors
    /// When the table can't be read, or would take more than the input's limit.
    pub(crate) fn find(&self, elf: &Elf, address: u64) -> Result<Option<Function>, Error> {
        let is_first = !self.was_asked.swap(true, Relaxed);
        if is_first && self.section.size >= LARGE && self.table.get().is_none() {
            let mut nearest = Nearest::new(address);
            self.read(elf, |entry| nearest.take(entry))?;
            self.is_empty.store(nearest.is_empty(), Relaxed);
            return Ok(nearest.function(&elf.code()));
        }
        Ok(self.table(elf)?.find(address))
    }

    /// Whether it names no code, as far as it was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty.load(Relaxed)
    }

    /// The functions in order.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) fn table(&self, elf: &Elf) -> Result<&Table, Error> {
        let table = self.table.get_or_init(|| {
            let limit = self.input.limit();
            let mut entries = Vec::new();
            self.read(elf, |entry| {
                entries.push(entry);
                entries.len() * size_of::<Entry>() <= limit
            })?;
            let size = entries.len() * size_of::<Entry>();
            if size > limit {
                return Err(Error::TooLarge {
                    file: self.input.name().to_string(),
                    what: self.what,
                    size: size as u64,
                    limit,
                });
            }
            self.is_empty.store(entries.is_empty(), Relaxed);
            Ok(Table::new(entries, &elf.code()))
        });
        table.as_ref().map_err(Error::clone)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let table = self.table.get().and_then(|table| table.as_ref().ok());
        size_of::<Self>() + table.map_or(0, Table::bytes)
    }

    /// Hands on what names code, until `each` has enough.
    fn read(&self, elf: &Elf, each: impl FnMut(Entry) -> bool) -> Result<(), Error> {
        let reader = Reader {
            elf,
            source: &self.input.source()?,
            names: &self.names,
            what: self.what,
        };
        match elf.class {
            Class::Elf32 => reader.entries::<elf::FileHeader32<Endianness>>(&self.section, each),
            Class::Elf64 => reader.entries::<elf::FileHeader64<Endianness>>(&self.section, each),
        }
    }
}

impl Elf {
    /// The addresses of code sections, in order.
    pub(crate) fn code(&self) -> Vec<Range<u64>> {
        let code = self.sections.iter().filter(|section| section.is_code());
        let mut ranges: Vec<_> = code.map(Section::addresses).collect();
        ranges.sort_by_key(|range| range.start);
        ranges
    }
}

struct Reader<'a> {
    elf: &'a Elf,
    source: &'a Source<'a>,
    names: &'a Strings,
    what: &'static str,
}

impl Reader<'_> {
    fn entries<Header: FileHeader<Endian = Endianness>>(
        &self,
        section: &Section,
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), Error> {
        let size = size_of::<Header::Sym>() as u64;
        let is_code: Vec<bool> = self.elf.sections.iter().map(Section::is_code).collect();
        let mapped = MappingSymbols::of(self.elf.machine);
        let mut buffer = Vec::new();
        let mut file = 0;
        let (mut at, mut left) = (section.offset, section.size / size);
        while left > 0 {
            let count =
                usize::try_from(left).map_or(SYMBOLS_AT_ONCE, |left| left.min(SYMBOLS_AT_ONCE));
            let length = count * size as usize;
            self.source.read_into(&mut buffer, self.what, at, length)?;
            let symbols: &[Header::Sym] = pod::slice_from_all_bytes(&buffer).unwrap_or_default();
            for symbol in symbols {
                let name = symbol.st_name(self.elf.endian);
                match symbol.st_type() {
                    elf::STT_FILE => file = name,
                    elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_OBJECT | elf::STT_NOTYPE => {}
                    _ => continue,
                }
                // Symbols of special sections (undefined, absolute, common) are in none of the list.
                let section = usize::from(symbol.st_shndx(self.elf.endian));
                if name == 0 || is_code.get(section) != Some(&true) && !is_far(section) {
                    continue;
                }
                if symbol.st_type() == elf::STT_NOTYPE && mapped.has(self.names, name)? {
                    continue;
                }
                let size: u64 = symbol.st_size(self.elf.endian).into();
                let is_local = symbol.st_bind() == elf::STB_LOCAL;
                let goes_on = each(Entry {
                    address: mapped.address(symbol.st_value(self.elf.endian).into()),
                    size: u32::try_from(size).unwrap_or(u32::MAX),
                    name,
                    file: if is_local { file } else { 0 },
                });
                if !goes_on {
                    return Ok(());
                }
            }
            at += length as u64;
            left -= count as u64;
        }
        Ok(())
    }
}

/// In a file of 65,280 sections or more the section is told elsewhere (`SHT_SYMTAB_SHNDX`); what is in one of them is taken
/// for code.
fn is_far(section: usize) -> bool {
    section == usize::from(elf::SHN_XINDEX)
}

/// What Arm's ABIs say of symbols: some mark where code and data begin, and bit 0 of a function of Thumb is no part of its address
/// (ELF for the Arm Architecture, and for AArch64, "Mapping symbols").
#[derive(Clone, Copy)]
enum MappingSymbols {
    None,
    Arm,
    Aarch64,
}

impl MappingSymbols {
    fn of(machine: u16) -> Self {
        match machine {
            elf::EM_ARM => Self::Arm,
            elf::EM_AARCH64 => Self::Aarch64,
            _ => Self::None,
        }
    }

    fn has(self, names: &Strings, name: u32) -> Result<bool, Error> {
        let marks: &[u8] = match self {
            Self::None => return Ok(false),
            Self::Arm => b"adt",
            Self::Aarch64 => b"dx",
        };
        names.with(
            name,
            |name| matches!(name, [b'$', mark, ..] if marks.contains(mark)),
        )
    }

    fn address(self, value: u64) -> u64 {
        match self {
            Self::Arm => value & !1,
            Self::None | Self::Aarch64 => value,
        }
    }
}

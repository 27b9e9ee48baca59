//! A file's symbols, read in pieces: a table may be hundreds of megabytes, and little of it is wanted.

use std::ops::{ControlFlow, Range};

use object::{
    Endianness, elf, pod,
    read::elf::{SectionHeader as _, Sym as _},
};

use crate::{Error, elf::source::Source};

/// How many are read at a time.
const AT_ONCE: u64 = 1 << 12;

pub(super) type SectionHeader = elf::SectionHeader64<Endianness>;
pub(super) type Symbol = elf::Sym64<Endianness>;

/// Where a symbol table and its strings lie, each by offset and size.
pub(super) struct SymbolTable {
    symbols: (u64, u64),
    pub(super) names: (u64, u64),
}

impl SymbolTable {
    /// The file's table of a kind (`SHT_SYMTAB`, `SHT_DYNSYM`), of which it has one at most.
    pub(super) fn find(sections: &[SectionHeader], endian: Endianness, kind: u32) -> Option<Self> {
        let table = sections
            .iter()
            .find(|section| section.sh_type(endian) == kind)?;
        let names = sections.get(table.sh_link(endian) as usize)?;
        Some(Self {
            symbols: table.file_range(endian)?,
            names: names.file_range(endian)?,
        })
    }

    /// Hands on symbols, in their order, until `each` has enough.
    ///
    /// # Errors
    /// When the table, which is called `what`, lies beyond the file.
    pub(super) fn each(
        &self,
        source: &Source<'_>,
        what: &'static str,
        mut each: impl FnMut(&Symbol) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (offset, length) = self.symbols;
        source.check(what, offset, length)?;
        let size = size_of::<Symbol>() as u64;
        let count = length / size;
        let mut buffer = Vec::new();
        let mut read = 0;
        while read < count {
            let now = AT_ONCE.min(count - read);
            let at = offset + read * size;
            source.read_into(&mut buffer, what, at, (now * size) as usize)?;
            let symbols: &[Symbol] = pod::slice_from_all_bytes(&buffer).unwrap_or_default();
            if symbols.iter().try_for_each(&mut each).is_break() {
                break;
            }
            read += now;
        }
        Ok(())
    }
}

/// A symbol's addresses.
pub(super) fn addresses(symbol: &Symbol, endian: Endianness) -> Range<u64> {
    let start = symbol.st_value(endian);
    start..start.saturating_add(symbol.st_size(endian))
}

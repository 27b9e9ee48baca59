//! Where Go's stacks end. Go marks the functions at the bottom of its stacks for its own unwinder (`TOPFRAME` in
//! runtime/asm_amd64.s), but not in `.debug_frame`: by that their return address is whatever the stack holds there.

use std::ops::Range;

use memchr::memmem::Finder;
use object::{
    Endianness, elf, pod,
    read::elf::{SectionHeader as _, Sym as _},
};

use crate::{Error, elf::source::Source};

/// They were renamed when Go's calls began to use registers (1.17).
const TOP_FRAMES: [&[u8]; 6] = [
    b"\0runtime.goexit\0",
    b"\0runtime.goexit.abi0\0",
    b"\0runtime.mstart\0",
    b"\0runtime.mstart.abi0\0",
    b"\0runtime.rt0_go\0",
    b"\0runtime.rt0_go.abi0\0",
];
/// How many symbols are read at a time.
const AT_ONCE: u64 = 1 << 12;

type SectionHeader = elf::SectionHeader64<Endianness>;
type Symbol = elf::Sym64<Endianness>;

/// The addresses of these functions, by the symbol table if there is one.
///
/// # Errors
/// When the table lies beyond the file or is over the limit.
pub(super) fn top_frames(
    source: &Source<'_>,
    endian: Endianness,
    sections: &[SectionHeader],
) -> Result<Vec<Range<u64>>, Error> {
    const WHAT: &str = "the section .symtab";
    let is_table = |section: &&SectionHeader| section.sh_type(endian) == elf::SHT_SYMTAB;
    let Some(table) = sections.iter().find(is_table) else {
        return Ok(Vec::new());
    };
    let names = sections.get(table.sh_link(endian) as usize);
    let (Some((start, length)), Some((names_at, names_length))) = (
        table.file_range(endian),
        names.and_then(|names| names.file_range(endian)),
    ) else {
        return Ok(Vec::new());
    };
    let wanted = wanted(&source.read("the symbols' string table", names_at, names_length)?);
    source.check(WHAT, start, length)?;
    let size = size_of::<Symbol>() as u64;
    let mut found = Vec::new();
    let mut read = 0;
    while read < length / size && !wanted.is_empty() {
        let count = AT_ONCE.min(length / size - read);
        let bytes = source.read(WHAT, start + read * size, count * size)?;
        let symbols: &[Symbol] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
        for symbol in symbols {
            if wanted.contains(&symbol.st_name(endian)) && found.len() < TOP_FRAMES.len() {
                let address = symbol.st_value(endian);
                found.push(address..address.saturating_add(symbol.st_size(endian)));
            }
        }
        read += count;
    }
    Ok(found)
}

/// Where the names are in the string table.
fn wanted(names: &[u8]) -> Vec<u32> {
    TOP_FRAMES
        .iter()
        .filter_map(|name| Finder::new(name).find(names))
        .filter_map(|at| u32::try_from(at + 1).ok())
        .collect()
}

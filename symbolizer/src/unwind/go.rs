//! Functions of Go's runtime that its `.debug_frame` describes wrongly: those that have no caller, and those that are on another stack than it says.

use std::ops::Range;

use memchr::memmem::Finder;
use object::{
    Endianness, elf, pod,
    read::elf::{SectionHeader as _, Sym as _},
};

use crate::{Error, elf::source::Source};

/// What is to be known of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// Go marks the functions at the bottom of its stacks for its own unwinder (`TOPFRAME` in runtime/asm_amd64.s), but not in `.debug_frame`: by that their
    /// return address is whatever the stack holds there.
    TopFrame,
    /// It goes over to the scheduler's stack for good: what it calls never returns.
    Leaves,
    /// It calls the vDSO on the thread's stack, and comes back (runtime/sys_linux_amd64.s).
    Moves,
}

use Special::{Leaves, Moves, TopFrame};

/// They were renamed when Go's calls began to use registers (1.17).
const NAMES: [(&[u8], Special); 13] = [
    (b"\0runtime.goexit\0", TopFrame),
    (b"\0runtime.goexit.abi0\0", TopFrame),
    (b"\0runtime.mstart\0", TopFrame),
    (b"\0runtime.mstart.abi0\0", TopFrame),
    (b"\0runtime.rt0_go\0", TopFrame),
    (b"\0runtime.rt0_go.abi0\0", TopFrame),
    (b"\0runtime.mcall\0", Leaves),
    (b"\0runtime.nanotime1\0", Moves),
    (b"\0runtime.nanotime1.abi0\0", Moves),
    (b"\0runtime.walltime\0", Moves),
    (b"\0runtime.walltime.abi0\0", Moves),
    (b"\0time.now\0", Moves),
    (b"\0time.now.abi0\0", Moves),
];
/// How many symbols are read at a time.
const AT_ONCE: u64 = 1 << 12;

type SectionHeader = elf::SectionHeader64<Endianness>;
type Symbol = elf::Sym64<Endianness>;

/// The addresses of these functions, by the symbol table if there is one.
///
/// # Errors
/// When the table lies beyond the file or is over the limit.
pub(super) fn special(
    source: &Source<'_>,
    endian: Endianness,
    sections: &[SectionHeader],
) -> Result<Vec<(Range<u64>, Special)>, Error> {
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
            let name = symbol.st_name(endian);
            let is_wanted = wanted.iter().find(|(wanted, _)| *wanted == name);
            if let Some(&(_, special)) = is_wanted
                && found.len() < NAMES.len()
            {
                let address = symbol.st_value(endian);
                let end = address.saturating_add(symbol.st_size(endian));
                found.push((address..end, special));
            }
        }
        read += count;
    }
    Ok(found)
}

/// Where the names are in the string table.
fn wanted(names: &[u8]) -> Vec<(u32, Special)> {
    NAMES
        .iter()
        .filter_map(|(name, special)| {
            let at = Finder::new(name).find(names)?;
            Some((u32::try_from(at + 1).ok()?, *special))
        })
        .collect()
}

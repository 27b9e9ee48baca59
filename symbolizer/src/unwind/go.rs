//! Functions of Go's runtime that its `.debug_frame` describes wrongly: those that have no caller, and those that are on another stack than it says.

use std::ops::{ControlFlow, Range};

use memchr::memmem::Finder;
use object::{Endianness, elf, read::elf::Sym as _};

use super::symbols::{SectionHeader, SymbolTable, addresses};
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

/// The addresses of these functions, by the symbol table if there is one.
///
/// # Errors
/// When the table lies beyond the file or is over the limit.
pub(super) fn special(
    source: &Source<'_>,
    endian: Endianness,
    sections: &[SectionHeader],
) -> Result<Vec<(Range<u64>, Special)>, Error> {
    let Some(table) = SymbolTable::find(sections, endian, elf::SHT_SYMTAB) else {
        return Ok(Vec::new());
    };
    let (names_at, names_length) = table.names;
    let wanted = wanted(&source.read("the symbols' string table", names_at, names_length)?);
    let mut found = Vec::new();
    table.each(source, "the section .symtab", |symbol| {
        if wanted.is_empty() {
            return ControlFlow::Break(());
        }
        let name = symbol.st_name(endian);
        let is_wanted = wanted.iter().find(|(wanted, _)| *wanted == name);
        if let Some(&(_, special)) = is_wanted
            && found.len() < NAMES.len()
        {
            found.push((addresses(symbol, endian), special));
        }
        ControlFlow::Continue(())
    })?;
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

//! V8's builtins: functions that its own compiler made when V8 was built, from the bytecode interpreter's handlers to the way from C++ into
//! JavaScript. They lie in the text of node and of what embeds V8 and keep frame pointers, but no table describes them
//! (src/snapshot/embedded/embedded-file-writer.cc writes them as data with symbols). Every stack of JavaScript leads through some of them.

use std::ops::{ControlFlow, Range};

use memchr::memmem::Finder;
use object::{Endianness, elf, read::elf::Sym as _};

use super::symbols::{SectionHeader, SymbolTable, addresses};
use crate::{Error, elf::source::Source};

/// How all their symbols begin, behind the end of the name before in a string table.
const PREFIX: &[u8] = b"\0Builtins_";
/// More than any V8 has: one of 2023 has 2,182.
const MAX_BUILTINS: usize = 1 << 14;
/// How far they lie apart where they are neighbours (`kCodeAlignment` in src/common/globals.h).
const APART: u64 = 64;
/// How much of a string table is read at a time.
const NAMES_AT_ONCE: u64 = 1 << 18;

/// Where they lie, by address, as far as a symbol table tells: mostly one range.
///
/// # Errors
/// When a table lies beyond the file.
pub(super) fn builtins(
    source: &Source<'_>,
    endian: Endianness,
    sections: &[SectionHeader],
) -> Result<Vec<Range<u64>>, Error> {
    let mut found = Vec::new();
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let Some(table) = SymbolTable::find(sections, endian, kind) else {
            continue;
        };
        let names = names_in(source, table.names)?;
        if names.is_empty() {
            continue;
        }
        table.each(source, "a symbol table", |symbol| {
            if found.len() == MAX_BUILTINS {
                return ControlFlow::Break(());
            }
            let is_builtin = symbol.st_type() == elf::STT_FUNC
                && names.binary_search(&symbol.st_name(endian)).is_ok();
            if is_builtin {
                found.push(addresses(symbol, endian));
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(joined(found))
}

/// Where names of builtins begin in a string table, given by its offset and size, in order.
fn names_in(source: &Source<'_>, (offset, size): (u64, u64)) -> Result<Vec<u32>, Error> {
    const WHAT: &str = "a string table";
    source.check(WHAT, offset, size)?;
    let finder = Finder::new(PREFIX);
    let overlap = PREFIX.len() as u64 - 1;
    let mut names = Vec::new();
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < size && names.len() < MAX_BUILTINS {
        let length = (size - at).min(NAMES_AT_ONCE + overlap);
        source.read_into(&mut buffer, WHAT, offset + at, length as usize)?;
        let starts = finder.find_iter(&buffer).map(|into| at + into as u64 + 1);
        names.extend(starts.filter_map(|start| u32::try_from(start).ok()));
        at += NAMES_AT_ONCE;
    }
    names.truncate(MAX_BUILTINS);
    Ok(names)
}

/// In the order of addresses, those that are neighbours in one.
fn joined(mut functions: Vec<Range<u64>>) -> Vec<Range<u64>> {
    functions.sort_unstable_by_key(|function| function.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for function in functions {
        match joined.last_mut() {
            Some(last) if function.start <= last.end.saturating_add(APART) => {
                last.end = last.end.max(function.end);
            }
            _ => joined.push(function),
        }
    }
    joined
}

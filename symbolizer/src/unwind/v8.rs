//! V8's builtins: functions that its own compiler made when V8 was built, from the bytecode interpreter's handlers to the way from C++ into
//! JavaScript. They lie in the text of node and of what embeds V8 and keep frame pointers, but no table describes them
//! (src/snapshot/embedded/embedded-file-writer.cc writes them as data with symbols). Every stack of JavaScript leads through some of them.

use std::ops::Range;

use memchr::memmem::Finder;
use object::{
    Endianness, elf, pod,
    read::elf::{SectionHeader as _, Sym as _},
};

use crate::{Error, elf::source::Source};

/// How all their symbols begin, behind the end of the name before in a string table.
const PREFIX: &[u8] = b"\0Builtins_";
/// More than any V8 has: one of 2023 has 2,182.
const MAX_BUILTINS: usize = 1 << 14;
/// How far they lie apart where they are neighbours (`kCodeAlignment` in src/common/globals.h).
const APART: u64 = 64;
/// How much of a string table, and how many symbols, are read at a time.
const NAMES_AT_ONCE: u64 = 1 << 18;
const SYMBOLS_AT_ONCE: u64 = 1 << 12;

type SectionHeader = elf::SectionHeader64<Endianness>;
type Symbol = elf::Sym64<Endianness>;

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
    // A file has one of each.
    for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
        let is_kind = |section: &&SectionHeader| section.sh_type(endian) == kind;
        let Some(table) = sections.iter().find(is_kind) else {
            continue;
        };
        let names = sections.get(table.sh_link(endian) as usize);
        if let (Some(symbols), Some(names)) = (
            table.file_range(endian),
            names.and_then(|names| names.file_range(endian)),
        ) {
            let names = names_in(source, names)?;
            if !names.is_empty() {
                functions(source, endian, symbols, &names, &mut found)?;
            }
        }
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

/// The addresses of the functions of these names, in the order of the symbol table.
fn functions(
    source: &Source<'_>,
    endian: Endianness,
    (offset, length): (u64, u64),
    names: &[u32],
    into: &mut Vec<Range<u64>>,
) -> Result<(), Error> {
    const WHAT: &str = "a symbol table";
    source.check(WHAT, offset, length)?;
    let size = size_of::<Symbol>() as u64;
    let count = length / size;
    let mut buffer = Vec::new();
    let mut read = 0;
    while read < count {
        let now = SYMBOLS_AT_ONCE.min(count - read);
        source.read_into(
            &mut buffer,
            WHAT,
            offset + read * size,
            (now * size) as usize,
        )?;
        let symbols: &[Symbol] = pod::slice_from_all_bytes(&buffer).unwrap_or_default();
        for symbol in symbols {
            if into.len() == MAX_BUILTINS {
                return Ok(());
            }
            let is_builtin = symbol.st_type() == elf::STT_FUNC
                && names.binary_search(&symbol.st_name(endian)).is_ok();
            if is_builtin {
                let start = symbol.st_value(endian);
                into.push(start..start.saturating_add(symbol.st_size(endian)));
            }
        }
        read += now;
    }
    Ok(())
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

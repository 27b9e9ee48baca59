//! The table of functions that Go's runtime keeps for tracebacks, and that stays in a stripped program.
//!
//! Format: `runtime/symtab.go` (`pcHeader`, `functab`, `moduledata`) and `runtime/runtime2.go` (`_func`) of Go 1.18 to 1.27. It begins with a header:
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic: 0xfffffff0 (1.18, 1.19) or 0xfffffff1 (from 1.20 on), `u32`; 2 bytes of zeros; size of the smallest instruction; size of a pointer |
//! | 8 | number of functions |
//! | 24 | address of the code that offsets start from; nothing from 1.26 on |
//! | 32, 40 | where the names start, and where what comes behind them does |
//! | 64 | where the functions start |
//!
//! At "the functions" is a list of pairs of `u32`, by address: the offset of a function in the code, and of its description from the start of the list; a last offset says where the code
//! ends. A description begins with the same offset, and then that of the name.

use std::{collections::HashMap, ops::Range};

use memchr::memmem;
use object::{Endianness, elf};

use super::{Why, forward::Forward, image::Image};

pub(super) const WHAT: &str = "the table of Go functions";

/// Of Go 1.18, and of 1.20 and later.
pub(super) const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
/// Of Go 1.2 and of 1.16, whose tables differ.
const OLD_MAGICS: [u32; 2] = [0xffff_fffb, 0xffff_fffa];

const HEADER: u64 = 72;
/// More functions than any program has: the largest known have a million.
const MAX_FUNCTIONS: u64 = 16 << 20;
/// A name that occurs more often than this in a table is no linker's.
const MAX_PLACES: usize = 64;

/// Of the address of the code, in the header.
const HEADER_TEXT: u64 = 24;
/// Of the address of the names and of that of the code in `runtime.moduledata`, which begins with the table's.
const MODULE_NAMES: u64 = 8;
const MODULE_TEXT: u64 = 176;
/// So many places that hold the table's address are looked at: a real program has one.
const MAX_MODULES: usize = 16;

/// A table's header, with file offsets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    start: u64,
    names: Range<u64>,
    functions: Range<u64>,
    count: u64,
    /// Where offsets start from, if the header knows.
    text: u64,
}

/// A function with one of the names that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which name.
    pub(super) wanted: usize,
    /// Its first byte, and the one behind its last (padding included), from the start of the code.
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Table {
    /// The table that a part of the file begins with.
    pub(super) fn at(image: &Image<'_>, range: Range<u64>) -> Result<Self, Why> {
        let head = image.read(WHAT, range.start, HEADER)?;
        let (words, _) = head.as_chunks::<8>();
        let word = |place: usize| words.get(place).map_or(0, |&word| u64::from_le_bytes(word));
        let magic = word(0) & 0xffff_ffff;
        if OLD_MAGICS.iter().any(|&old| u64::from(old) == magic) {
            return Err(Why::Unsupported("a program by Go 1.17 or earlier"));
        }
        let known = MAGICS.iter().any(|&known| u64::from(known) == magic);
        if !known || head.get(7) != Some(&8) {
            return Err(Why::malformed(WHAT, format!("unknown magic {magic:#x}")));
        }
        let within = |offset: u64| {
            range
                .start
                .checked_add(offset)
                .filter(|at| (range.start + HEADER..=range.end).contains(at))
                .ok_or_else(|| Why::malformed(WHAT, format!("a part at {offset:#x}")))
        };
        let names = within(word(4))?..within(word(5))?;
        let functions = within(word(8))?..range.end;
        let count = word(1);
        let size = functions.end - functions.start;
        if count == 0 || count > MAX_FUNCTIONS || 8 * count + 4 > size || names.is_empty() {
            return Err(Why::malformed(
                WHAT,
                format!("{count} functions in {size} bytes"),
            ));
        }
        Ok(Self {
            start: range.start,
            names,
            functions,
            count,
            text: word(3),
        })
    }

    /// The functions of the names that were asked for, all of which begin with `stem`.
    pub(super) fn functions(
        &self,
        image: &Image<'_>,
        stems: &[&str],
        names: &[&str],
    ) -> Result<Vec<Found>, Why> {
        let places = self.places(image, stems, names)?;
        let mut found = Vec::new();
        if places.is_empty() {
            return Ok(found);
        }
        let mut list = Forward::new(image, WHAT, self.functions.clone());
        let mut descriptions = Forward::new(image, WHAT, self.functions.clone());
        let mut start = u64::from(list.u32(0)?);
        let mut before = 0;
        for place in 0..self.count {
            let description = u64::from(list.u32(8 * place + 4)?);
            let end = u64::from(list.u32(8 * place + 8)?);
            if end < start || description < before {
                return Err(Why::malformed(WHAT, "functions that are not in order"));
            }
            let name = u64::from(descriptions.u32(description + 4)?);
            if let Some(&(_, wanted)) = places.iter().find(|&&(place, _)| place == name) {
                found.push(Found { wanted, start, end });
                if found.len() > MAX_PLACES {
                    return Err(Why::malformed(WHAT, "it repeats functions"));
                }
            }
            start = end;
            before = description;
        }
        Ok(found)
    }

    /// Where among the names the wanted ones are.
    fn places(
        &self,
        image: &Image<'_>,
        stems: &[&str],
        names: &[&str],
    ) -> Result<Vec<(u64, usize)>, Why> {
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let finders: Vec<_> = stems.iter().map(memmem::Finder::new).collect();
        let mut places = Vec::new();
        // With the byte before a name and the one behind it.
        let overlap = longest + 2;
        image.scan(WHAT, &self.names, overlap, |offset, bytes| {
            for at in finders.iter().flat_map(|finder| finder.find_iter(bytes)) {
                let starts = match at.checked_sub(1) {
                    Some(before) => bytes[before] == 0,
                    // But for the very first, it is in the window before, too.
                    None => offset == self.names.start,
                };
                let wanted = names.iter().position(|name| {
                    let rest = bytes[at..].strip_prefix(name.as_bytes());
                    rest.is_some_and(|rest| rest.first() == Some(&0))
                });
                if let (true, Some(wanted)) = (starts, wanted) {
                    places.push((offset - self.names.start + at as u64, wanted));
                }
            }
            places.len() > MAX_PLACES
        })?;
        if places.len() > MAX_PLACES {
            return Err(Why::malformed(WHAT, "it repeats names"));
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// The address of the code that offsets start from.
    ///
    /// Up to 1.25 it is in the header: as a number, or, where a program may be loaded anywhere, perhaps only as a relocation. The runtime's own description of
    /// the module (`runtime.moduledata`) has it in all versions.
    pub(super) fn text(&self, image: &Image<'_>) -> Result<u64, Why> {
        // A library's code may well hold the address 0; what is there is its ELF header.
        let is_code = |&address: &u64| address != 0 && image.offset_of(address, true).is_some();
        if is_code(&self.text) {
            return Ok(self.text);
        }
        let here = image
            .address_of(self.start)
            .ok_or_else(|| Why::malformed(WHAT, "it is not loaded"))?;
        let names = here.wrapping_add(self.names.start - self.start);
        let mut header = None;
        let mut modules = pointers(image, here)?;
        relocations(image, |place, target| {
            if place == here.wrapping_add(HEADER_TEXT) {
                header = Some(target);
            }
            if target == here && modules.len() < MAX_MODULES {
                modules.push(place);
            }
        })?;
        if let Some(text) = header.filter(is_code) {
            return Ok(text);
        }
        let fields = modules
            .iter()
            .flat_map(|module| [MODULE_NAMES, MODULE_TEXT].map(|field| module.wrapping_add(field)));
        let mut values: HashMap<u64, u64> = fields
            .filter_map(|place| Some((place, pointer(image, place)?)))
            .collect();
        relocations(image, |place, target| {
            if let Some(value) = values.get_mut(&place) {
                *value = target;
            }
        })?;
        let value = |module: u64, field| values.get(&module.wrapping_add(field)).copied();
        let mut texts = modules
            .iter()
            .filter(|&&module| value(module, MODULE_NAMES) == Some(names))
            .filter_map(|&module| value(module, MODULE_TEXT).filter(is_code));
        texts
            .next()
            .ok_or_else(|| Why::malformed(WHAT, "nothing says where its code starts"))
    }
}

/// The number at an address, as it is in the file.
fn pointer(image: &Image<'_>, address: u64) -> Option<u64> {
    let offset = image.offset_of(address, false)?;
    let bytes = image.read(WHAT, offset, 8).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The addresses in the data at which the address `to` is, at most a few.
fn pointers(image: &Image<'_>, to: u64) -> Result<Vec<u64>, Why> {
    let mut found = Vec::new();
    let needle = to.to_le_bytes();
    let finder = memmem::Finder::new(&needle);
    let data = image.segments.iter().filter(|segment| segment.writable);
    for segment in data {
        image.scan("the data", &segment.file, 8, |offset, bytes| {
            let places = finder.find_iter(bytes).map(|at| offset + at as u64);
            found.extend(places.filter_map(|at| image.address_of(at)));
            found.len() > MAX_MODULES
        })?;
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_MODULES / 2);
    Ok(found)
}

/// Shows each relocation that puts an address into the data, as the place and the address.
fn relocations(image: &Image<'_>, mut see: impl FnMut(u64, u64)) -> Result<(), Why> {
    const ENTRY: usize = size_of::<elf::Rela64<Endianness>>();
    let wanted = match image.machine {
        elf::EM_X86_64 => elf::R_X86_64_RELATIVE,
        elf::EM_AARCH64 => elf::R_AARCH64_RELATIVE,
        _ => return Ok(()),
    };
    let tables = image
        .sections
        .iter()
        .filter(|section| section.kind == elf::SHT_RELA);
    for table in tables {
        let mut entries = Forward::new(image, "the relocations", table.file.clone());
        let count = (table.file.end - table.file.start) / ENTRY as u64;
        for place in 0..count {
            let entry: [u8; ENTRY] = entries.array(place * ENTRY as u64)?;
            let (words, _) = entry.as_chunks::<8>();
            if let &[offset, info, addend] = words
                && u64::from_le_bytes(info) & 0xffff_ffff == u64::from(wanted)
            {
                see(u64::from_le_bytes(offset), u64::from_le_bytes(addend));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Looking up a handful of names in a symbol table, however large, in two passes and constant memory: one over the names for where the wanted ones are,
//! one over the symbols for those that point there.

use memchr::memmem;
use object::{Endianness, elf, pod, read::elf::Sym as _};

use super::{
    Why,
    image::{Image, Section},
};

/// At most so many places of the names can be a wanted one's: a hostile file may repeat it.
const MAX_PLACES: usize = 256;

/// A function that a table of symbols names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Which of the wanted names it has.
    pub(super) wanted: usize,
    pub(super) address: u64,
    pub(super) size: u64,
}

/// Which table: what dynamic linking needs, or what debuggers like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Dynamic,
    Full,
}

impl Table {
    const fn kind(self) -> u32 {
        match self {
            Self::Dynamic => elf::SHT_DYNSYM,
            Self::Full => elf::SHT_SYMTAB,
        }
    }

    const fn part(self) -> &'static str {
        match self {
            Self::Dynamic => "the section .dynsym",
            Self::Full => "the section .symtab",
        }
    }

    const fn names_part(self) -> &'static str {
        match self {
            Self::Dynamic => "the section .dynstr",
            Self::Full => "the section .strtab",
        }
    }
}

/// The defined functions of a table that have one of `names`; each of these begins with one of `stems`.
pub(super) fn find(
    image: &Image<'_>,
    table: Table,
    stems: &[&str],
    names: &[&str],
) -> Result<Vec<Symbol>, Why> {
    let mut found = Vec::new();
    // A file has one table of a kind.
    let mut sections = image.sections.iter();
    let Some(section) = sections.find(|section| section.kind == table.kind()) else {
        return Ok(found);
    };
    let strings = image
        .sections
        .get(section.link)
        .filter(|strings| strings.kind == elf::SHT_STRTAB)
        .ok_or_else(|| Why::malformed(table.part(), "it names no string table"))?;
    let places = places(image, table, strings, stems, names)?;
    if !places.is_empty() {
        symbols(image, table, section, &places, &mut found)?;
    }
    Ok(found)
}

/// Where in the string table each wanted name is, in order of place. A linker may keep a name as the tail of a longer one, so what comes before it
/// does not matter.
fn places(
    image: &Image<'_>,
    table: Table,
    strings: &Section,
    stems: &[&str],
    names: &[&str],
) -> Result<Vec<(u32, usize)>, Why> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0) + 1;
    let stems: Vec<_> = stems.iter().map(memmem::Finder::new).collect();
    let mut places = Vec::new();
    image.scan(
        table.names_part(),
        &strings.file,
        longest,
        |offset, bytes| {
            for stem in &stems {
                for at in stem.find_iter(bytes) {
                    let name = &bytes[at..];
                    let Some(end) = memchr::memchr(0, &name[..name.len().min(longest)]) else {
                        continue;
                    };
                    let wanted = names
                        .iter()
                        .position(|wanted| wanted.as_bytes() == &name[..end]);
                    let place = u32::try_from(offset - strings.file.start + at as u64).ok();
                    places.extend(place.zip(wanted));
                }
            }
            places.len() > MAX_PLACES
        },
    )?;
    if places.len() > MAX_PLACES {
        return Err(Why::malformed(
            table.names_part(),
            "it repeats a name more often than a linker would",
        ));
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

fn symbols(
    image: &Image<'_>,
    table: Table,
    section: &Section,
    places: &[(u32, usize)],
    found: &mut Vec<Symbol>,
) -> Result<(), Why> {
    type Entry = elf::Sym64<Endianness>;
    let endian = Endianness::Little;
    let entry = size_of::<Entry>() as u64;
    let end = section.file.end - (section.file.end - section.file.start) % entry;
    let range = section.file.start..end;
    // With an overlap of one byte less than an entry, the entry that a window cuts through is whole in the next one, and none is in both.
    let overlap = size_of::<Entry>() - 1;
    image.scan(table.part(), &range, overlap, |offset, bytes| {
        let lead = (entry - (offset - range.start) % entry) % entry;
        let bytes = bytes
            .get(usize::try_from(lead).unwrap_or(0)..)
            .unwrap_or_default();
        let count = bytes.len() / size_of::<Entry>();
        let (entries, _) = pod::slice_from_bytes::<Entry>(bytes, count).unwrap_or_default();
        for symbol in entries {
            let name = symbol.st_name(endian);
            let Ok(place) = places.binary_search_by_key(&name, |&(place, _)| place) else {
                continue;
            };
            let is_function = symbol.st_type() == elf::STT_FUNC;
            if is_function && !symbol.is_undefined(endian) && symbol.st_value(endian) != 0 {
                found.push(Symbol {
                    wanted: places[place].1,
                    address: symbol.st_value(endian),
                    size: symbol.st_size(endian),
                });
            }
        }
        found.len() > MAX_PLACES
    })
}

//! A compact table of functions: 13 bytes for each, and no name.

use std::ops::Range;

/// Functions by address. What an entry's name is, is told by a number that the table's maker gave it.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Addresses of 64 bits in entries of 32: the functions of each 4 GiB stand together.
    regions: Box<[Region]>,
    lows: Box<[u32]>,
    sizes_and_names: Box<[(u32, u32)]>,
    /// For each entry where its source file's name is, or 0; empty where no entry has one.
    files: Box<[u32]>,
}

/// The functions of 4 GiB of addresses.
#[derive(Debug)]
struct Region {
    high: u32,
    first: u32,
    /// The first entry of each part of 2^`shift` addresses from the first function's on, and the end of the last. A search in all
    /// entries would miss the processor's caches at each of its steps.
    parts: Box<[u32]>,
    shift: u32,
}

/// What the table knows of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) addresses: Range<u64>,
    /// The number of its name.
    pub(crate) name: u32,
    /// The number of its source file's name; 0 for none.
    pub(crate) file: u32,
}

/// One function before the table is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    /// 0 where it is not known.
    pub(crate) size: u32,
    pub(crate) name: u32,
    pub(crate) file: u32,
}

/// How many functions before an address are asked whether they hold it: functions nest when a compiler
/// splits one or when a label inside one has a size of its own.
const NESTING: usize = 8;

impl Table {
    /// Makes a table of entries in any order. Of several at one address that of the greatest size counts, and of those the
    /// last, as llvm-symbolizer has it. An entry without size reaches to the next one or to the end of the range of `code` that it
    /// begins in. `code` is in the order of addresses.
    pub(crate) fn new(entries: Vec<Entry>, code: &[Range<u64>]) -> Self {
        let mut entries = sorted(entries);
        // Offsets below are of 32 bits.
        entries.truncate(u32::MAX as usize);
        let lows: Box<[u32]> = entries.iter().map(|entry| entry.address as u32).collect();
        let mut regions = Vec::new();
        let mut first = 0;
        for same in entries.chunk_by(|a, b| a.address >> 32 == b.address >> 32) {
            let end = first + same.len();
            let high = (same[0].address >> 32) as u32;
            regions.push(Region::new(high, first, &lows[first..end]));
            first = end;
        }
        let has_files = entries.iter().any(|entry| entry.file != 0);
        let files = entries.iter().map(|entry| entry.file);
        Self {
            regions: regions.into(),
            lows,
            sizes_and_names: sizes(&entries, code)
                .zip(entries.iter().map(|entry| entry.name))
                .collect(),
            files: if has_files {
                files.collect()
            } else {
                Box::default()
            },
        }
    }

    /// The function that holds an address.
    pub(crate) fn find(&self, address: u64) -> Option<Function> {
        let (high, low) = ((address >> 32) as u32, address as u32);
        let behind = self.regions.partition_point(|region| region.high <= high);
        let mut region = behind.checked_sub(1)?;
        let after = if self.regions[region].high == high {
            self.regions[region].behind(low, &self.lows)
        } else {
            let end = self.regions.get(behind).map(|next| next.first as usize);
            end.unwrap_or(self.lows.len())
        };
        for index in (after.saturating_sub(NESTING)..after).rev() {
            if index < self.regions[region].first as usize {
                region -= 1;
            }
            let start = u64::from(self.regions[region].high) << 32 | u64::from(self.lows[index]);
            let (size, name) = self.sizes_and_names[index];
            let size = u64::from(size);
            if address - start < size {
                return Some(Function {
                    addresses: start..start.saturating_add(size),
                    name,
                    file: self.files.get(index).copied().unwrap_or(0),
                });
            }
        }
        None
    }

    /// Where the function begins whose name has a number; of several the first.
    pub(crate) fn address_of(&self, name: u32) -> Option<u64> {
        let mut names = self.names();
        let index = names.position(|other| other == name)?;
        let behind = self
            .regions
            .partition_point(|region| region.first as usize <= index);
        let high = self.regions[behind.checked_sub(1)?].high;
        Some(u64::from(high) << 32 | u64::from(self.lows[index]))
    }

    /// The numbers of all names.
    pub(crate) fn names(&self) -> impl Iterator<Item = u32> {
        self.sizes_and_names.iter().map(|&(_, name)| name)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self
            .regions
            .iter()
            .map(|region| size_of_val(&*region.parts));
        size_of_val(&*self.regions)
            + parts.sum::<usize>()
            + size_of_val(&*self.lows)
            + size_of_val(&*self.sizes_and_names)
            + size_of_val(&*self.files)
    }

    /// How many functions there are.
    pub(crate) fn len(&self) -> usize {
        self.lows.len()
    }
}

impl Region {
    /// Of entries from `first` on, whose addresses are in order.
    fn new(high: u32, first: usize, lows: &[u32]) -> Self {
        let span = match lows {
            [start, .., end] => end - start,
            _ => 0,
        };
        // A fourth as many parts as functions.
        let most = (lows.len() / 4).max(1);
        let shift = (0..u32::BITS).find(|&shift| ((span >> shift) as usize) < most);
        let shift = shift.unwrap_or(u32::BITS - 1);
        let mut parts = Vec::with_capacity((span >> shift) as usize + 2);
        for (index, low) in (first as u32..).zip(lows) {
            let part = (low - lows[0]) >> shift;
            while parts.len() <= part as usize {
                parts.push(index);
            }
        }
        parts.push((first + lows.len()) as u32);
        Self {
            high,
            first: first as u32,
            parts: parts.into(),
            shift,
        }
    }

    /// The first entry that begins behind an address; `lows` are those of the whole table.
    fn behind(&self, low: u32, lows: &[u32]) -> usize {
        let first = self.first as usize;
        let Some(into) = lows.get(first).and_then(|&start| low.checked_sub(start)) else {
            return first;
        };
        let last = self.parts.len().saturating_sub(2);
        let part = ((into >> self.shift) as usize).min(last);
        let (start, end) = (self.parts[part] as usize, self.parts[part + 1] as usize);
        start + lows[start..end].partition_point(|&entry| entry <= low)
    }
}

/// By address, each address once.
fn sorted(entries: Vec<Entry>) -> Vec<Entry> {
    let first = entries.iter().map(|entry| entry.address).min().unwrap_or(0);
    let is_near = |entry: &Entry| u32::try_from(entry.address - first).is_ok();
    if u32::try_from(entries.len()).is_err() || !entries.iter().all(is_near) {
        let mut entries = entries;
        entries.sort_by_key(|entry| (entry.address, entry.size));
        return last_of_each(entries.into_iter());
    }
    // Numbers of 64 bits are sorted in half the time: the place in the list makes each another.
    let mut keys: Vec<u64> = (0_u64..)
        .zip(&entries)
        .map(|(index, entry)| (entry.address - first) << 32 | index)
        .collect();
    keys.sort_unstable();
    let in_order = keys
        .iter()
        .map(|&key| entries[(key & 0xffff_ffff) as usize]);
    last_of_each(in_order)
}

/// Of those with one address, which stand together, that of the greatest size, and of those the last.
fn last_of_each(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.size_hint().0);
    for entry in entries {
        match kept.last_mut() {
            Some(last) if last.address == entry.address => {
                if entry.size >= last.size {
                    *last = entry;
                }
            }
            _ => kept.push(entry),
        }
    }
    kept
}

/// The size of each entry, where it has none what is up to the next or to the end of its section.
fn sizes(entries: &[Entry], code: &[Range<u64>]) -> impl Iterator<Item = u32> {
    let size = move |(index, entry): (usize, &Entry)| {
        if entry.size != 0 {
            return entry.size;
        }
        let section = code.partition_point(|range| range.start <= entry.address);
        let section = section.checked_sub(1).map(|section| code[section].end);
        let section = section.filter(|&end| end > entry.address);
        let next = entries.get(index + 1).map(|next| next.address);
        let end = match (section, next) {
            (Some(section), Some(next)) => section.min(next),
            (Some(end), None) | (None, Some(end)) => end,
            (None, None) => entry.address.saturating_add(1),
        };
        u32::try_from(end - entry.address).unwrap_or(u32::MAX)
    };
    entries.iter().enumerate().map(size)
}

#[cfg(test)]
mod tests;

//! A compact, sorted table of functions: 16 bytes for each, and its name once.

use std::borrow::Cow;

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name as the table has it, still mangled.
    pub name: Cow<'a, str>,
    /// Its first address.
    pub address: u64,
    /// Its size in bytes; 0 where the table does not say.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    address: u64,
    size: u32,
    /// Where the name starts in `names`; it ends with a zero byte.
    name: u32,
}

/// Functions by address.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Box<[Entry]>,
    names: Box<[u8]>,
}

/// How many functions before an address are asked whether they hold it: functions nest when a compiler
/// splits one or when a label inside one has a size of its own.
const NESTING: usize = 8;

impl Table {
    /// The function that holds an address.
    pub(crate) fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self
            .entries
            .partition_point(|entry| entry.address <= address);
        let nearest = after.checked_sub(1)?;
        // A function of unknown size reaches to the next one.
        if self.entries[nearest].size == 0 {
            return Some(self.symbol(&self.entries[nearest]));
        }
        self.entries[..after]
            .iter()
            .rev()
            .take(NESTING)
            .find(|entry| address - entry.address < u64::from(entry.size))
            .map(|entry| self.symbol(entry))
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + self.names.len()
    }

    /// How many functions there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn symbol(&self, entry: &Entry) -> Symbol<'_> {
        let name = self.names.get(entry.name as usize..).unwrap_or_default();
        let end = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        Symbol {
            name: String::from_utf8_lossy(&name[..end]),
            address: entry.address,
            size: u64::from(entry.size),
        }
    }
}

/// Collects functions in any order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// With each entry its rank: of several names for one address the highest is kept.
    entries: Vec<(Entry, u8)>,
    names: Vec<u8>,
}

impl Builder {
    /// Adds a function. Names beyond the first 4 GiB in all are left out.
    pub(crate) fn push(&mut self, address: u64, size: u64, name: &[u8], rank: u8) {
        let Ok(at) = u32::try_from(self.names.len()) else {
            return;
        };
        self.names.extend_from_slice(name);
        self.names.push(0);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let entry = Entry {
            address,
            size,
            name: at,
        };
        self.entries.push((entry, rank));
    }

    /// Bytes held so far.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len() * size_of::<(Entry, u8)>() + self.names.len()
    }

    /// Sorts, and keeps one name for each address.
    pub(crate) fn finish(mut self) -> Table {
        self.entries
            .sort_by_key(|(entry, rank)| (entry.address, std::cmp::Reverse((*rank, entry.size))));
        self.entries.dedup_by_key(|(entry, _)| entry.address);
        Table {
            entries: self.entries.into_iter().map(|(entry, _)| entry).collect(),
            names: self.names.into(),
        }
    }
}

#[cfg(test)]
mod tests;

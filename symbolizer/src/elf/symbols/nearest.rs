//! The function at one address, of functions in any order: what a [`Table`](crate::table::Table) of them would say.

use std::ops::Range;

use crate::table::{Entry, Function};

/// What was found so far.
#[derive(Debug)]
pub(super) struct Nearest {
    address: u64,
    /// The last to begin at or before the address.
    before: Option<Entry>,
    /// Of those that hold it the last to begin.
    inside: Option<Entry>,
    /// The first to begin behind it.
    next: u64,
    is_empty: bool,
}

impl Nearest {
    pub(super) fn new(address: u64) -> Self {
        Self {
            address,
            before: None,
            inside: None,
            next: u64::MAX,
            is_empty: true,
        }
    }

    /// Takes one in. There is always room for more.
    pub(super) fn take(&mut self, entry: Entry) -> bool {
        self.is_empty = false;
        let Some(into) = self.address.checked_sub(entry.address) else {
            self.next = self.next.min(entry.address);
            return true;
        };
        let counts = |known: &Option<Entry>| {
            known.is_none_or(|known| (entry.address, entry.size) >= (known.address, known.size))
        };
        if counts(&self.before) {
            self.before = Some(entry);
        }
        if into < u64::from(entry.size) && counts(&self.inside) {
            self.inside = Some(entry);
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The function; `code` has the ranges that one without size ends in.
    pub(super) fn function(&self, code: &[Range<u64>]) -> Option<Function> {
        let open = self.before.filter(|entry| entry.size == 0);
        let open = open.and_then(|entry| {
            let section = code.iter().find(|range| range.contains(&entry.address));
            let end = section.map_or(self.next, |section| section.end.min(self.next));
            (self.address < end && end < u64::MAX).then_some((entry, end))
        });
        let sized = self.inside.map(|entry| {
            let end = entry.address.saturating_add(u64::from(entry.size));
            (entry, end)
        });
        let (entry, end) = open.or(sized)?;
        Some(Function {
            addresses: entry.address..end,
            name: entry.name,
            file: entry.file,
        })
    }
}

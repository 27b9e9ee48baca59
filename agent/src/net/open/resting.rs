//! Connections at rest: nothing has moved on them for a while, and the kernel programs have forgotten them. What they make anew when something happens has another
//! id, and the same two ends.

use std::hash::{BuildHasher as _, RandomState};

use super::{Entry, Moved, Progress};
use crate::net::Ends;

/// Those at rest, at 33 bytes each: by a number that their two ends are folded into. That two pairs of ends have the same is as unlikely as one in 2^64, as nobody knows
/// the key.
#[derive(Debug, Default)]
pub(super) struct Resting {
    fold: RandomState,
    table: foldhash::HashMap<u64, Rest>,
}

/// What is kept of one.
#[derive(Clone, Copy, Debug)]
struct Rest {
    sent: u64,
    received: u64,
    retransmits: u32,
    /// The tag, and in the upper byte the number of the look that has found its socket last, 0 for none.
    tag_and_look: u32,
}

/// Bits of a tag.
const TAG_BITS: u32 = 24;

/// One that a look has not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    folded: u64,
    look: u8,
}

impl Resting {
    fn folded(&self, ends: &Ends) -> u64 {
        self.fold.hash_one(ends)
    }

    /// One goes to rest. Gives back one that had the same two ends.
    pub(super) fn insert(&mut self, ends: &Ends, entry: Entry) -> Option<Entry> {
        let folded = self.folded(ends);
        let replaced = self.table.insert(folded, Rest::of(entry))?;
        Some(replaced.entry())
    }

    /// Something happens on a connection, which is at rest no more if it was.
    pub(super) fn wake(&mut self, ends: &Ends) -> Option<Entry> {
        if self.table.is_empty() {
            return None;
        }
        let rest = self.table.remove(&self.folded(ends))?;
        self.shrink();
        Some(rest.entry())
    }

    pub(super) fn stands(&mut self, look: u8, ends: &Ends, moved: Moved) -> Option<Progress> {
        let folded = self.folded(ends);
        let rest = self.table.get_mut(&folded)?;
        let mut entry = rest.entry();
        let progress = entry.advance(moved);
        *rest = Rest::of(entry);
        rest.tag_and_look |= u32::from(look) << TAG_BITS;
        Some(progress)
    }

    pub(super) fn missing(&self, look: u8) -> Vec<Missing> {
        let missing = |(&folded, rest): (&u64, &Rest)| {
            let found = rest.look();
            (found != 0 && found != look).then_some(Missing {
                folded,
                look: found,
            })
        };
        self.table.iter().filter_map(missing).collect()
    }

    pub(super) fn lose(&mut self, missing: Missing) -> Option<u32> {
        // One that woke meanwhile and rests again was not seen by any look since.
        let is_same = self.table.get(&missing.folded)?.look() == missing.look;
        let lost = is_same.then(|| self.table.remove(&missing.folded))??;
        self.shrink();
        Some(lost.entry().tag)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn shrink(&mut self) {
        if self.table.capacity() > super::SMALL
            && self.table.len() < self.table.capacity() / super::SPARSE
        {
            self.table.shrink_to(self.table.len() * 2);
        }
    }
}

impl Rest {
    fn of(entry: Entry) -> Self {
        Self {
            sent: entry.sent,
            received: entry.received,
            retransmits: entry.retransmits,
            tag_and_look: entry.tag & ((1 << TAG_BITS) - 1),
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            sent: self.sent,
            received: self.received,
            retransmits: self.retransmits,
            tag: self.tag_and_look & ((1 << TAG_BITS) - 1),
        }
    }

    fn look(&self) -> u8 {
        (self.tag_and_look >> TAG_BITS) as u8
    }
}

#[cfg(test)]
mod tests;

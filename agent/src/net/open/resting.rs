//! Connections at rest: nothing has moved on them for a while, and the kernel programs have forgotten them. What they make anew when something happens has another
//! id, and the same two ends.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use super::{Entry, Moved, Progress, Tag, table::Table};
use crate::net::Ends;

/// Those at rest, at 41 bytes each: by a number that their two ends are folded into. That two pairs of ends have the same is as unlikely as one in 2^64, as nobody knows
/// the key.
#[derive(Debug, Default)]
pub(super) struct Resting {
    fold: RandomState,
    table: Table<u64, Rest>,
    /// The numbers of the look that has begun last, and of the one before; 0 before any.
    looks: [u8; 2],
}

/// What is kept of one.
#[derive(Clone, Copy, Debug)]
struct Rest {
    sent: u64,
    received: u64,
    retransmits: u32,
    /// The note is the number of the look that has found its socket last, or that had begun last when it went to rest.
    tag: Tag,
    netns: u32,
}

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
        let rest = Rest::of(entry, ends.netns(), self.looks[0]);
        let replaced = self.table.insert(folded, rest)?;
        Some(replaced.entry())
    }

    pub(super) fn look_begins(&mut self) {
        self.looks = [self.looks[0].checked_add(1).unwrap_or(1), self.looks[0]];
    }

    /// Something happens on a connection, which is at rest no more if it was.
    pub(super) fn wake(&mut self, ends: &Ends) -> Option<Entry> {
        if self.table.len() == 0 {
            return None;
        }
        let rest = self.table.remove(&self.folded(ends))?;
        Some(rest.entry())
    }

    pub(super) fn stands(&mut self, ends: &Ends, moved: Moved) -> Option<Progress> {
        let folded = self.folded(ends);
        let rest = self.table.get_mut(&folded)?;
        let mut entry = rest.entry();
        let progress = entry.advance(moved);
        *rest = Rest::of(entry, rest.netns, self.looks[0]);
        Some(progress)
    }

    pub(super) fn look_is_done(&self, seen: &HashSet<u32>) -> Vec<Missing> {
        // A list of sockets that is read while one of them goes may pass over its neighbour: once is not enough.
        let is_missing =
            |rest: &Rest| !self.looks.contains(&rest.tag.note()) && seen.contains(&rest.netns);
        let missing = self.table.iter().filter(|(_, rest)| is_missing(rest));
        missing
            .map(|(&folded, rest)| Missing {
                folded,
                look: rest.tag.note(),
            })
            .collect()
    }

    pub(super) fn lose(&mut self, missing: Missing) -> Option<u32> {
        // One that woke meanwhile and rests again has the last look's number.
        let is_same = self.table.get(&missing.folded)?.tag.note() == missing.look;
        let lost = is_same.then(|| self.table.remove(&missing.folded))??;
        Some(lost.tag.tag())
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Rest {
    fn of(entry: Entry, netns: u32, look: u8) -> Self {
        Self {
            sent: entry.sent,
            received: entry.received,
            retransmits: entry.retransmits,
            tag: Tag::new(entry.tag.tag(), look),
            netns,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            sent: self.sent,
            received: self.received,
            retransmits: self.retransmits,
            tag: Tag::new(
                self.tag.tag(),
                u8::from(self.sent == 0 && self.received == 0),
            ),
        }
    }
}

#[cfg(test)]
mod tests;

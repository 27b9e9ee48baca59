//! Runs of entries of an array map: which are free.

use std::collections::BTreeMap;

/// Entries that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Hands out runs: the first gap that is large enough, from its start. Gaps that touch are one.
#[derive(Debug)]
pub(super) struct Runs {
    /// Gaps by their first entry: how many entries they have. None touches another.
    gaps: BTreeMap<u32, u32>,
    used: u32,
}

impl Runs {
    /// `capacity` entries, all of them free.
    pub(super) fn new(capacity: u32) -> Self {
        let mut gaps = BTreeMap::new();
        if capacity > 0 {
            gaps.insert(0, capacity);
        }
        Self { gaps, used: 0 }
    }

    /// Entries that were taken and not given back.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Takes a run of `count` entries; `None` where no gap is large enough. A run of none takes nothing.
    pub(super) fn take(&mut self, count: u32) -> Option<Run> {
        if count == 0 {
            return Some(Run { first: 0, count });
        }
        let (&first, &length) = self.gaps.iter().find(|(_, length)| **length >= count)?;
        self.gaps.remove(&first);
        if length > count {
            self.gaps.insert(first + count, length - count);
        }
        self.used += count;
        Some(Run { first, count })
    }

    /// Gives back what [`Runs::take`] gave.
    pub(super) fn give(&mut self, run: Run) {
        let Run {
            mut first,
            mut count,
        } = run;
        if count == 0 {
            return;
        }
        self.used -= count;
        if let Some((&before, &length)) = self.gaps.range(..first).next_back()
            && before + length == first
        {
            self.gaps.remove(&before);
            first = before;
            count += length;
        }
        if let Some(length) = self.gaps.remove(&(first + count)) {
            count += length;
        }
        self.gaps.insert(first, count);
    }
}

#[cfg(test)]
mod tests;

//! What came of the tables of files.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fathom_symbolizer::Error;

/// Why a table can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::profile) enum Failure {
    /// It is no ELF file: what a program has put into a file to run it.
    NotElf,
    /// It is for another machine, or of a kind that nothing is unwound in.
    NotUnwindable,
    /// It can't be read.
    Unreadable,
    /// It contradicts itself.
    Malformed,
    /// Its tables are larger than may be read, or than there is room for in all.
    TooLarge,
    /// All room is taken by files that are sampled as well.
    NoRoom,
}

impl Failure {
    /// All of them.
    pub(in crate::profile) const ALL: [Self; 6] = [
        Self::NotElf,
        Self::NotUnwindable,
        Self::Unreadable,
        Self::Malformed,
        Self::TooLarge,
        Self::NoRoom,
    ];

    /// The value of the attribute `outcome`.
    pub(in crate::profile) const fn name(self) -> &'static str {
        match self {
            Self::NotElf => "not_elf",
            Self::NotUnwindable => "not_unwindable",
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotElf { .. } => Self::NotElf,
            Error::NotUnwindable { .. } => Self::NotUnwindable,
            Error::Malformed { .. } => Self::Malformed,
            Error::TooLarge { .. } => Self::TooLarge,
            _ => Self::Unreadable,
        }
    }
}

/// What came of the unwind tables of files, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    converted: AtomicU64,
    shared: AtomicU64,
    evicted: AtomicU64,
    queue_full: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
}

impl Counts {
    /// Tables that were made and put into the maps.
    pub(in crate::profile) fn converted(&self) -> u64 {
        self.converted.load(Relaxed)
    }

    /// Files that are the same as one that was there before: another copy of it, or itself, opened again.
    pub(in crate::profile) fn shared(&self) -> u64 {
        self.shared.load(Relaxed)
    }

    /// Tables that were taken out to make room.
    pub(in crate::profile) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Requests that found too many others waiting. They are made again with the next sample.
    pub(in crate::profile) fn queue_full(&self) -> u64 {
        self.queue_full.load(Relaxed)
    }

    /// Tables that can't be had for a reason.
    pub(in crate::profile) fn failed(&self, failure: Failure) -> u64 {
        self.failed[failure as usize].load(Relaxed)
    }

    /// Gives out each outcome with its count; `delivered` is what was put into the maps.
    pub fn each(&self, give: &mut dyn FnMut(&'static str, u64)) {
        give("delivered", self.converted());
        give("shared", self.shared());
        give("evicted", self.evicted());
        give("queue_full", self.queue_full());
        for failure in Failure::ALL {
            give(failure.name(), self.failed(failure));
        }
    }

    pub(super) fn add_converted(&self) {
        self.converted.fetch_add(1, Relaxed);
    }

    pub(super) fn add_shared(&self) {
        self.shared.fetch_add(1, Relaxed);
    }

    pub(super) fn add_evicted(&self) {
        self.evicted.fetch_add(1, Relaxed);
    }

    pub(super) fn add_queue_full(&self) {
        self.queue_full.fetch_add(1, Relaxed);
    }

    pub(super) fn add_failed(&self, failure: Failure) {
        self.failed[failure as usize].fetch_add(1, Relaxed);
    }
}

//! A window's samples to profiles, apart from where samples are taken in: names take a while, and rings don't wait.

use std::{fmt, sync::Arc};

use fathom_symbolizer::{Gear, Symbolizer};

use super::{lookups::LookupCounts, model::Profile, stacks::Seen, symbols::Symbols};

/// What was seen in a window that has ended.
pub struct Window {
    pub(super) seen: Vec<Seen>,
    /// When it began: `CLOCK_MONOTONIC`, nanoseconds.
    pub(super) start_ns: u64,
    pub(super) duration_ns: u64,
    /// CPU time that one sample stands for.
    pub(super) period_ns: u64,
}

/// Names what was seen in windows, on whichever thread it is. What it reads is shared with the [`Profiler`](super::Profiler) that it is of.
#[derive(Debug)]
pub struct Namer {
    symbols: Symbols,
}

impl Namer {
    pub(super) fn new(symbolizer: Arc<Symbolizer>, gear: Gear, lookups: Arc<LookupCounts>) -> Self {
        Self {
            symbols: Symbols::new(symbolizer, gear, lookups),
        }
    }

    /// Reads the kernel's symbols, which for a moment takes four times the memory that they take: better before there is anything else. That they can't be read is said
    /// when they are asked for.
    pub fn read_kernel(&self) {
        self.symbols.read_kernel();
    }

    /// Hands on one profile for each process that was seen, by its number. What each was made of is dropped before the next one is made: there is never room
    /// needed for all of them.
    pub fn name(&mut self, window: Window, mut each: impl FnMut(Profile)) {
        let Window {
            seen,
            start_ns,
            duration_ns,
            period_ns,
        } = window;
        self.symbols.begin(&seen);
        for seen in seen {
            each(self.symbols.profile(seen, start_ns, duration_ns, period_ns));
        }
        self.symbols.end();
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("processes", &self.seen.len())
            .field("start_ns", &self.start_ns)
            .field("duration_ns", &self.duration_ns)
            .finish_non_exhaustive()
    }
}

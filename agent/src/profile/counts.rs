//! What came of each record of the `SAMPLES` ring buffer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What came of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in a profile.
    Delivered,
    /// It is not of the form that the ABI gives.
    Malformed,
    /// There was no room for another stack in this window.
    StacksFull,
}

impl Outcome {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Delivered, Self::Malformed, Self::StacksFull];

    /// The value of the attribute `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Malformed => "malformed",
            Self::StacksFull => "stacks_full",
        }
    }
}

/// Counts since the start; each record counts once.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; Outcome::ALL.len()]);

impl Counts {
    /// How many records came to this.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Relaxed)
    }

    /// How many records there were.
    pub fn all(&self) -> u64 {
        Outcome::ALL.iter().map(|&outcome| self.of(outcome)).sum()
    }

    pub(super) fn add(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Relaxed);
    }
}

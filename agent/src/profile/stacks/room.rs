//! What stacks take of the memory that all windows share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What something takes of all stacks' room, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Room {
    /// Nothing yet.
    pub(super) fn of(all: Arc<AtomicUsize>) -> Self {
        Self { bytes: 0, all }
    }

    /// Takes more.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

/// An entry of a hash table that has just grown takes as much again.
pub(super) const fn entry_bytes<T>() -> usize {
    2 * (size_of::<T>() + 1)
}

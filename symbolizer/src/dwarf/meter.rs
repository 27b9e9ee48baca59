//! Counts the memory that is held, in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The sum of what is held.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<AtomicUsize>);

/// A part of the sum, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    meter: Meter,
    bytes: AtomicUsize,
}

impl Meter {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.0.fetch_add(bytes, Relaxed);
        Charge {
            meter: self.clone(),
            bytes: AtomicUsize::new(bytes),
        }
    }
}

impl Charge {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.meter.0.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(*self.bytes.get_mut(), Relaxed);
    }
}

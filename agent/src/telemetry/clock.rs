//! `CLOCK_MONOTONIC`, which the kernel stamps its records with, to Unix time, which backends want.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use rustix::time::{ClockId, clock_gettime};

/// The distance between the two clocks. Unix time is set now and then (NTP, a person), so that it is to be sampled again every so often.
#[derive(Debug)]
pub struct Clock {
    offset_ns: AtomicI64,
}

impl Clock {
    /// Samples both clocks.
    pub fn new() -> Self {
        let clock = Self {
            offset_ns: AtomicI64::new(0),
        };
        clock.sample();
        clock
    }

    /// Samples them again: once a minute is often enough for a clock that NTP slews.
    pub fn sample(&self) {
        // The sample whose two looks at the one clock are closest says most about the other.
        let best = (0..5)
            .map(|_| {
                let before = now(ClockId::Monotonic);
                let unix = now(ClockId::Realtime);
                let after = now(ClockId::Monotonic);
                (after - before, unix - (before + (after - before) / 2))
            })
            .min();
        if let Some((_, offset_ns)) = best {
            self.offset_ns.store(offset_ns, Relaxed);
        }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_ns(&self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.offset_ns.load(Relaxed))
    }

    /// `CLOCK_MONOTONIC` now, in nanoseconds.
    pub fn monotonic_ns() -> u64 {
        now(ClockId::Monotonic).unsigned_abs()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn now(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests;

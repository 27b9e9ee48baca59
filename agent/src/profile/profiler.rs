//! The stop between the ring buffer and the exporters.

use std::{fmt, sync::Arc};

use super::{
    counts::{Counts, Outcome},
    model::Profile,
    objects::{Mapped, Objects},
    record::Sample,
    stacks::Stacks,
    symbols::Symbols,
};
use crate::identity::Process;

/// Says which process has a number now.
pub type Identify = Box<dyn FnMut(u32) -> Arc<Process> + Send>;

/// What a profiler may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a window's stacks. A stack that no longer fits is counted as [`Outcome::StacksFull`].
    pub stacks: usize,
    /// Bytes of parsed symbol tables of files. What has to go is parsed again when it is needed.
    pub symbols: usize,
    /// Files that are open at the same time. A file beyond them has no names.
    pub files: usize,
}

impl Default for Limits {
    /// For an agent of 64 MiB in all.
    fn default() -> Self {
        Self {
            stacks: 4 << 20,
            symbols: 12 << 20,
            files: 512,
        }
    }
}

/// Takes samples, and gives a profile for each process when a window ends.
pub struct Profiler {
    period_ns: u64,
    window_start_ns: u64,
    stacks: Stacks,
    objects: Objects,
    symbols: Symbols,
    identify: Identify,
    counts: Arc<Counts>,
    /// Keeps the files of the window before open: most processes are seen again.
    before: Vec<Vec<Mapped>>,
}

impl fmt::Debug for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiler")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Profiler {
    /// A profiler whose first window starts now (`CLOCK_MONOTONIC`, nanoseconds). A sample stands for `period_ns` of CPU time.
    pub fn new(period_ns: u64, now_ns: u64, limits: Limits, identify: Identify) -> Self {
        Self {
            period_ns,
            window_start_ns: now_ns,
            stacks: Stacks::new(limits.stacks),
            objects: Objects::new(limits.files),
            symbols: Symbols::new(limits.symbols),
            identify,
            counts: Arc::default(),
            before: Vec::new(),
        }
    }

    /// What came of the records so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Bytes that parsed symbols take.
    pub fn symbol_bytes(&self) -> usize {
        self.symbols.bytes()
    }

    /// Takes one record of the ring buffer.
    pub fn record(&mut self, record: &[u8]) {
        match Sample::parse(record) {
            Ok(sample) => self.sample(sample),
            Err(_) => self.counts.add(Outcome::Malformed),
        }
    }

    /// Takes one sample.
    pub fn sample(&mut self, sample: Sample) {
        let identify = &mut self.identify;
        let outcome = match self.stacks.add(sample, &mut self.objects, identify) {
            Ok(()) => Outcome::Delivered,
            Err(_) => Outcome::StacksFull,
        };
        self.counts.add(outcome);
    }

    /// Ends the window at `now_ns` and starts the next: one profile for each process that was seen, by its number.
    pub fn flush(&mut self, now_ns: u64) -> Vec<Profile> {
        let start_ns = std::mem::replace(&mut self.window_start_ns, now_ns);
        let duration_ns = now_ns.saturating_sub(start_ns);
        let seen = self.stacks.take(&mut self.objects);
        self.before = seen.iter().map(|seen| seen.mapped.clone()).collect();
        let profiles = seen
            .into_iter()
            .map(|seen| {
                self.symbols
                    .profile(seen, start_ns, duration_ns, self.period_ns)
            })
            .collect();
        self.objects.close_unused();
        profiles
    }
}

#[cfg(test)]
mod tests;

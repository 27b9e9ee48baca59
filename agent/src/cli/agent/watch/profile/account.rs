//! Each stop's account of the samples, and of what is looked up for them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fathom_abi::counters::ProfileCounter;

use crate::{
    cli::agent::watch::Shared,
    probes::profile::Profile as Sampler,
    profile::{Counts, Outcome, Profiler},
    telemetry::events::Stage,
};

/// Records that came out of the ring.
#[derive(Debug, Default)]
pub(super) struct Read {
    records: AtomicU64,
    malformed: AtomicU64,
}

impl Read {
    /// One was a sample.
    pub(super) fn sample(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    /// One was none.
    pub(super) fn malformed(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each stop's account of the samples.
pub(super) fn register(
    shared: &Shared,
    sampler: &Sampler,
    read: &Arc<Read>,
    kept: Option<Arc<Counts>>,
) {
    let counters = Arc::clone(&sampler.counters);
    shared.events.register(Stage::Tap, "samples", move |give| {
        // The losses first: a sample that is attempted between the two reads is not yet lost.
        let full = counters.get(ProfileCounter::SampleRingFull);
        let attempted = counters.get(ProfileCounter::SampleAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
    });
    let counters = Arc::clone(&sampler.counters);
    shared.events.register(Stage::Tap, "ticks", move |give| {
        let idle = counters.get(ProfileCounter::Idle);
        let all = counters.get(ProfileCounter::Ticks);
        give("delivered", all.saturating_sub(idle));
        give("idle", idle);
    });
    let ring = Arc::clone(read);
    shared.events.register(Stage::Ring, "samples", move |give| {
        give("delivered", ring.records.load(Ordering::Relaxed));
    });
    let decoder = Arc::clone(read);
    shared
        .events
        .register(Stage::Decoder, "samples", move |give| {
            let malformed = decoder.malformed.load(Ordering::Relaxed);
            let records = decoder.records.load(Ordering::Relaxed);
            give("delivered", records.saturating_sub(malformed));
            give("malformed", malformed);
        });
    if let Some(kept) = kept {
        shared
            .events
            .register(Stage::Aggregator, "samples", move |give| {
                for outcome in [Outcome::Delivered, Outcome::StacksFull] {
                    give(outcome.name(), kept.of(outcome));
                }
            });
    }
}

/// What unwinding takes in beside the samples; `lost` are records of events that the kernel had no room for.
pub(super) fn register_unwinding(shared: &Shared, profiler: &Profiler, lost: &Arc<AtomicU64>) {
    if let Some(counts) = profiler.table_counts() {
        shared
            .events
            .register(Stage::Decoder, "unwind_tables", move |give| {
                counts.each(give);
            });
    }
    let lookups = profiler.lookups();
    shared
        .events
        .register(Stage::Correlator, "mappings", move |give| {
            lookups.each(give);
        });
    let lost = Arc::clone(lost);
    shared
        .events
        .register(Stage::Ring, "mappings", move |give| {
            give("ring_full", lost.load(Ordering::Relaxed));
        });
}

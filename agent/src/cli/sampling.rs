//! What samples CPUs, put together: the sampler, what happens to processes, and the profiler that takes both in.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    identity::{Identity, Process},
    probes::{
        self,
        mappings::Mappings,
        profile::{Profile as Sampler, ProfileOptions, ring_bytes_with_copies},
    },
    profile::{Feed, Gear, Identify, Item, Limits, Profiler, Sampled},
    telemetry::Clock,
};

/// How much of what, and how often.
pub(in crate::cli) struct Plan {
    /// Which CPUs' ticks are samples; the size of the ring and of the tables is the plan's own.
    pub(in crate::cli) sampler: ProfileOptions,
    /// How long samples may wait in their ring.
    pub(in crate::cli) interval: Duration,
    /// Bytes of each CPU's ring of what happens to processes.
    pub(in crate::cli) events: usize,
    /// What the profiler may take.
    pub(in crate::cli) limits: Limits,
    /// How much of each address is to be known.
    pub(in crate::cli) gear: Gear,
}

/// CPUs are sampled from [`Sampler::start`] on, as long as this is there.
pub(in crate::cli) struct Sampling {
    pub(in crate::cli) sampler: Sampler,
    pub(in crate::cli) feed: Feed,
    pub(in crate::cli) profiler: Profiler,
}

impl Sampling {
    /// Has all ready. Nothing is sampled yet, but what happens to processes is taken in.
    ///
    /// # Errors
    /// When the kernel refuses a part of it, or a thread can't be started.
    pub(in crate::cli) fn load(plan: Plan, identify: Identify) -> Result<Self, probes::Error> {
        // Before the samples, so that each finds its process known.
        let mappings = Mappings::open(plan.events)?;
        let frequency = plan.sampler.frequency;
        let mut sampler = Sampler::load(&ProfileOptions {
            ring_bytes: ring_bytes_with_copies(cpus(), frequency, plan.interval),
            ..plan.sampler
        })?;
        let mut profiler = Profiler::new(
            period_ns(frequency),
            Clock::monotonic_ns(),
            plan.limits,
            plan.gear,
            identify,
        );
        if let Some(tables) = sampler.tables.take() {
            profiler = profiler
                .with_tables(tables)
                .map_err(probes::Error::Thread)?;
        }
        let feed = Feed::new(mappings, &sampler.samples).map_err(probes::Error::Thread)?;
        Ok(Self {
            sampler,
            feed,
            profiler,
        })
    }

    /// Hands what is in the rings to `take`, in the order of its times.
    pub(in crate::cli) fn drain(&mut self, mut take: impl FnMut(&mut Profiler, Item<'_>)) {
        let now_ns = Clock::monotonic_ns();
        let Self {
            sampler,
            feed,
            profiler,
        } = self;
        feed.drain(&mut sampler.samples, now_ns, |item| take(profiler, item));
        profiler.tick(now_ns);
    }

    /// Ends it: hands on all that is left in the rings, and waits for what the last samples need, but no longer than `patience`.
    ///
    /// # Errors
    /// When the kernel refuses to detach. All that is there is handed on nevertheless.
    pub(in crate::cli) fn finish(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(&mut Profiler, Item<'_>),
    ) -> Result<(), probes::Error> {
        let stopped = self.sampler.stop();
        let Self {
            sampler,
            feed,
            profiler,
        } = self;
        feed.finish(&mut sampler.samples, |item| take(profiler, item));
        profiler.settle(Clock::monotonic_ns(), patience);
        stopped
    }
}

/// The process of a sample.
pub(in crate::cli) fn identify(identity: &mut Identity, sampled: Sampled) -> Arc<Process> {
    if sampled.is_another {
        identity.distrust(sampled.tgid);
    }
    identity.name(sampled.tgid, sampled.comm);
    identity.process(sampled.tgid, Clock::monotonic_ns())
}

/// CPUs that this process may run on.
pub(in crate::cli) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// CPU time that one sample stands for, in nanoseconds.
pub(in crate::cli) fn period_ns(frequency: u32) -> u64 {
    1_000_000_000 / u64::from(frequency)
}

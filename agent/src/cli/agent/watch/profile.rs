//! CPU samples, from the ring to the CPU time of each service and, where they are exported, to profiles.

mod account;
mod naming;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::warn;

use self::{
    account::Read,
    naming::{Job, Naming, Out},
};
use super::{Shared, Watch};
use crate::{
    cli::sampling::{self, Plan, Sampling},
    config::Config,
    export::otlp::{profiles::Encoded, queue::Queue},
    identity::Identity,
    probes::{
        self,
        profile::{Profile as Sampler, ProfileOptions, ring_bytes},
    },
    profile::{Gear, Item, Limits, Profiler, Sample},
    telemetry::{Clock, Cpu, StackSamples, cpu::Mode},
};

/// How long samples may wait in their ring.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// How long the tables are waited for at the end that the last samples need.
const SETTLE: Duration = Duration::from_secs(1);

/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// What of the memory limit the maps take that stacks are unwound by.
const TABLES_SIXTEENTHS: u64 = 1;

/// Bytes of all rings of what happens to processes: 1,000 that start in a second make about 1 MiB of records.
const EVENTS: usize = 1 << 20;

/// Files that may be open for their symbols.
const FILES: usize = 512;

impl Watch {
    /// Samples all CPUs.
    pub(in crate::cli::agent) fn profile(
        &mut self,
        config: &Config,
        out: Option<Arc<Queue<Encoded>>>,
    ) -> Result<(), probes::Error> {
        let frequency = config.profile_frequency;
        let options = ProfileOptions {
            frequency,
            joined: self.shared.joined,
            ..ProfileOptions::default()
        };
        let taker = Taker {
            read: Arc::default(),
            identity: Arc::new(Mutex::new(Identity::new("/proc", PROCESSES))),
            cpu: Arc::new(Cpu::new(sampling::period_ns(frequency))),
            shared: self.shared.clone(),
        };
        // Stacks are for a backend: without one they are not unwound by tables, and nothing is followed that processes map.
        let mut source = match out {
            None => Source::Counted(Box::new(Sampler::load(&ProfileOptions {
                ring_bytes: ring_bytes(sampling::cpus(), frequency, DRAIN_INTERVAL),
                ..options
            })?)),
            Some(queue) => {
                let samples = Arc::new(StackSamples::default());
                let out = Out {
                    samples: Arc::clone(&samples),
                    queue,
                    clock: Arc::clone(&self.shared.clock),
                };
                let profiles = Profiles::start(options, config, &taker, out)?;
                self.show(samples as _);
                Source::Profiled(Box::new(profiles))
            }
        };
        source.sampler_mut().start()?;
        let sampler = source.sampler();
        let own = &self.shared.own;
        own.add_maps(sampler.map_bytes(), sampler.mapped_bytes());
        let counts = match &source {
            Source::Counted(_) => None,
            Source::Profiled(profiles) => {
                let rings = profiles.sampling.feed.mapped_bytes();
                own.add_maps(rings, rings);
                account::register_unwinding(
                    &self.shared,
                    &profiles.sampling.profiler,
                    &profiles.lost,
                );
                Some(profiles.sampling.profiler.counts())
            }
        };
        account::register(&self.shared, sampler, &taker.read, counts);
        self.show(Arc::clone(&taker.cpu) as _);
        self.works("profile", format!("profile at {frequency} Hz"));
        self.spawn("fathom-profile", move |stop| source.run(&taker, stop))
    }
}

/// What of the memory limit profiles may take beside [`TABLES_SIXTEENTHS`] for the kernel's maps: a sixteenth for stacks, one and a half for symbols, and a half each for processes' mappings and
/// for samples that wait. A file's table is made of no more than a sixteenth: what is larger would not fit into the maps.
fn limits(memory_limit: u64) -> Limits {
    let part = usize::try_from(memory_limit / 16).unwrap_or(usize::MAX);
    Limits {
        stacks: part,
        symbols: part.saturating_add(part / 2),
        files: FILES,
        spaces: part / 2,
        waiting: part / 2,
        section: part,
    }
}

/// Where samples come from.
enum Source {
    /// No backend wants profiles: no stack is kept, and no file is read for its symbols.
    Counted(Box<Sampler>),
    /// One does.
    Profiled(Box<Profiles>),
}

impl Source {
    fn sampler(&self) -> &Sampler {
        match self {
            Self::Counted(sampler) => sampler,
            Self::Profiled(profiles) => &profiles.sampling.sampler,
        }
    }

    fn sampler_mut(&mut self) -> &mut Sampler {
        match self {
            Self::Counted(sampler) => sampler,
            Self::Profiled(profiles) => &mut profiles.sampling.sampler,
        }
    }

    fn run(self, taker: &Taker, stop: &AtomicBool) {
        match self {
            Self::Counted(sampler) => taker.count_all(*sampler, stop),
            Self::Profiled(profiles) => profiles.run(taker, stop),
        }
    }
}

/// What takes each sample, whether its stack is wanted or not.
struct Taker {
    read: Arc<Read>,
    identity: Arc<Mutex<Identity>>,
    cpu: Arc<Cpu>,
    shared: Shared,
}

impl Taker {
    fn count(&self, sample: &Sample, now_ns: u64) {
        self.read.sample();
        let process = {
            let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
            identity.name(sample.tgid, sample.comm);
            identity.process(sample.tgid, now_ns)
        };
        let mode = if sample.kernel_frames > 0 {
            Mode::System
        } else {
            Mode::User
        };
        self.cpu.record(&process.service, mode);
    }

    fn count_all(&self, mut sampler: Sampler, stop: &AtomicBool) {
        let drain = |sampler: &mut Sampler| {
            let now_ns = Clock::monotonic_ns();
            sampler
                .samples
                .drain(usize::MAX, |record| match Sample::parse(record) {
                    Ok(sample) => self.count(&sample, now_ns),
                    Err(_) => self.read.malformed(),
                });
        };
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(DRAIN_INTERVAL);
            drain(&mut sampler);
        }
        if let Err(error) = sampler.stop() {
            warn!("stopping the sampler: {error}");
        }
        drain(&mut sampler);
    }

    fn take(&self, profiler: &mut Profiler, item: Item<'_>, now_ns: u64) {
        match item {
            Item::Event(at_ns, event) => profiler.event(at_ns, &event),
            Item::Sample(mut sample) => {
                self.count(&sample, now_ns);
                sample.exchange = sample
                    .exchange
                    .filter(|&exchange| self.shared.links.sampled(exchange, sample.at_ns));
                profiler.sample(sample);
            }
            Item::Malformed => self.read.malformed(),
        }
    }
}

/// Stacks on their way to a backend.
struct Profiles {
    sampling: Sampling,
    naming: Naming,
    /// Events that the kernel had no room for.
    lost: Arc<AtomicU64>,
    interval: Duration,
    flushed: Instant,
}

impl Profiles {
    fn start(
        options: ProfileOptions,
        config: &Config,
        taker: &Taker,
        out: Out,
    ) -> Result<Self, probes::Error> {
        let plan = Plan {
            sampler: ProfileOptions {
                tables_bytes: config.memory_limit / 16 * TABLES_SIXTEENTHS,
                ..options
            },
            interval: DRAIN_INTERVAL,
            events: (EVENTS / sampling::cpus()).clamp(64 << 10, 512 << 10),
            limits: limits(config.memory_limit),
            // What is inlined, and which line it is, a backend finds out by build id and address.
            gear: Gear::Names,
        };
        let identity = Arc::clone(&taker.identity);
        let identify = move |sampled| {
            let mut identity = identity.lock().unwrap_or_else(PoisonError::into_inner);
            sampling::identify(&mut identity, sampled)
        };
        let sampling = Sampling::load(plan, Box::new(identify))?;
        let naming =
            Naming::start(sampling.profiler.namer(), out).map_err(probes::Error::Thread)?;
        Ok(Self {
            sampling,
            naming,
            lost: Arc::default(),
            interval: config.profile_interval,
            flushed: Instant::now(),
        })
    }

    fn run(mut self, taker: &Taker, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.wait();
            let now_ns = Clock::monotonic_ns();
            self.sampling
                .drain(|profiler, item| taker.take(profiler, item, now_ns));
            let lost = self.sampling.feed.lost();
            self.lost.store(lost, Ordering::Relaxed);
            if self.flushed.elapsed() >= self.interval && self.naming.is_free() {
                self.end_window(&taker.shared);
            }
        }
        let now_ns = Clock::monotonic_ns();
        let finished = self.sampling.finish(SETTLE, |profiler, item| {
            taker.take(profiler, item, now_ns);
        });
        if let Err(error) = finished {
            warn!("stopping the sampler: {error}");
        }
        self.end_window(&taker.shared);
    }

    /// Waits for the next look at the rings; what happens to processes is taken in meanwhile.
    fn wait(&mut self) {
        if let Err(error) = self.sampling.feed.wait(DRAIN_INTERVAL) {
            warn!("waiting for what processes map: {error}");
            std::thread::sleep(DRAIN_INTERVAL);
        }
    }

    fn end_window(&mut self, shared: &Shared) {
        self.flushed = Instant::now();
        let window = self.sampling.profiler.end_window(Clock::monotonic_ns());
        self.naming.hand_over(Job {
            window,
            spans: shared.links.take(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_take_nine_thirtyseconds_of_the_limit() {
        let limits = limits(64 << 20);
        let heap = limits.stacks + limits.symbols + limits.spaces + limits.waiting;
        let maps = (64 << 20) / 16 * TABLES_SIXTEENTHS as usize;
        assert_eq!(heap + maps, 18 << 20);
    }
}

//! CPU samples, from the ring to the CPU time of each service and, where they are exported, to profiles.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fathom_abi::counters::ProfileCounter;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use tracing::warn;

use super::{Shared, Watch};
use crate::{
    config::Config,
    export::otlp::{profiles, queue::Queue},
    identity::Identity,
    probes::{
        self, namespace,
        profile::{Profile as Sampler, ProfileOptions, ring_bytes},
    },
    profile::{Counts, Limits, Outcome, Profiler, Sample},
    telemetry::{Clock, Cpu, cpu::Mode, events::Stage},
};

/// How long samples may wait in their ring.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Files that may be open for their symbols.
const FILES: usize = 512;

impl Watch {
    /// Samples all CPUs.
    pub(in crate::cli::agent) fn profile(
        &mut self,
        config: &Config,
        out: Option<Arc<Queue<ExportProfilesServiceRequest>>>,
    ) -> Result<(), probes::Error> {
        let frequency = config.profile_frequency;
        let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let sampler = Sampler::load(&ProfileOptions {
            frequency,
            ring_bytes: ring_bytes(cpus, frequency, DRAIN_INTERVAL),
            targets: Vec::new(),
            excluded: None,
            active_pin: self.shared.joined.then(namespace::active_pin),
        })?;
        let shared = self.shared.clone();
        shared
            .own
            .add_maps(sampler.map_bytes(), sampler.mapped_bytes());
        self.works("profile", format!("profile at {frequency} Hz"));

        let period_ns = 1_000_000_000 / u64::from(frequency);
        let cpu = Arc::new(Cpu::new(period_ns));
        self.show(Arc::clone(&cpu) as _);
        let identity = Arc::new(Mutex::new(Identity::new("/proc", PROCESSES)));
        let profiles = out.map(|queue| {
            let identity = Arc::clone(&identity);
            let identify = move |tgid| {
                let mut identity = identity.lock().unwrap_or_else(PoisonError::into_inner);
                identity.process(tgid, Clock::monotonic_ns())
            };
            let limits = limits(config.memory_limit);
            let now_ns = Clock::monotonic_ns();
            Profiles {
                profiler: Profiler::new(period_ns, now_ns, limits, Box::new(identify)),
                queue,
                interval: config.profile_interval,
                flushed: Instant::now(),
            }
        });
        let read = Arc::new(Read::default());
        register(
            &shared,
            &sampler,
            &read,
            profiles.as_ref().map(|profiles| profiles.profiler.counts()),
        );
        let pipeline = Pipeline {
            sampler,
            read,
            identity,
            cpu,
            profiles,
            shared,
        };
        self.spawn("fathom-profile", move |stop| pipeline.run(stop))
    }
}

/// What of the memory limit profiles may take: a sixteenth for stacks, three for symbols.
fn limits(memory_limit: u64) -> Limits {
    let part = usize::try_from(memory_limit / 16).unwrap_or(usize::MAX);
    Limits {
        stacks: part,
        symbols: part.saturating_mul(3),
        files: FILES,
    }
}

/// Records that came out of the ring.
#[derive(Debug, Default)]
struct Read {
    records: AtomicU64,
    malformed: AtomicU64,
}

/// Each stop's account of the samples.
fn register(shared: &Shared, sampler: &Sampler, read: &Arc<Read>, kept: Option<Arc<Counts>>) {
    let counters = Arc::clone(&sampler.counters);
    shared.events.register(Stage::Tap, "samples", move |give| {
        // The losses first: a sample that is attempted between the two reads is not yet lost.
        let full = counters.get(ProfileCounter::SampleRingFull);
        let attempted = counters.get(ProfileCounter::SampleAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
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

/// One thread's way from the ring to the aggregators.
struct Pipeline {
    sampler: Sampler,
    read: Arc<Read>,
    identity: Arc<Mutex<Identity>>,
    cpu: Arc<Cpu>,
    /// None where no backend wants them: then no stack is kept and no file is read for its symbols.
    profiles: Option<Profiles>,
    shared: Shared,
}

/// Stacks on their way to a backend.
struct Profiles {
    profiler: Profiler,
    queue: Arc<Queue<ExportProfilesServiceRequest>>,
    interval: Duration,
    flushed: Instant,
}

impl Pipeline {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            std::thread::sleep(DRAIN_INTERVAL);
            self.drain();
            if let Some(profiles) = &mut self.profiles
                && profiles.flushed.elapsed() >= profiles.interval
            {
                profiles.flush(&self.shared);
            }
        }
        if let Err(error) = self.sampler.stop() {
            warn!("stopping the sampler: {error}");
        }
        self.drain();
        if let Some(profiles) = &mut self.profiles {
            profiles.flush(&self.shared);
        }
    }

    fn drain(&mut self) {
        let Self {
            sampler,
            read,
            identity,
            cpu,
            profiles,
            shared,
        } = self;
        let now_ns = Clock::monotonic_ns();
        sampler.samples.drain(usize::MAX, |record| {
            read.records.fetch_add(1, Ordering::Relaxed);
            let Ok(sample) = Sample::parse(record) else {
                read.malformed.fetch_add(1, Ordering::Relaxed);
                return;
            };
            let process = {
                let mut identity = identity.lock().unwrap_or_else(PoisonError::into_inner);
                identity.name(sample.tgid, sample.comm);
                identity.process(sample.tgid, now_ns)
            };
            let mode = if sample.kernel_frames > 0 {
                Mode::System
            } else {
                Mode::User
            };
            cpu.record(&process.service, mode);
            if let Some(profiles) = profiles {
                if let Some(exchange) = sample.exchange {
                    shared.links.sampled(exchange);
                }
                profiles.profiler.sample(sample);
            }
        });
    }
}

impl Profiles {
    fn flush(&mut self, shared: &Shared) {
        self.flushed = Instant::now();
        let profiles = self.profiler.flush(Clock::monotonic_ns());
        let spans = shared.links.take();
        let unix_ns = |ns| shared.clock.unix_ns(ns);
        for request in
            profiles::requests(&profiles, unix_ns, |exchange| spans.get(exchange).copied())
        {
            self.queue.push(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_take_a_quarter_of_the_limit() {
        let limits = limits(64 << 20);
        assert_eq!(limits.stacks + limits.symbols, 16 << 20);
    }
}

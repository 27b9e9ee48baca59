//! Samples, from the start to the end of the time.

use std::{
    collections::HashSet,
    io::{self, IsTerminal as _, Write as _},
    num::NonZeroUsize,
    path::Path,
    time::{Duration, Instant},
};

use fathom_abi::counters::ProfileCounter;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{self, Runtime};

use super::{
    Args,
    busy::busy,
    choice::Choice,
    command::Command,
    live::LiveTop,
    requests::{Requests, Served},
    say::say,
    signals::Signals,
};
use crate::{
    cli::{
        Failure,
        sampling::{Plan, Sampling, cpus, identify},
        usage,
    },
    identity::Identity,
    probes::{
        mappings::Event,
        profile::{Busy, ProfileOptions, Ticks},
    },
    profile::{Frames, Gear, Item, Limits, Namer, Outcome as RecordOutcome, Profile, Quality},
    telemetry::Clock,
};

/// How often the ring buffer is emptied: before copies of stacks fill their half of it, of which there are many in the first moments.
const DRAIN: Duration = Duration::from_millis(50);

/// The same while processes begin: until one is known to the kernel's program no more than a copy of its stack is, and compilers' are deeper than that.
const DRAIN_SOON: Duration = Duration::from_millis(10);

/// How long processes are said to begin after one has.
const RESTLESS: Duration = Duration::from_secs(1);

/// How often the progress line is written.
const PROGRESS: Duration = Duration::from_millis(100);

/// One command may use more than an agent that runs beside everything else.
fn limits() -> Limits {
    Limits {
        stacks: 256 << 20,
        symbols: 512 << 20,
        files: files(usage::raise_open_files(), cpus()),
        spaces: 64 << 20,
        waiting: 64 << 20,
        section: 256 << 20,
    }
}

/// Bytes of the maps that stacks are unwound by: the tables of some hundred large libraries.
const TABLES: u64 = 96 << 20;

/// Bytes of each CPU's ring of what happens to processes.
const EVENTS: usize = 256 << 10;

/// How long the tables of the processes that were named are waited for before they are sampled. What is not there by then is made meanwhile.
const PREPARE: Duration = Duration::from_secs(10);

/// How long those of the processes are waited for that are at work anyway: the first moment of a load whose tables are missing has most of its broken stacks.
const PREPARE_BUSY: Duration = Duration::from_millis(250);

/// How long the tables are waited for at the end that the last samples need: on a busy machine a large one takes seconds.
const SETTLE: Duration = Duration::from_secs(5);

/// What ends it. Made before sampling starts, so that a signal never ends it without its file.
pub(super) struct End {
    duration: Option<Duration>,
    runtime: Runtime,
    signals: Signals,
}

impl End {
    /// After so long, or when a signal says so.
    pub(super) fn new(duration: Option<Duration>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let context = runtime.enter();
        let signals = Signals::handle()?;
        drop(context);
        Ok(Self {
            duration,
            runtime,
            signals,
        })
    }

    /// Waits for a signal that follows another one; the exit code is that of a process that it has ended.
    pub(super) fn second_signal(&mut self) -> i32 {
        let kind = self.runtime.block_on(self.signals.second());
        128 + kind.as_raw_value()
    }
}

/// The processes whose samples come first.
pub(super) struct Expected {
    pids: Vec<u32>,
    /// How long their tables are waited for.
    patience: Duration,
}

impl Expected {
    /// Those that were named, none where a command is to come, otherwise those that are at work; none either where no user stack is wanted.
    pub(super) fn of(choice: &mut Choice, has_command: bool) -> Self {
        let named = choice.selection.targets().to_vec();
        let (pids, patience) = match (choice.wants_user_frames(), named.is_empty()) {
            (true, true) if !has_command => {
                let wants = |pid| choice.selection.wants_process(pid);
                (busy(Path::new("/proc"), wants), PREPARE_BUSY)
            }
            (true, false) => (named, PREPARE),
            _ => (Vec::new(), Duration::ZERO),
        };
        Self { pids, patience }
    }
}

/// A session: what samples, and what becomes of the samples.
pub(super) struct Session {
    sampling: Sampling,
    frequency: u32,
    /// Of all windows so far.
    quality: Quality,
    processes: HashSet<u32>,
    started: Instant,
    /// What fathom had taken of the CPUs by then.
    cpu_before: Duration,
    /// When the progress line was last written.
    progress: Instant,
    /// When a process was last seen to begin.
    begun: Instant,
}

/// What a session goes by.
pub(super) struct Course {
    pub(super) choice: Choice,
    pub(super) command: Option<Command>,
    pub(super) live: Option<LiveTop>,
}

impl Session {
    pub(super) fn start(args: &Args, choice: &Choice) -> Result<Self, Failure> {
        let capacity = NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN);
        let mut identity = Identity::new("/proc", capacity);
        let identify = move |sampled| identify(&mut identity, sampled);
        let plan = Plan {
            sampler: ProfileOptions {
                frequency: args.frequency,
                tables_bytes: TABLES,
                measured: true,
                targets: choice.selection.targets().to_vec(),
                excluded: args.exclude_self.then(std::process::id),
                joined: choice.requests.is_some(),
                ..ProfileOptions::default()
            },
            interval: DRAIN,
            events: EVENTS,
            limits: limits(),
            gear: if args.no_inlines {
                Gear::Names
            } else {
                Gear::Lines
            },
        };
        let mut sampling = Sampling::load(plan, Box::new(identify))?;
        sampling.profiler.keep_frames(choice.frames);
        Ok(Self {
            sampling,
            frequency: args.frequency,
            quality: Quality::default(),
            processes: HashSet::new(),
            started: Instant::now(),
            cpu_before: Duration::ZERO,
            progress: Instant::now(),
            begun: Instant::now(),
        })
    }

    /// Gets the tables of the processes ready that are expected, then starts sampling. `false` where a signal has asked for the end meanwhile.
    pub(super) fn prepare(
        &mut self,
        expected: &Expected,
        end: &mut End,
        choice: &mut Choice,
    ) -> Result<bool, Failure> {
        let now_ns = Clock::monotonic_ns();
        for &pid in &expected.pids {
            self.sampling.profiler.expect(pid, now_ns);
        }
        let End {
            runtime, signals, ..
        } = end;
        let goes_on = runtime.block_on(async {
            let begun = Instant::now();
            let mut look = tokio::time::interval(DRAIN);
            loop {
                tokio::select! {
                    _ = signals.next() => return false,
                    _ = look.tick() => self.drain(choice),
                }
                if !self.sampling.profiler.is_making_tables() || begun.elapsed() > expected.patience
                {
                    return true;
                }
            }
        });
        self.sampling.sampler.start()?;
        // The window is that of the samples.
        self.flush();
        self.started = Instant::now();
        self.cpu_before = cpu_time();
        Ok(goes_on)
    }

    /// Drains until the time is over, the command has ended, or a signal or a key asks for the end.
    pub(super) fn run(&mut self, end: &mut End, course: &mut Course) {
        let End {
            duration,
            runtime,
            signals,
        } = end;
        let duration = *duration;
        runtime.block_on(async {
            let time = async {
                match duration {
                    Some(duration) => tokio::time::sleep(duration).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(time);
            loop {
                let pause = self.pause();
                tokio::select! {
                    () = &mut time => return,
                    _ = signals.next() => return,
                    () = tokio::time::sleep(pause) => self.drain(&mut course.choice),
                }
                let is_over = match &mut course.live {
                    Some(live) => self.show_live(live),
                    None => {
                        self.show_progress(duration);
                        false
                    }
                };
                if is_over || course.command.as_mut().is_some_and(Command::has_ended) {
                    return;
                }
            }
        });
    }

    fn drain(&mut self, choice: &mut Choice) {
        let begun = &mut self.begun;
        self.sampling.drain(|profiler, item| {
            if let Item::Event(_, Event::Exec { .. }) = &item {
                *begun = Instant::now();
            }
            choice.take(profiler, item);
        });
    }

    /// How long to wait for the next look at the rings.
    fn pause(&self) -> Duration {
        if self.begun.elapsed() < RESTLESS {
            DRAIN_SOON
        } else {
            DRAIN
        }
    }

    /// Shows the next frame if it is due; whether it is the last.
    fn show_live(&mut self, live: &mut LiveTop) -> bool {
        if live.is_left() {
            return true;
        }
        if live.is_due() {
            live.name(self.sampling.profiler.end_window(Clock::monotonic_ns()));
        }
        let Some(profiles) = live.named() else {
            return false;
        };
        self.count(&profiles);
        let account = format!("{} samples, {} lost", self.quality.samples, self.lost());
        // A reader that has seen enough ends it.
        live.show(&profiles, &account).is_err()
    }

    /// What names stacks on another thread.
    pub(super) fn namer(&self) -> Namer {
        self.sampling.profiler.namer()
    }

    /// Ends a window.
    fn flush(&mut self) -> Vec<Profile> {
        let profiles = self.sampling.profiler.flush(Clock::monotonic_ns());
        self.count(&profiles);
        profiles
    }

    fn count(&mut self, profiles: &[Profile]) {
        for profile in profiles {
            self.quality += profile.quality;
            self.processes.insert(profile.process.pid);
        }
    }

    fn lost(&self) -> u64 {
        let counts = self.sampling.profiler.counts();
        let counters = &self.sampling.sampler.counters;
        let ring_full = counters.get(ProfileCounter::SampleRingFull);
        counts.all() - counts.of(RecordOutcome::Delivered) + ring_full
    }

    fn show_progress(&mut self, duration: Option<Duration>) {
        if self.progress.elapsed() >= PROGRESS && io::stderr().is_terminal() {
            self.progress = Instant::now();
            let of = duration.map_or_else(String::new, |duration| {
                format!(" of {:.1}", duration.as_secs_f64())
            });
            // Without a terminal that can be written to it goes on.
            let _ = write!(
                io::stderr(),
                "\r{:5.1}{of} s, {} samples ",
                self.started.elapsed().as_secs_f64(),
                self.sampling.profiler.counts().of(RecordOutcome::Delivered)
            );
        }
    }

    pub(super) fn finish(mut self, course: &mut Course) -> Result<Finished, Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = CpuTime {
            before: self.cpu_before,
            sampling: cpu_time().saturating_sub(self.cpu_before),
        };
        let ticks = self.sampling.sampler.ticks.as_ref();
        let busy = ticks.map_or_else(Busy::default, Ticks::busy);
        let programs = self.sampling.sampler.run_time();
        let choice = &mut course.choice;
        self.sampling
            .finish(SETTLE, |profiler, item| choice.take(profiler, item))?;
        // The terminal is given back before anything else is said on it.
        let live = course.live.take();
        let was_live = live.is_some();
        if let Some(profiles) = live.and_then(LiveTop::finish) {
            self.count(&profiles);
        }
        if io::stderr().is_terminal() && !was_live {
            say!();
        }
        let served = choice.requests.take().map(Requests::finish);
        if let Some(served) = &served {
            self.sampling.profiler.retain(|exchange| {
                exchange.is_some_and(|exchange| served.requests.contains_key(exchange))
            });
        }
        let profiles = self.flush();
        Ok(Finished {
            profiles,
            quality: self.quality,
            processes: self.processes.len(),
            seconds,
            cpu,
            programs,
            frequency: self.frequency,
            cpus: self.sampling.sampler.cpus,
            undecided: choice.selection.undecided,
            frames: choice.frames,
            frameless: self.sampling.profiler.frameless(),
            served: served.unwrap_or_default(),
            lost: self.lost(),
            busy,
            events_lost: self.sampling.feed.lost(),
        })
    }
}

/// CPU time of fathom's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTime {
    /// Before samples were taken.
    pub(super) before: Duration,
    /// While they were.
    pub(super) sampling: Duration,
}

/// The CPU time of this process so far. Not by clock ticks of 10 ms, which are long beside a short session.
pub(super) fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// What came of a session.
pub(super) struct Finished {
    /// Those of the last window, which is the only one but for `--top`.
    pub(super) profiles: Vec<Profile>,
    /// How many processes were sampled.
    pub(super) processes: usize,
    pub(super) quality: Quality,
    pub(super) seconds: f64,
    /// What fathom has taken of the CPUs by the end of these seconds.
    pub(super) cpu: CpuTime,
    /// How long the kernel's program ran, and how often.
    pub(super) programs: Option<(Duration, u64)>,
    pub(super) frequency: u32,
    pub(super) cpus: usize,
    /// Samples of processes that were gone before it was known whether they are wanted.
    pub(super) undecided: u64,
    /// Whose frames were wanted.
    pub(super) frames: Frames,
    /// Samples that had none of them.
    pub(super) frameless: u64,
    /// The requests that samples were taken for, where that was asked.
    pub(super) served: Served,
    pub(super) lost: u64,
    /// The clock's ticks on CPUs at work.
    pub(super) busy: Busy,
    /// Records of what happened to processes that the kernel had no room for.
    pub(super) events_lost: u64,
}

/// How many files a session may hold open, of as many as a process may have: the sampler takes some on each CPU, and reading `/proc` and debug files takes others.
fn files(limit: u64, cpus: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (limit.saturating_sub(4 * cpus) / 2).clamp(128, 4096)
}

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn files_leave_descriptors_for_all_else() {
        assert_eq!(files(1024, 2), 508);
        assert_eq!(files(1024, 192), 128);
        assert_eq!(files(1 << 20, 192), 4096);
        assert_eq!(files(u64::MAX, 2), 4096);
    }
}

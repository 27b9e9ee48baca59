//! The stop between the ring buffer and the exporters.

use std::{fmt, io, sync::Arc, time::Duration};

use fathom_symbolizer::{Gear, Options, Symbolizer};

use super::{
    backtraces::{Backtrace, Backtraces},
    counts::{Counts, Outcome},
    files::Files,
    frames::Frames,
    lookups::LookupCounts,
    model::Profile,
    namer::{Namer, Window},
    record::Sample,
    spaces::Spaces,
    stacks::{Added, Stacks},
    tables::{self, FileTables, Maps},
};
use crate::{identity::Process, l7::exchange::ExchangeKey, probes::mappings::Event};

/// How many processes' compilers are asked each time that samples were taken: what one has written may be some megabytes.
const COMPILERS_AT_ONCE: usize = 4;

/// Says which process a sample is of.
pub type Identify = Box<dyn FnMut(Sampled) -> Arc<Process> + Send>;

/// Whom a sample is of.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// The process.
    pub tgid: u32,
    /// The thread's name, padded with zeros: all that is known where the process is gone by now.
    pub comm: [u8; 16],
    /// Whether it was seen as another program a while ago, before an exec or under a number that is used again: what is known of the number is of that one.
    pub is_another: bool,
}

/// What a profiler may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a window's stacks. A stack that no longer fits is counted as [`Outcome::StacksFull`].
    pub stacks: usize,
    /// Bytes of symbols, of files and of the kernel. What has to go is read again when it is needed.
    pub symbols: usize,
    /// Files that are open at the same time. A file beyond them has no names.
    pub files: usize,
    /// Bytes of what is known of processes' mappings.
    pub spaces: usize,
    /// Bytes of samples that wait for an unwind table. One that has no room ends where the kernel's program stopped.
    pub waiting: usize,
    /// The largest section of a file, in bytes, that an unwind table is made of.
    pub section: usize,
}

impl Default for Limits {
    /// For an agent of 64 MiB in all.
    fn default() -> Self {
        Self {
            stacks: 4 << 20,
            symbols: 12 << 20,
            files: 512,
            spaces: 2 << 20,
            waiting: 2 << 20,
            section: 16 << 20,
        }
    }
}

/// Takes samples, and gives a profile for each process when a window ends.
pub struct Profiler {
    period_ns: u64,
    window_start_ns: u64,
    limits: Limits,
    symbolizer: Arc<Symbolizer>,
    lookups: Arc<LookupCounts>,
    backtraces: Backtraces,
    /// Those that are to be counted; here so that it is not allocated each time.
    ready: Vec<Backtrace>,
    stacks: Stacks,
    frames: Frames,
    /// Samples that had none of the frames that are wanted.
    frameless: u64,
    gear: Gear,
    namer: Namer,
    /// Processes whose compilers are to be asked, each with an address of theirs, as long as they live.
    compiled: Vec<(u32, u64)>,
    identify: Identify,
    counts: Arc<Counts>,
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
    /// `gear` says how much of each address goes into a profile: with [`Gear::Lines`] inlined functions, files and lines, too.
    pub fn new(
        period_ns: u64,
        now_ns: u64,
        limits: Limits,
        gear: Gear,
        identify: Identify,
    ) -> Self {
        let mut options = Options::default();
        options.memory = limits.symbols;
        options.files = limits.files;
        let symbolizer = Arc::new(Symbolizer::new(options));
        let lookups = Arc::default();
        let namer = Namer::new(Arc::clone(&symbolizer), gear, Arc::clone(&lookups));
        Self {
            period_ns,
            window_start_ns: now_ns,
            limits,
            backtraces: backtraces(&symbolizer, None, limits, &lookups),
            lookups,
            ready: Vec::new(),
            stacks: Stacks::new(limits.stacks),
            frames: Frames::All,
            frameless: 0,
            gear,
            namer,
            compiled: Vec::new(),
            symbolizer,
            identify,
            counts: Arc::default(),
        }
    }

    /// The same, which unwinds stacks by the tables of the files that they lead through. They are kept in `maps`, where the kernel's program finds them.
    ///
    /// # Errors
    /// When the thread that makes tables can't be started.
    pub fn with_tables(mut self, maps: impl Into<Box<dyn Maps>>) -> io::Result<Self> {
        let tables = FileTables::new(maps.into(), self.limits.section)?;
        self.backtraces = backtraces(&self.symbolizer, Some(tables), self.limits, &self.lookups);
        Ok(self)
    }

    /// From now on only these frames go into profiles.
    pub fn keep_frames(&mut self, frames: Frames) {
        self.frames = frames;
    }

    /// Samples that are left out as they had no frame that was wanted ([`Self::keep_frames`]). They are not among [`Self::counts`].
    pub fn frameless(&self) -> u64 {
        self.frameless
    }

    /// What came of the records so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// What names this profiler's windows ([`Self::end_window`]) on another thread.
    pub fn namer(&self) -> Namer {
        let symbolizer = Arc::clone(&self.symbolizer);
        Namer::new(symbolizer, self.gear, self.lookups())
    }

    /// Counts a record that could not be taken apart.
    pub fn malformed(&self) {
        self.counts.add(Outcome::Malformed);
    }

    /// Takes in what happened to a process. Events and samples are to come in the order of their times ([`super::Feed`]).
    pub fn event(&mut self, at_ns: u64, event: &Event<'_>) {
        self.backtraces.event(at_ns, event);
    }

    /// Has the tables made of all that a process has mapped now, before it is sampled: then no stack of it is cut for want of one. [`Self::tick`] takes them in.
    pub fn expect(&mut self, pid: u32, now_ns: u64) {
        self.backtraces.expect(pid, now_ns);
    }

    /// Whether tables are being made.
    pub fn is_making_tables(&self) -> bool {
        self.backtraces.is_making_tables()
    }

    /// Takes one sample. It may have to wait for a table before it is counted.
    pub fn sample(&mut self, mut sample: Sample) {
        if !self.frames.trim(&mut sample) {
            self.frameless += 1;
            return;
        }
        self.backtraces.sample(sample, &mut self.ready);
        self.count_ready();
    }

    /// Goes on with the samples whose tables are there now, and tells the kernel's program what became known. To be called after each time that samples were
    /// taken.
    pub fn tick(&mut self, now_ns: u64) {
        self.backtraces.tick(now_ns, &mut self.ready);
        self.count_ready();
        self.ask_compilers();
    }

    /// Waits for the tables that samples wait for, but no longer than `timeout`, so that the next [`Self::flush`] has all samples that were taken.
    pub fn settle(&mut self, now_ns: u64, timeout: Duration) {
        self.backtraces.finish(now_ns, timeout, &mut self.ready);
        self.count_ready();
    }

    fn count_ready(&mut self) {
        for mut backtrace in self.ready.drain(..) {
            if !self.frames.keep(&mut backtrace) {
                self.frameless += 1;
                continue;
            }
            let (pid, at_ns) = (backtrace.sample.tgid, backtrace.sample.at_ns);
            let backtraces = &mut self.backtraces;
            let open = |region: &_| backtraces.module(pid, region, at_ns);
            let outcome = match self.stacks.add(backtrace, open, &mut self.identify) {
                Ok(Added { compiled }) => {
                    self.compiled.extend(compiled.map(|address| (pid, address)));
                    Outcome::Delivered
                }
                Err(_) => Outcome::StacksFull,
            };
            self.counts.add(outcome);
        }
    }

    /// Has the files opened in which compilers of sampled processes say what they made: they are out of reach once their process has ended, which may be before its
    /// window does. A few at a time, as samples wait meanwhile; of those that end before it is their turn, the functions have no names, which their stacks'
    /// quality says.
    fn ask_compilers(&mut self) {
        let few = self.compiled.len().min(COMPILERS_AT_ONCE);
        for (pid, address) in self.compiled.drain(..few) {
            let asked = self
                .symbolizer
                .symbolize_process(pid, self.gear, &[address]);
            if let Err(error) = asked {
                tracing::debug!(pid, %error, "a process's compilers can't be asked");
            }
        }
    }

    /// What came of looking for processes' mappings and for files.
    pub fn lookups(&self) -> Arc<LookupCounts> {
        Arc::clone(&self.lookups)
    }

    /// What came of the unwind tables of files; none without [`Self::with_tables`].
    pub fn table_counts(&self) -> Option<Arc<tables::Counts>> {
        self.backtraces.table_counts()
    }

    /// Samples that wait for a table.
    pub fn waiting(&self) -> u64 {
        self.backtraces.waiting()
    }

    /// Leaves out what ran for exchanges that are not to be kept, or for none.
    pub fn retain(&mut self, keep: impl FnMut(Option<&ExchangeKey>) -> bool) {
        self.stacks.retain(keep);
    }

    /// Ends the window at `now_ns` and starts the next: one profile for each process that was seen, by its number. Samples that wait are of the next one.
    pub fn flush(&mut self, now_ns: u64) -> Vec<Profile> {
        let window = self.end_window(now_ns);
        let mut profiles = Vec::new();
        self.namer.name(window, |profile| profiles.push(profile));
        profiles
    }

    /// As [`Self::flush`], without names, for a [`Self::namer`]. What is left of it there leaves the next window less room ([`Limits::stacks`]).
    pub fn end_window(&mut self, now_ns: u64) -> Window {
        let start_ns = std::mem::replace(&mut self.window_start_ns, now_ns);
        let window = Window {
            seen: self.stacks.take(),
            start_ns,
            duration_ns: now_ns.saturating_sub(start_ns),
            period_ns: self.period_ns,
        };
        // What the window needs stays open with it, and is closed once it is named.
        self.backtraces.close_unused(now_ns);
        window
    }
}

fn backtraces(
    symbolizer: &Arc<Symbolizer>,
    tables: Option<FileTables>,
    limits: Limits,
    counts: &Arc<LookupCounts>,
) -> Backtraces {
    let counts = || Arc::clone(counts);
    Backtraces::new(
        Spaces::new(limits.spaces, counts()),
        Files::new(Arc::clone(symbolizer), limits.files, counts()),
        tables,
        limits.waiting,
        counts(),
    )
}

#[cfg(test)]
mod tests;

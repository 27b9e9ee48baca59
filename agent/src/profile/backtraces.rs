//! Samples to user stacks that are as whole as what is known allows.
//!
//! The kernel's program unwinds what it has tables for, and where it has none it sends what is needed to go on. Here that is
//! done: the process's mappings are known ([`Spaces`]), the table is asked for ([`FileTables`]), and the sample waits for it
//! ([`Waiting`]). What was missing is then published ([`Published`]), so that the program has it the next time.

use std::{sync::Arc, time::Duration};

use fathom_abi::sample::UserEnd;
use fathom_symbolizer::{Error, Module};

use self::{
    lookup::Lookup,
    published::Published,
    waiting::{Held, Waiting},
};
use super::{
    files::{Asker, Files},
    lookups::LookupCounts,
    record::Sample,
    spaces::{Change, Region, Space, Spaces},
    stack_quality::StackQuality,
    tables::{self, FileTables},
    unwinder::{Ending, Stop},
};
use crate::probes::mappings::Event;

mod lookup;
mod published;
mod waiting;

/// How often what was not used is looked for, in nanoseconds.
const TIDY_NS: u64 = 1_000_000_000;

/// A sample and what is known of its user stack.
#[derive(Debug)]
pub(super) struct Backtrace {
    /// The sample, with all frames that were found.
    pub(super) sample: Sample,
    /// What its process had mapped; none where nothing is known of it.
    pub(super) space: Option<Arc<Space>>,
    /// How good it is.
    pub(super) quality: StackQuality,
}

/// Goes on from where the kernel's program stopped.
#[derive(Debug)]
pub(super) struct Backtraces {
    spaces: Spaces,
    files: Files,
    /// None where no program unwinds by tables.
    tables: Option<FileTables>,
    published: Published,
    waiting: Waiting,
    tidied_ns: u64,
}

impl Backtraces {
    /// With `tables` stacks are unwound by them. Samples that wait take at most `waiting` bytes.
    pub(super) fn new(
        spaces: Spaces,
        files: Files,
        tables: Option<FileTables>,
        waiting: usize,
        counts: Arc<LookupCounts>,
    ) -> Self {
        Self {
            spaces,
            files,
            tables,
            published: Published::new(counts),
            waiting: Waiting::new(waiting),
            tidied_ns: 0,
        }
    }

    /// Takes in what happened to a process. Events and samples are to come in the order of their times.
    pub(super) fn event(&mut self, at_ns: u64, event: &Event<'_>) {
        let change = self.spaces.apply(at_ns, event);
        let Some(tables) = &mut self.tables else {
            return;
        };
        match change {
            Change::Nothing => {}
            Change::Mapped(pid) => self.published.changed(pid),
            Change::Replaced(pid) | Change::Ended(pid) => {
                self.published.withdraw(pid, &mut **tables.maps());
            }
            // Who is sampled next is read again, and published.
            Change::Lost => self.published.withdraw_all(&mut **tables.maps()),
        }
    }

    /// Asks for the tables of what a process has mapped, and has it published once they are there.
    pub(super) fn expect(&mut self, pid: u32, now_ns: u64) {
        let Some(tables) = &mut self.tables else {
            return;
        };
        let Some(space) = self.spaces.of_process(pid, pid, 0, now_ns) else {
            return;
        };
        let mut lookup = Lookup {
            files: &mut self.files,
            tables,
            space: &space,
            asker: Asker {
                pid,
                relatives: &[],
                now_ns,
            },
        };
        for region in space.regions() {
            // What can't be had is found out again, and said, when a sample leads there.
            lookup.way(region.start);
        }
        self.published.wanted(pid, 0, now_ns);
    }

    /// Whether tables are being made.
    pub(super) fn is_making_tables(&self) -> bool {
        self.tables.as_ref().is_some_and(FileTables::are_under_way)
    }

    /// Takes a sample in. It is handed on to `ready` now or, if it has to wait for a table, later.
    pub(super) fn sample(&mut self, sample: Sample, ready: &mut Vec<Backtrace>) {
        let quality = StackQuality::of(sample.end);
        if matches!(quality, StackQuality::KernelOnly | StackQuality::Compat) {
            ready.push(Backtrace {
                sample,
                space: None,
                quality,
            });
            return;
        }
        let space = self
            .spaces
            .of_process(sample.tgid, sample.tid, sample.space, sample.at_ns);
        let Some(space) = space else {
            ready.push(Backtrace {
                sample,
                space: None,
                quality: StackQuality::UnknownProcess,
            });
            return;
        };
        self.touch(&sample, &space);
        if sample.end.wants_copy() {
            self.published
                .wanted(sample.tgid, sample.space, sample.at_ns);
        } else {
            self.published
                .sampled(sample.tgid, sample.space, sample.at_ns);
        }
        match Held::new(sample, space, &self.spaces) {
            Ok(held) => self.go_on(held, ready),
            Err((sample, space)) => {
                let quality = without_copy(sample.end);
                ready.push(between_programs(Backtrace {
                    sample,
                    space: Some(space),
                    quality,
                }));
            }
        }
    }

    /// Takes in the tables that were made, publishes what changed, and forgets what was not used for a while.
    pub(super) fn tick(&mut self, now_ns: u64, ready: &mut Vec<Backtrace>) {
        if let Some(tables) = &mut self.tables {
            let settled = tables.poll(now_ns);
            self.resume(&settled, ready);
        }
        if let Some(tables) = &mut self.tables {
            self.published
                .publish(&mut self.spaces, &self.files, tables, now_ns);
        }
        if now_ns.saturating_sub(self.tidied_ns) > TIDY_NS {
            self.tidied_ns = now_ns;
            self.spaces.tidy(now_ns);
            if let Some(tables) = &mut self.tables {
                tables.forget_unused(now_ns);
            }
        }
    }

    /// Waits for tables until no sample waits any more, but no longer than `timeout`; what still waits then goes as it is.
    pub(super) fn finish(&mut self, now_ns: u64, timeout: Duration, ready: &mut Vec<Backtrace>) {
        let end = std::time::Instant::now() + timeout;
        while !self.waiting.is_empty()
            && let Some(tables) = &mut self.tables
        {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let settled = tables.wait(now_ns, left);
            if settled.is_empty() {
                break;
            }
            self.resume(&settled, ready);
        }
        for held in self.waiting.take_all() {
            ready.push(held.end(StackQuality::NoTable));
        }
    }

    /// What is behind a region of a process's memory, for the names of its functions.
    pub(super) fn module(
        &mut self,
        pid: u32,
        region: &Region,
        now_ns: u64,
    ) -> Result<Module, Error> {
        let relatives = self.spaces.ancestors(pid);
        self.files.module(
            region,
            Asker {
                pid,
                relatives: &relatives,
                now_ns,
            },
        )
    }

    /// Closes the files that were not used for a while.
    pub(super) fn close_unused(&mut self, now_ns: u64) {
        self.files.close_unused(now_ns);
    }

    /// What came of the tables of files; none where nothing is unwound by them.
    pub(super) fn table_counts(&self) -> Option<Arc<tables::Counts>> {
        self.tables.as_ref().map(FileTables::counts)
    }

    /// Samples that wait for tables.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Notes which files are in use.
    fn touch(&mut self, sample: &Sample, space: &Space) {
        let Some(tables) = &mut self.tables else {
            return;
        };
        let mut before = None;
        for &frame in sample.user_frames() {
            let number = space
                .find(frame)
                .and_then(|region| self.files.table(region));
            if let Some(number) = number
                && before.replace(number) != Some(number)
            {
                tables.touch(number, sample.at_ns);
            }
        }
    }

    fn resume(&mut self, settled: &[u32], ready: &mut Vec<Backtrace>) {
        for &number in settled {
            for held in self.waiting.take(number) {
                self.go_on(held, ready);
            }
        }
        if !settled.is_empty() {
            self.published.all_changed();
        }
    }

    fn go_on(&mut self, mut held: Held, ready: &mut Vec<Backtrace>) {
        let Some(tables) = &mut self.tables else {
            let quality = without_copy(held.sample.end);
            return ready.push(held.end(quality));
        };
        let mut has_looked = false;
        loop {
            let stop = held.go_on(&mut self.files, tables);
            match stop {
                Stop::Wanted(number) => {
                    if let Some(held) = self.waiting.hold(number, held) {
                        ready.push(held.end(StackQuality::NotCopied));
                    }
                    return;
                }
                Stop::End(Ending::As(UserEnd::NoMapping)) if !has_looked => {
                    has_looked = true;
                    let sample = &held.sample;
                    let space = self
                        .spaces
                        .look_again(sample.tgid, sample.tid, sample.at_ns);
                    if let Some(space) = space {
                        held.space = space;
                        self.published.changed(held.sample.tgid);
                    }
                }
                Stop::End(Ending::As(end)) => {
                    let backtrace = held.end(StackQuality::of(end));
                    return ready.push(between_programs(backtrace));
                }
                Stop::End(Ending::CopyEnds) => return ready.push(held.end(StackQuality::CopyEnds)),
            }
        }
    }
}

/// The quality of a sample that should have come with a copy of its stack, or of one that needs none.
fn without_copy(end: UserEnd) -> StackQuality {
    if end.wants_copy() && end != UserEnd::NoMapping {
        StackQuality::NotCopied
    } else {
        StackQuality::of(end)
    }
}

/// A task that executes another program has an address of the one before, and no stack of it: it has no user part while it is in the kernel for that.
fn between_programs(mut backtrace: Backtrace) -> Backtrace {
    let sample = &mut backtrace.sample;
    let is_between = backtrace.quality == StackQuality::NoMapping
        && sample.kernel_frames > 0
        && sample.user_frames().len() == 1;
    if is_between {
        sample.frames = sample.frames[..sample.kernel_frames].into();
        backtrace.quality = StackQuality::KernelOnly;
    }
    backtrace
}

#[cfg(test)]
mod tests;

//! The unwind tables of files: made by a thread of their own, kept in the maps that the kernel's programs read, and taken out
//! by last use.
//!
//! A table is asked for when a sample first leads into its file. Files of the same build id, length and first bytes share
//! one, as those of containers of one image do.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fathom_abi::unwind::Segment;
use fathom_symbolizer::{
    Module,
    unwind::{Rule, Rules, Table},
};

use self::{
    key::Key,
    worker::{Done, Made, Worker},
};
use crate::probes::profile::tables::Error;

pub use self::counts::Counts;
pub(super) use self::counts::Failure;

mod counts;
mod key;
mod maps;
mod worker;

/// A table that was used within so many nanoseconds is not taken out for another: files that are sampled at the same time
/// would take out one another over and over.
const IN_USE_NS: u64 = 10_000_000_000;
/// A table that found no room is made again after so many nanoseconds, if it is still asked for.
const RETRY_NS: u64 = 10_000_000_000;

/// What the kernel's programs and this process unwind with ([`crate::probes::profile::tables::Tables`]), and files in it by number.
pub trait Maps: fmt::Debug + Send {
    /// See [`crate::probes::profile::tables::Tables::add_rules`].
    ///
    /// # Errors
    /// As there.
    fn add_rules(&mut self, rules: &Rules) -> Result<(), Error>;
    /// Puts the table of a file in.
    ///
    /// # Errors
    /// When there is no room.
    fn add_file(&mut self, number: u32, table: &Table) -> Result<(), Error>;
    /// Takes the table of a file out.
    fn remove_file(&mut self, number: u32);
    /// The rule that holds at an address of a file's own address space; [`Rule::None`] where there is none.
    fn find(&self, number: u32, address: u64) -> Rule;
    /// A mapping of a file whose table is here; `None` if it is not.
    fn segment(&self, number: u32, start: u64, end: u64, bias: u64) -> Option<Segment>;
    /// See [`crate::probes::profile::tables::Tables::publish`].
    ///
    /// # Errors
    /// As there.
    fn publish(&mut self, pid: u32, space: u64, segments: &[Segment]) -> Result<(), Error>;
    /// See [`crate::probes::profile::tables::Tables::withdraw`].
    fn withdraw(&mut self, pid: u32);
}

/// The maps, which the thread that makes tables fills.
pub(super) type SharedMaps = Arc<Mutex<Box<dyn Maps>>>;

/// Tables by number, whether they are there or not.
#[derive(Debug)]
pub(super) struct FileTables {
    maps: SharedMaps,
    worker: Worker,
    entries: HashMap<u32, Entry>,
    numbers: HashMap<Key, u32>,
    next: u32,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    state: State,
    used_ns: u64,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked for it yet, or it was taken out.
    Absent,
    /// It is being made.
    Making,
    /// It is in the maps, with so many rows.
    Here(u64),
    /// It can't be had; since when.
    Failed(Failure, u64),
}

/// What there is of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It is in the maps.
    Here,
    /// It is not there, but could be.
    Wanted,
    /// It can't be had.
    Failed(Failure),
}

impl FileTables {
    /// None yet. Sections of files larger than `section_limit` bytes are not read.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub(super) fn new(maps: Box<dyn Maps>, section_limit: usize) -> std::io::Result<Self> {
        let maps: SharedMaps = Arc::new(Mutex::new(maps));
        Ok(Self {
            worker: Worker::start(Arc::clone(&maps), section_limit)?,
            maps,
            entries: HashMap::new(),
            numbers: HashMap::new(),
            next: 0,
            counts: Arc::default(),
        })
    }

    /// What came of them.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// The maps themselves. A table is put into them meanwhile by nobody.
    pub(super) fn maps(&self) -> MutexGuard<'_, Box<dyn Maps>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a file's table, whether it is there or not.
    pub(super) fn number(&mut self, module: &Module) -> u32 {
        let key = Key::of(module);
        if let Some(&number) = self.numbers.get(&key) {
            self.counts.add_shared();
            return number;
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(key.clone(), number);
        let entry = Entry {
            key,
            state: State::Absent,
            used_ns: 0,
        };
        self.entries.insert(number, entry);
        number
    }

    /// Whether a number still stands for a file: it does not once nobody was led to it for a while.
    pub(super) fn knows(&self, number: u32) -> bool {
        self.entries.contains_key(&number)
    }

    /// What there is of a table.
    pub(super) fn availability(&self, number: u32, now_ns: u64) -> Availability {
        match self.entries.get(&number).map(|entry| &entry.state) {
            Some(State::Here(_)) => Availability::Here,
            Some(State::Failed(Failure::NoRoom, since_ns))
                if now_ns.saturating_sub(*since_ns) > RETRY_NS =>
            {
                Availability::Wanted
            }
            Some(&State::Failed(failure, _)) => Availability::Failed(failure),
            // A number that was forgotten is asked for anew.
            Some(State::Absent | State::Making) | None => Availability::Wanted,
        }
    }

    /// Notes that a sample has led into a file.
    pub(super) fn touch(&mut self, number: u32, now_ns: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.used_ns = entry.used_ns.max(now_ns);
        }
    }

    /// Has a table made, if it is not being made; whether it will come.
    pub(super) fn request(&mut self, number: u32, module: &Module, now_ns: u64) -> bool {
        let is_wanted = self.availability(number, now_ns) == Availability::Wanted;
        let Some(entry) = self.entries.get_mut(&number) else {
            return false;
        };
        entry.used_ns = entry.used_ns.max(now_ns);
        match entry.state {
            State::Making => true,
            _ if !is_wanted => false,
            _ => {
                let is_queued = self.worker.request(number, module);
                if is_queued {
                    entry.state = State::Making;
                } else {
                    self.counts.add_queue_full();
                }
                is_queued
            }
        }
    }

    /// Whether any is being made.
    pub(super) fn are_under_way(&self) -> bool {
        self.worker.is_busy()
    }

    /// Takes in what was made since; the numbers of those that are there now, or won't be.
    pub(super) fn poll(&mut self, now_ns: u64) -> Vec<u32> {
        let mut settled = Vec::new();
        while let Some(done) = self.worker.poll() {
            settled.push(done.number);
            self.settle(done, now_ns);
        }
        settled
    }

    /// As [`Self::poll`], but waits for the first one for a while, if one is being made.
    pub(super) fn wait(&mut self, now_ns: u64, timeout: Duration) -> Vec<u32> {
        let Some(done) = self.worker.wait(timeout) else {
            return Vec::new();
        };
        let mut settled = vec![done.number];
        self.settle(done, now_ns);
        settled.extend(self.poll(now_ns));
        settled
    }

    fn settle(&mut self, done: Done, now_ns: u64) {
        let number = done.number;
        let state = match done.made {
            Made::Here(rows) => {
                self.counts.add_converted();
                State::Here(rows)
            }
            Made::NoRoom(table) => self.make_room(number, table, now_ns),
            Made::Failed(failure) => {
                self.counts.add_failed(failure);
                State::Failed(failure, now_ns)
            }
        };
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.state = state;
        }
    }

    /// Takes out what was not used for longest until a table has room.
    fn make_room(&mut self, number: u32, table: Table, now_ns: u64) -> State {
        let rows: u64 = table.pages().map(|page| page.rows.len() as u64).sum();
        let mut unused: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(&number, entry)| match entry.state {
                State::Here(rows) if now_ns.saturating_sub(entry.used_ns) > IN_USE_NS => {
                    Some((entry.used_ns, number, rows))
                }
                _ => None,
            })
            .collect();
        unused.sort_unstable();
        let mut unused = unused.into_iter().peekable();
        // What is free may lie in gaps that are too small: then again as much has to go.
        while unused.peek().is_some() {
            let mut freed = 0;
            for (_, other, its_rows) in unused.by_ref() {
                self.maps().remove_file(other);
                if let Some(entry) = self.entries.get_mut(&other) {
                    entry.state = State::Absent;
                }
                self.counts.add_evicted();
                freed += its_rows;
                if freed > rows {
                    break;
                }
            }
            let added = self.maps().add_file(number, &table);
            if added.is_ok() {
                self.counts.add_converted();
                return State::Here(rows);
            }
        }
        self.counts.add_failed(Failure::NoRoom);
        State::Failed(Failure::NoRoom, now_ns)
    }

    /// Forgets files that nobody was led to for a minute and whose tables are not there.
    pub(super) fn forget_unused(&mut self, now_ns: u64) {
        const UNUSED_NS: u64 = 60_000_000_000;
        let numbers = &mut self.numbers;
        self.entries.retain(|_, entry| {
            let is_used = now_ns.saturating_sub(entry.used_ns) < UNUSED_NS;
            let is_kept = is_used || matches!(entry.state, State::Here(_) | State::Making);
            if !is_kept {
                numbers.remove(&entry.key);
            }
            is_kept
        });
    }
}

#[cfg(test)]
pub(super) mod tests;

//! What each process has mapped to run, from the kernel's word on it.
//!
//! [`Spaces`] follows the events of [`crate::probes::mappings`] in the order of their times: a fork shares its parent's
//! space, an exec begins an empty one, and what is mapped later covers what was mapped before, as nobody says what is
//! unmapped. A process that no event told of, as it was there before, is read from /proc when it is first asked for, or
//! when it forks. A process that ended is kept for a moment, for what still has to be done with its samples.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    sync::Arc,
};

use fathom_symbolizer::parse_mappings;

pub(super) use self::{
    files::{KnownFiles, MappedFile},
    space::{Backing, Region, Space},
};
use super::lookups::{Lookup, LookupCounts};
use crate::probes::mappings::Event;

mod files;
mod space;

/// How long a process that ended is kept, in nanoseconds.
const KEPT_NS: u64 = 2_000_000_000;
/// How many that ended are kept at most.
const MAX_ENDED: usize = 1024;
/// How far the processes that one descends from are followed.
const MAX_ANCESTORS: usize = 4;
/// A process is not read again from /proc before so many nanoseconds are over.
const REREAD_NS: u64 = 200_000_000;

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that is known here.
    Nothing,
    /// Something was mapped in a process.
    Mapped(u32),
    /// A process has another program, or is another one with the same number.
    Replaced(u32),
    /// A process ended.
    Ended(u32),
    /// Events were lost: what is known of any process may be old.
    Lost,
}

/// The address spaces of all processes.
#[derive(Debug)]
pub(super) struct Spaces {
    living: HashMap<u32, Process>,
    ended: HashMap<u32, Process>,
    /// Those that ended, the first one first; one that lives again is still listed.
    order: VecDeque<(u64, u32)>,
    files: KnownFiles,
    /// Processes that were last read before this number of losses may have mapped what nobody told.
    losses: u32,
    limit: usize,
    counts: Arc<LookupCounts>,
}

#[derive(Debug, Clone)]
struct Process {
    space: Arc<Space>,
    /// The kernel's name of the address space, once a sample has said it; else 0.
    id: u64,
    /// The process that it was forked from; 0 where that is not known.
    parent: u32,
    /// Events before this time are in it already.
    read_ns: u64,
    /// When it was last read from /proc.
    looked_ns: u64,
    /// When it was last asked for or changed.
    used_ns: u64,
    losses: u32,
}

impl Spaces {
    /// Nothing is known yet. It takes about `limit` bytes at most, files not counted, once [`Self::tidy`] is done.
    pub(super) fn new(limit: usize, counts: Arc<LookupCounts>) -> Self {
        Self {
            living: HashMap::new(),
            ended: HashMap::new(),
            order: VecDeque::new(),
            files: KnownFiles::default(),
            losses: 0,
            limit,
            counts,
        }
    }

    /// Takes an event in, which are to come in the order of their times.
    pub(super) fn apply(&mut self, at_ns: u64, event: &Event<'_>) -> Change {
        match event {
            Event::Mapped(mapped) => {
                let Some(end) = mapped.address.checked_add(mapped.length) else {
                    return Change::Nothing;
                };
                if !self.is_news(mapped.pid, at_ns) {
                    return Change::Nothing;
                }
                let region = Region {
                    start: mapped.address,
                    end,
                    offset: mapped.file_offset,
                    backing: Backing::File(self.files.mapped(mapped)),
                };
                self.map(mapped.pid, at_ns, region)
            }
            Event::Code(code) => {
                let Some(end) = code.address.checked_add(code.length) else {
                    return Change::Nothing;
                };
                if !self.is_news(code.pid, at_ns) {
                    return Change::Nothing;
                }
                let backing = if code.is_vdso {
                    Backing::Vdso
                } else {
                    Backing::Anonymous
                };
                let region = Region {
                    start: code.address,
                    end,
                    offset: 0,
                    backing,
                };
                self.map(code.pid, at_ns, region)
            }
            &Event::Exec { pid, .. } => {
                if self.living.contains_key(&pid) && !self.is_news(pid, at_ns) {
                    return Change::Nothing;
                }
                let parent = self.parent(pid);
                self.begin(pid, parent, at_ns, Arc::default());
                Change::Replaced(pid)
            }
            &Event::Forked { pid, parent } => {
                let space = self.of_process(parent, parent, 0, at_ns);
                // Where its parent is gone, it is read when it is asked for.
                match space {
                    Some(space) => self.begin(pid, parent, at_ns, space),
                    None => drop(self.living.remove(&pid)),
                }
                self.ended.remove(&pid);
                Change::Replaced(pid)
            }
            &Event::Exited { pid } => {
                let Some(process) = self.living.remove(&pid) else {
                    return Change::Nothing;
                };
                self.order.push_back((at_ns, pid));
                self.ended.insert(pid, process);
                Change::Ended(pid)
            }
            Event::Lost(_) => {
                self.losses = self.losses.wrapping_add(1);
                Change::Lost
            }
        }
    }

    /// What a process has mapped, by its number and that of one of its threads: the first one may have ended, and then only
    /// the others can be asked. `id` is the kernel's name of the address space, or 0: where it is another one than before,
    /// the process executed another program and the event was lost. None where nothing is known of it and it is gone.
    pub(super) fn of_process(
        &mut self,
        pid: u32,
        tid: u32,
        id: u64,
        now_ns: u64,
    ) -> Option<Arc<Space>> {
        let losses = self.losses;
        if let Some(process) = self.living.get_mut(&pid) {
            process.used_ns = now_ns;
            if process.id == 0 {
                process.id = id;
            }
            let is_same = id == 0 || process.id == id;
            if is_same && process.losses == losses {
                return Some(Arc::clone(&process.space));
            }
            let known = is_same.then(|| Arc::clone(&process.space));
            return self.read(pid, tid, id, now_ns).or(known);
        }
        if let Some(process) = self.ended.get(&pid)
            && (id == 0 || process.id == 0 || process.id == id)
        {
            return Some(Arc::clone(&process.space));
        }
        self.read(pid, tid, id, now_ns)
    }

    /// What is known of a process, without asking anybody.
    pub(super) fn known(&self, pid: u32) -> Option<Arc<Space>> {
        let process = self.living.get(&pid)?;
        Some(Arc::clone(&process.space))
    }

    /// The process's parent, that one's, and so on, as far as they are known.
    pub(super) fn ancestors(&self, pid: u32) -> Vec<u32> {
        let mut ancestors = Vec::new();
        let mut parent = self.parent(pid);
        while parent != 0 && ancestors.len() < MAX_ANCESTORS {
            ancestors.push(parent);
            parent = self.parent(parent);
        }
        ancestors
    }

    fn parent(&self, pid: u32) -> u32 {
        let process = self.living.get(&pid).or_else(|| self.ended.get(&pid));
        process.map_or(0, |process| process.parent)
    }

    /// As [`Self::of_process`], where code runs outside of what is known: what was moved (mremap(2)) is seen only by reading
    /// the process again. That is done at most five times a second.
    pub(super) fn look_again(&mut self, pid: u32, tid: u32, now_ns: u64) -> Option<Arc<Space>> {
        let process = self.living.get(&pid)?;
        if now_ns.saturating_sub(process.looked_ns) < REREAD_NS {
            return None;
        }
        self.read(pid, tid, process.id, now_ns)
    }

    /// Forgets those that ended a while ago and, where it is too much, the processes that nobody asked for the longest.
    pub(super) fn tidy(&mut self, now_ns: u64) {
        while let Some(&(ended_ns, pid)) = self.order.front() {
            let is_old = now_ns.saturating_sub(ended_ns) > KEPT_NS;
            if !is_old && self.order.len() <= MAX_ENDED {
                break;
            }
            self.order.pop_front();
            // It may have ended a second time since, under the same number.
            if !self.order.iter().any(|&(_, other)| other == pid) {
                self.ended.remove(&pid);
            }
        }
        let bytes = self.bytes();
        if bytes > self.limit {
            let mut by_use: Vec<_> = self
                .living
                .iter()
                .map(|(&pid, p)| (p.used_ns, pid))
                .collect();
            by_use.sort_unstable();
            // A tenth less than what there may be, so that this is not done over and over.
            let mut over = bytes - self.limit + self.limit / 10;
            for (_, pid) in by_use {
                let Some(process) = self.living.remove(&pid) else {
                    continue;
                };
                self.counts.add(Lookup::ProcessForgotten);
                over = over.saturating_sub(process.bytes());
                if over == 0 {
                    break;
                }
            }
        }
        self.files.tidy();
    }

    /// Bytes of memory, roughly; a space that processes share counts for each of them.
    pub(super) fn bytes(&self) -> usize {
        let processes = self.living.values().chain(self.ended.values());
        processes.map(Process::bytes).sum::<usize>() + self.order.len() * size_of::<(u64, u32)>()
    }

    /// Whether an event tells what is not known yet of a process that something is known of.
    fn is_news(&self, pid: u32, at_ns: u64) -> bool {
        let process = self.living.get(&pid);
        process.is_some_and(|process| at_ns >= process.read_ns)
    }

    fn map(&mut self, pid: u32, at_ns: u64, region: Region) -> Change {
        let Some(process) = self.living.get_mut(&pid) else {
            return Change::Nothing;
        };
        process.used_ns = at_ns;
        if Arc::make_mut(&mut process.space).map(region) {
            Change::Mapped(pid)
        } else {
            self.counts.add(Lookup::RegionsFull);
            Change::Nothing
        }
    }

    fn begin(&mut self, pid: u32, parent: u32, at_ns: u64, space: Arc<Space>) {
        let process = Process {
            space,
            id: 0,
            parent,
            read_ns: at_ns,
            looked_ns: 0,
            used_ns: at_ns,
            losses: self.losses,
        };
        self.living.insert(pid, process);
    }

    fn read(&mut self, pid: u32, tid: u32, id: u64, now_ns: u64) -> Option<Arc<Space>> {
        let text = maps(pid, tid).unwrap_or_default();
        let mappings = parse_mappings(&text);
        // A process whose memory is gone already reads as one without any, and so does a kernel thread.
        if mappings.is_empty() {
            self.counts.add(Lookup::ProcessUnreadable);
            return None;
        }
        let mut space = Space::default();
        for mapping in mappings.iter().filter(|mapping| mapping.executable) {
            if !space.map(self.files.region(mapping)) {
                self.counts.add(Lookup::RegionsFull);
            }
        }
        self.counts.add(Lookup::ProcessRead);
        let space = Arc::new(space);
        let parent = self.parent(pid);
        self.begin(pid, parent, now_ns, Arc::clone(&space));
        if let Some(process) = self.living.get_mut(&pid) {
            process.id = id;
            process.looked_ns = now_ns;
        }
        Some(space)
    }
}

impl Process {
    fn bytes(&self) -> usize {
        // A key, and the table's own bytes.
        size_of::<Self>() + 8 + self.space.bytes()
    }
}

/// The text of `/proc/PID/maps`. Where a process's first thread has ended, only that of another thread has any.
fn maps(pid: u32, tid: u32) -> io::Result<Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/maps"))?;
    if text.is_empty() && tid != pid {
        return fs::read(format!("/proc/{pid}/task/{tid}/maps"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;

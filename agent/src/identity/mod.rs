//! Whose a signal is: process ids to processes, services and containers, by way of `/proc`.

pub mod container;
mod environ;
mod far;
pub mod peers;
mod process;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use lru::LruCache;

pub use far::{FarEnd, FarEnds};
pub use peers::{Peer, Peers};
pub use process::Process;

/// An entry older than this is compared with the process that has its number now.
const TRUST_NS: u64 = 2_000_000_000;

/// Entries that one sweep compares.
const SWEPT: usize = 16;

/// Looks processes up, once each: a process number costs a hash look-up for each record, and a look at `/proc/PID/stat`
/// every other second, so that a number that was used again is noticed.
///
/// What was seen of a process that is gone by now is kept as long as the cache has room.
pub struct Identity {
    proc: PathBuf,
    cache: LruCache<u32, Entry>,
    /// What the kernel said of processes, for those that are gone before anybody looks.
    names: LruCache<u32, [u8; 16]>,
    /// How far the sweep over the cache has come.
    swept: usize,
    unknown: u64,
}

/// Names that are kept: those of processes that connect and end within the time that records wait in their ring.
const NAMES: NonZeroUsize = NonZeroUsize::new(512).unwrap();

struct Entry {
    process: Arc<Process>,
    checked_ns: u64,
    /// When it was first seen to be gone.
    gone_ns: Option<u64>,
}

impl Identity {
    /// Looks in `proc`, which must be the procfs of the initial pid namespace (`/proc` on the host, `/host/proc` or its like in a
    /// container without the host's pid namespace).
    pub fn new(proc: impl Into<PathBuf>, capacity: NonZeroUsize) -> Self {
        Self {
            proc: proc.into(),
            cache: LruCache::new(capacity),
            names: LruCache::new(NAMES),
            swept: 0,
            unknown: 0,
        }
    }

    /// Notes the name that the kernel saw a process have (`comm`, padded with zeros). It stands in for the service's name should
    /// the process be gone before it is looked up.
    pub fn name(&mut self, tgid: u32, comm: [u8; 16]) {
        if comm[0] != 0 && !self.cache.contains(&tgid) {
            self.names.put(tgid, comm);
        }
    }

    /// The same of a process that was alive at `alive_ns`, or later: where the one that had its number was seen to be gone before, it is another. (A name
    /// that differs is no proof: it is a thread's.)
    pub fn name_alive(&mut self, tgid: u32, comm: [u8; 16], alive_ns: u64) {
        let gone_ns = self.cache.peek(&tgid).and_then(|entry| entry.gone_ns);
        // Who looks says when by a clock of before the look.
        let is_another = gone_ns.is_some_and(|gone_ns| alive_ns > gone_ns.saturating_add(TRUST_NS));
        if is_another && comm[0] != 0 {
            self.cache.pop(&tgid);
        }
        self.name(tgid, comm);
    }

    /// Looks which processes are gone, a few at a time: of those that nobody asks for it is known then, too, before their number is used again. To be
    /// called once a second.
    pub fn sweep(&mut self, now_ns: u64) {
        let entries = self.cache.iter_mut().skip(self.swept).take(SWEPT);
        for (_, entry) in entries.filter(|(_, entry)| entry.gone_ns.is_none()) {
            if process::is_gone(&self.proc, &entry.process) {
                entry.gone_ns = Some(now_ns);
            }
        }
        self.swept += SWEPT;
        if self.swept >= self.cache.len() {
            self.swept = 0;
        }
    }

    /// The process with this number is compared when it is next asked for: it is known to have executed another program, or to be another one.
    pub fn distrust(&mut self, tgid: u32) {
        if let Some(entry) = self.cache.peek_mut(&tgid) {
            entry.checked_ns = 0;
        }
    }

    /// The process with this number now, or the one that had it when it was last seen; one of which nothing is known but its
    /// number where [`Identity::known`] has none.
    pub fn process(&mut self, tgid: u32, now_ns: u64) -> Arc<Process> {
        self.known(tgid, now_ns).unwrap_or_else(|| {
            self.unknown += 1;
            Process::unknown(tgid)
        })
    }

    /// The same, where anything is known of it: it is alive, or was looked up while it was, or the kernel said its name.
    pub fn known(&mut self, tgid: u32, now_ns: u64) -> Option<Arc<Process>> {
        if let Some(entry) = self.cache.get_mut(&tgid) {
            if now_ns.saturating_sub(entry.checked_ns) < TRUST_NS {
                return Some(Arc::clone(&entry.process));
            }
            entry.checked_ns = now_ns;
            if process::is_same(&self.proc, &entry.process) {
                return Some(Arc::clone(&entry.process));
            }
        }
        let (process, gone_ns) = match Process::read(&self.proc, tgid) {
            Some(process) => (Arc::new(process), None),
            // Gone. What was seen of it, if anything, is the best that is known.
            None => match self.cache.get_mut(&tgid) {
                Some(entry) => {
                    entry.gone_ns.get_or_insert(now_ns);
                    return Some(Arc::clone(&entry.process));
                }
                None => {
                    let process = Process::gone(tgid, self.names.get(&tgid)?);
                    (Arc::new(process), Some(now_ns))
                }
            },
        };
        self.cache.put(
            tgid,
            Entry {
                process: Arc::clone(&process),
                checked_ns: now_ns,
                gone_ns,
            },
        );
        Some(process)
    }

    /// Look-ups of processes that were gone before anything was seen of them.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}

#[cfg(test)]
mod tests;

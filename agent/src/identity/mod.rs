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

/// Looks processes up, once each: a process number costs a hash look-up for each record, and a look at `/proc/PID/stat`
/// every other second, so that a number that was used again is noticed.
///
/// What was seen of a process that is gone by now is kept as long as the cache has room.
pub struct Identity {
    proc: PathBuf,
    cache: LruCache<u32, Entry>,
    /// What the kernel said of processes, for those that are gone before anybody looks.
    names: LruCache<u32, [u8; 16]>,
    unknown: u64,
}

/// Names that are kept: those of processes that connect and end within the time that records wait in their ring.
const NAMES: NonZeroUsize = NonZeroUsize::new(512).unwrap();

struct Entry {
    process: Arc<Process>,
    checked_ns: u64,
}

impl Identity {
    /// Looks in `proc`, which must be the procfs of the initial pid namespace (`/proc` on the host, `/host/proc` or its like in a
    /// container without the host's pid namespace).
    pub fn new(proc: impl Into<PathBuf>, capacity: NonZeroUsize) -> Self {
        Self {
            proc: proc.into(),
            cache: LruCache::new(capacity),
            names: LruCache::new(NAMES),
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
        let process = match Process::read(&self.proc, tgid) {
            Some(process) => Arc::new(process),
            // Gone. What was seen of it, if anything, is the best that is known.
            None => match self.cache.get(&tgid) {
                Some(entry) => return Some(Arc::clone(&entry.process)),
                None => Arc::new(Process::gone(tgid, self.names.get(&tgid)?)),
            },
        };
        self.cache.put(
            tgid,
            Entry {
                process: Arc::clone(&process),
                checked_ns: now_ns,
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

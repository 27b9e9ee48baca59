//! Which processes serve their requests on goroutines, so that a sample names the request of its goroutine and not of its thread.
//!
//! The kernel's programs note who has received a request: a thread, or, in the processes that are told to them, a goroutine. What they noted of a Go program before it was
//! told is worth nothing, as goroutines change threads (between the two, 22 of 100 samples of a Go server named another request than their own).

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use lru::LruCache;
use tracing::debug;

use super::{
    Clock,
    parents::runtime::{self, Runtime},
};
use crate::{
    identity::Process,
    l7::exchange::{Side, Started},
    probes::net::GoProcesses,
};

/// Processes that are remembered: as many as the kernel's list has room for.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(GoProcesses::CAPACITY as usize).unwrap();

/// The processes that serve requests, and how.
#[derive(Debug)]
pub struct Goroutines {
    list: GoProcesses,
    proc: PathBuf,
    met: LruCache<u32, Met>,
}

#[derive(Debug)]
struct Met {
    process: Arc<Process>,
    serves: Serves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    OnThreads,
    /// On goroutines, which the kernel's programs know since then (monotonic, nanoseconds).
    OnGoroutinesSince(u64),
    /// On what samples can't be told apart by.
    Unknown,
}

impl Goroutines {
    /// With the kernel's list, and the procfs of the initial pid namespace.
    pub fn new(list: GoProcesses, proc: impl Into<PathBuf>) -> Self {
        Self {
            list,
            proc: proc.into(),
            met: LruCache::new(PROCESSES),
        }
    }

    /// A process of this node has received a request, or something became of one. `process` is asked for who it is where that is not known; then its executable is opened,
    /// which may wait for a file system.
    pub fn open(&mut self, request: &Started, process: impl FnOnce(u32) -> Arc<Process>) {
        let tgid = request.request.thread.tgid;
        if request.side == Side::Server && self.is_new(tgid) {
            self.meet(process(tgid));
        }
    }

    fn is_new(&self, tgid: u32) -> bool {
        !self.met.contains(&tgid)
    }

    fn meet(&mut self, process: Arc<Process>) {
        let tgid = process.pid;
        let serves = match runtime::of(&self.proc, &process) {
            Runtime::Unknown => Serves::OnThreads,
            Runtime::SharedThreads => Serves::Unknown,
            Runtime::Goroutines => match self.list.insert(tgid) {
                Ok(()) => Serves::OnGoroutinesSince(Clock::monotonic_ns()),
                Err(error) => {
                    debug!("samples of process {tgid} name no request: {error}");
                    Serves::Unknown
                }
            },
        };
        if let Some((tgid, forgotten)) = self.met.push(tgid, Met { process, serves })
            && tgid != forgotten.process.pid
        {
            self.list.remove(tgid);
        }
    }

    /// Forgets the processes that are gone, or execute something else now. To be called now and then: a number is given to another process at the earliest
    /// when all numbers have had their turn.
    pub fn check(&mut self) {
        let gone: Vec<u32> = self
            .met
            .iter()
            .filter(|(_, met)| !met.process.is_still(&self.proc))
            .map(|(&tgid, _)| tgid)
            .collect();
        for tgid in gone {
            self.met.pop(&tgid);
            self.list.remove(tgid);
        }
    }

    /// Whether a sample that names a request of this process, which began then, is one that was taken for it.
    pub fn are_told_apart(&self, tgid: u32, start_ns: u64) -> bool {
        match self.met.peek(&tgid).map(|met| met.serves) {
            Some(Serves::OnGoroutinesSince(since)) => start_ns > since,
            Some(Serves::Unknown) => false,
            Some(Serves::OnThreads) | None => true,
        }
    }

    /// Whether threads stand for requests.
    pub fn serves_on_threads(&self, tgid: u32) -> bool {
        self.met
            .peek(&tgid)
            .is_none_or(|met| met.serves == Serves::OnThreads)
    }
}

#[cfg(test)]
mod tests;

//! Flows to records for a backend: which of them, by the rules of the configuration, and what each says.

mod attributes;
mod rule;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::ConnectionId;
use lru::LruCache;

pub use self::rule::{Rule, Share};
use super::{clock::Clock, metric::Attributes, span::Resource, spans};
use crate::{
    identity::{FarEnd, Peer, Process},
    net::{Flow, Outcome, flows::Change},
};

/// The name of each record's event.
pub const EVENT_NAME: &str = "fathom.tcp.flow";

/// How many processes' resources are kept.
const RESOURCES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Open connections with translated destinations that are remembered; of more, only the first record says where they go.
const DESTINATIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// One record, as it waits to be sent.
#[derive(Clone, Debug)]
pub struct FlowLog {
    /// What happened.
    pub flow: Flow,
    /// A name for the connection: a keyed hash, as the kernel's own is an address of its memory.
    pub connection: u64,
    /// Whose the other end is.
    pub peer: Peer,
    /// Where the connection goes, where its destination is translated on the way.
    pub destination: Option<SocketAddr>,
    /// When it happened, nanoseconds since the Unix epoch.
    pub at_unix_nano: u64,
    /// When fathom read of it, likewise.
    pub observed_unix_nano: u64,
    /// The process, as its spans have it.
    pub resource: Arc<Resource>,
}

/// How grave a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The connection is open, or ended in order.
    Info,
    /// It was cut short, or its end was not seen.
    Warn,
    /// There was no way to the other end, or no answer.
    Error,
}

impl FlowLog {
    /// How grave it is.
    pub fn severity(&self) -> Severity {
        match self.flow.outcome {
            None if self.flow.change == Change::Lost => Severity::Warn,
            None | Some(Outcome::Closed) => Severity::Info,
            Some(
                Outcome::Reset
                | Outcome::Aborted
                | Outcome::Killed
                | Outcome::Destroyed
                | Outcome::Abandoned,
            ) => Severity::Warn,
            Some(Outcome::TimedOut | Outcome::Refused | Outcome::Unreachable | Outcome::Failed) => {
                Severity::Error
            }
        }
    }

    /// What it says.
    pub fn attributes(&self) -> Attributes {
        attributes::of(self)
    }
}

/// What came of the flows that a rule fits.
#[derive(Debug, Default)]
pub struct FlowLogCounts {
    delivered: AtomicU64,
    sampled_out: AtomicU64,
}

impl FlowLogCounts {
    /// Records that were made.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Flows that the rule's share left out.
    pub fn sampled_out(&self) -> u64 {
        self.sampled_out.load(Relaxed)
    }
}

/// Makes records.
pub struct FlowLogs {
    rules: Arc<[Rule]>,
    clock: Arc<Clock>,
    /// Keyed anew in each run, so that nobody outside can choose what is left out.
    hasher: RandomState,
    resources: LruCache<(u32, u64), Arc<Resource>>,
    destinations: LruCache<ConnectionId, SocketAddr>,
    counts: Arc<FlowLogCounts>,
}

impl FlowLogs {
    /// The first rule that fits a flow decides.
    pub fn new(rules: Arc<[Rule]>, clock: Arc<Clock>) -> Self {
        Self {
            rules,
            clock,
            hasher: RandomState::new(),
            resources: LruCache::new(RESOURCES),
            destinations: LruCache::new(DESTINATIONS),
            counts: Arc::default(),
        }
    }

    /// What came of the flows so far; stays current.
    pub fn counts(&self) -> Arc<FlowLogCounts> {
        Arc::clone(&self.counts)
    }

    /// The record of a flow of `process`, if it is to have one. A rule's share is one of connections: of each, all records have the same fate. Where a
    /// connection goes is remembered from the first flow with which that is said.
    pub fn log(&mut self, flow: &Flow, process: &Process, far: &FarEnd) -> Option<FlowLog> {
        let destination = self.destination(flow, far.destination);
        let names = [&*process.service, process.comm.as_str()];
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.filter.fits(flow, destination, &names))?;
        let connection = self.hasher.hash_one(flow.id);
        if !rule.share.takes(connection) {
            self.counts.sampled_out.fetch_add(1, Relaxed);
            return None;
        }
        self.counts.delivered.fetch_add(1, Relaxed);
        Some(FlowLog {
            flow: *flow,
            connection,
            peer: far.peer.clone(),
            destination,
            at_unix_nano: self.clock.unix_ns(flow.at_ns),
            observed_unix_nano: self.clock.unix_ns(Clock::monotonic_ns()),
            resource: self.resource(process),
        })
    }

    fn destination(&mut self, flow: &Flow, said: Option<SocketAddr>) -> Option<SocketAddr> {
        if flow.change.is_end() {
            let known = self.destinations.pop(&flow.id);
            return said.or(known);
        }
        match said {
            Some(destination) => {
                self.destinations.put(flow.id, destination);
                said
            }
            None => self.destinations.get(&flow.id).copied(),
        }
    }

    fn resource(&mut self, process: &Process) -> Arc<Resource> {
        let key = (process.pid, process.start_ticks);
        let known = self
            .resources
            .get(&key)
            .filter(|resource| resource.service_name == process.service);
        if let Some(resource) = known {
            return Arc::clone(resource);
        }
        let mut resource = spans::resource(process);
        if process.pid == 0 {
            // Nobody is known.
            resource.attributes.clear();
        }
        let resource = Arc::new(resource);
        self.resources.put(key, Arc::clone(&resource));
        resource
    }
}

#[cfg(test)]
mod tests;

//! `fathom.tcp.*`: flows to metrics, by service, role and whose the other end is.

mod errno;
mod series;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use fathom_abi::{ConnectionId, Role};

pub use self::errno::{errno_name, error_type};
use self::series::Series;
use super::metric::{Metric, Source};
use crate::{
    identity::{Peer, Process},
    net::{
        Ends, Flow, Open,
        flows::Change,
        open::{Missing, Moved, Progress},
    },
};

/// The service that stands for those beyond [`Limits::services`].
const OTHER_SERVICES: &str = "other";

/// What [`Tcp`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services. What belongs to others is counted under the service `other`, with `otel.metric.overflow=true`.
    pub services: usize,
    /// Other ends by which one service's connections are told apart, in each role. Those beyond are told apart by where they are.
    pub peers_per_service: usize,
    /// Series in all. What would need another is counted under the service `other`.
    pub series: usize,
    /// Open connections that are remembered until their end.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            peers_per_service: 64,
            series: 4096,
            connections: 1 << 17,
        }
    }
}

impl Limits {
    /// Bytes of memory for which one open connection is remembered, at most: each takes some 80 of them.
    const MEMORY: u64 = 256;

    /// As [`Limits::default`], but for what an agent with so many bytes of memory has no room for.
    pub fn within(memory: u64) -> Self {
        let limits = Self::default();
        let connections = usize::try_from(memory / Self::MEMORY).unwrap_or(usize::MAX);
        Self {
            connections: limits.connections.min(connections),
            ..limits
        }
    }
}

/// The flow metrics of this node.
pub struct Tcp {
    limits: Limits,
    inner: Mutex<Inner>,
}

struct Inner {
    numbers: HashMap<Key, u32>,
    /// How many other ends each service has by name, in each role.
    services: HashMap<(Arc<str>, Role), usize>,
    series: Vec<Series>,
    open: Open,
    counts: TcpCounts,
}

/// What a series is told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    service: Arc<str>,
    role: Role,
    peer: Peer,
}

/// What is known of a connection that is open.
#[derive(Clone, Debug)]
pub struct Known {
    /// Whose the other end is.
    pub peer: Peer,
    /// Who opened it.
    pub role: Role,
    /// Whether it was at rest before a byte had moved on it, and its records had another id then.
    pub was_at_rest: bool,
}

/// What came of the flows that [`Tcp`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// All of them.
    pub flows: u64,
    /// Those of services beyond the limit.
    pub overflowed: u64,
    /// Those whose other end has a name, which is one too many for their service.
    pub without_peer: u64,
    /// Connections that the table of open ones had no room for: `fathom.tcp.connections.active` counts each of them until one of them
    /// closes, whichever it is, and their bytes are counted at their end.
    pub forgotten: u64,
    /// How often a connection went to rest.
    pub rested: u64,
    /// How often a connection at rest went on, or ended.
    pub woken: u64,
}

impl Tcp {
    /// No series yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::new(Inner {
                numbers: HashMap::new(),
                services: HashMap::new(),
                series: Vec::new(),
                open: Open::new(limits.connections),
                counts: TcpCounts::default(),
            }),
        }
    }

    /// Takes one flow of `process`, whose other end is `peer`'s.
    pub fn record(&self, flow: &Flow, process: &Process, peer: &Peer) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.counts.flows += 1;
        let number = inner.series_of(&process.service, flow.role, peer, &self.limits);
        let progress = inner.open.take(flow, number);
        inner.counts.forgotten += u64::from(progress.is_forgotten);
        inner.count(flow, number, &progress);
    }

    /// Takes a flow of a connection that is known to be open, and counts it where the connection began: whose the two ends are need not be looked up
    /// again. Gives back what is known of it; `None` for any other flow, which is to be recorded.
    pub fn advance(&self, flow: &Flow) -> Option<Known> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let resting = inner.open.resting();
        let progress = inner.open.take_known(flow)?;
        inner.counts.flows += 1;
        if flow.change == Change::Resting {
            inner.counts.rested += 1;
        } else {
            inner.counts.woken += u64::from(inner.open.resting() < resting);
        }
        let number = progress.tag;
        inner.count(flow, number, &progress);
        let series = inner.series.get(number as usize)?;
        Some(Known {
            peer: series.peer.clone(),
            role: series.role,
            was_at_rest: progress.was_at_rest,
        })
    }

    /// Who opened a connection that was at rest, and whose records do not say it any more: by the id that it has since then. None where bytes had moved on it before: what
    /// comes may be in the midst of something.
    pub fn role_before_rest(&self, id: ConnectionId) -> Option<Role> {
        let inner = self.lock();
        let tag = inner.open.tag_before_rest(id)?;
        Some(inner.series.get(tag as usize)?.role)
    }

    /// Whether a connection is open and known by this id.
    pub fn has(&self, id: ConnectionId) -> bool {
        self.lock().open.has(id)
    }

    /// The connections that are open, for whoever asks the kernel where they stand.
    pub fn open(&self) -> Vec<ConnectionId> {
        self.lock().open.ids().collect()
    }

    /// A look at the kernel's sockets begins. There is one at a time.
    pub fn look_begins(&self) {
        self.lock().open.look_begins();
    }

    /// The look has found a socket. If it is of a connection at rest, what has moved on that is counted.
    pub fn stands(&self, ends: &Ends, moved: Moved, srtt_us: Option<u32>) {
        let mut inner = self.lock();
        let Some(progress) = inner.open.stands(ends, moved) else {
            return;
        };
        if let Some(series) = inner.series.get_mut(progress.tag as usize) {
            series.add_moved(srtt_us, &progress);
        }
    }

    /// The look is done; see [`Open::look_is_done`].
    pub fn look_is_done(&self, seen: &HashSet<u32>) -> Vec<Missing> {
        self.lock().open.look_is_done(seen)
    }

    /// How many connections are at rest.
    pub fn resting(&self) -> usize {
        self.lock().open.resting()
    }

    /// How many the kernel is asked about.
    pub fn asked(&self) -> usize {
        self.lock().open.asked()
    }

    /// Those that were missing are over, and their end was not seen, but for what records have told of meanwhile.
    pub fn lose(&self, missing: &[Missing]) {
        let mut inner = self.lock();
        for &missing in missing {
            if let Some(tag) = inner.open.lose(missing) {
                inner.lost(tag);
            }
        }
    }

    /// What came of the flows so far.
    pub fn counts(&self) -> TcpCounts {
        self.lock().counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Counts what is new where the connection is: how many there are in the series in which it began, all else in the one that it has now.
    fn count(&mut self, flow: &Flow, number: u32, progress: &Progress) {
        if let Some(replaced) = progress.replaces {
            self.lost(replaced);
        }
        if progress.ends
            && !progress.begins
            && let Some(series) = self.series.get_mut(progress.tag as usize)
        {
            series.active = series.active.saturating_sub(1);
        }
        let Some(series) = self.series.get_mut(number as usize) else {
            return;
        };
        if progress.begins {
            series.active += u64::from(!progress.ends);
            if flow.established_ns.is_some() {
                series.established(flow);
            }
        }
        series.add_moved(flow.srtt_us, progress);
        match flow.change {
            Change::Closed | Change::Lost => series.ended(flow),
            Change::ConnectFailed => series.failed(flow),
            Change::Established | Change::Existing | Change::Alive | Change::Resting => {}
        }
    }

    /// A connection that began in this series is over, and its end was not seen.
    fn lost(&mut self, number: u32) {
        if let Some(series) = self.series.get_mut(number as usize) {
            series.active = series.active.saturating_sub(1);
            series.lost();
        }
    }

    fn series_of(&mut self, service: &Arc<str>, role: Role, peer: &Peer, limits: &Limits) -> u32 {
        let mut key = Key {
            service: Arc::clone(service),
            role,
            peer: peer.clone(),
        };
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        let of_service = (Arc::clone(service), role);
        let is_known = self.services.contains_key(&of_service);
        let is_full = self.series.len() >= limits.series
            || !is_known && self.services.len() >= limits.services * ROLES;
        if is_full {
            self.counts.overflowed += 1;
            key.service = OTHER_SERVICES.into();
            key.peer = key.peer.anywhere();
            return self.number(key, true);
        }
        let peers = self.services.entry(of_service).or_default();
        if !matches!(key.peer, Peer::Class(_)) {
            if *peers >= limits.peers_per_service {
                self.counts.without_peer += 1;
                key.peer = key.peer.anywhere();
            } else {
                *peers += 1;
            }
        }
        self.number(key, false)
    }

    fn number(&mut self, key: Key, overflow: bool) -> u32 {
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        let number = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.series.push(Series::new(&key, overflow));
        self.numbers.insert(key, number);
        number
    }
}

/// Client, server and unknown.
const ROLES: usize = 3;

impl Source for Tcp {
    fn collect(&self, into: &mut Vec<Metric>) {
        series::collect(&self.lock().series, into);
    }
}

#[cfg(test)]
mod tests;

//! Where a connection's packets arrive: what its destination is behind a service's address.
//!
//! A program that connects to a Kubernetes service sees the service's address alone. The node translates it, for its pods as for itself, in its own network namespace, and its conntrack
//! knows each such connection for as long as it lives (`nf_conntrack`). It is asked by netlink, for one connection at a time: a subscription to its events would cost each packet that makes
//! one, and a list of its table, which may have a million of entries, takes long.
//!
//! Where conntrack is not there, it costs nothing: fathom does not load it. Entries in other zones than the default one are not found.

mod cache;
mod counts;
mod link;
mod message;
mod state;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use fathom_abi::Role;
use rustix::io::Errno;

use self::{
    cache::{Cache, Finding},
    link::{BATCH, Outcome},
    state::Access,
};
pub use self::{
    counts::{Counts, Lookup},
    message::{Answer, Entry, Malformed, Protocol, Tuple, answers},
    state::{State, Usage},
};
use super::flows::{Change, Flow};

/// How much of each second look-ups may take by the clock, all together; what is asked for beyond that is unknown. It is enough for some 25,000 (3.7 µs each), unless others
/// hold conntrack's lock.
const SHARE: Duration = Duration::from_millis(100);

/// The second.
const WINDOW: Duration = Duration::from_secs(1);

/// Where a connection's packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Elsewhere than they are sent: here.
    Translated(SocketAddr),
    /// Where they are sent, as far as this node knows.
    Plain,
    /// It is not known.
    Unknown,
}

/// Looks destinations up.
#[derive(Debug)]
pub struct Conntrack {
    access: Access,
    cache: Cache,
    counts: Arc<Counts>,
    /// When the current second began, and what of it was spent.
    window: (Instant, Duration),
    share: Duration,
    /// What is asked for, with the place in the caller's list.
    asked: Vec<(usize, Tuple)>,
    tuples: Vec<Tuple>,
}

impl Conntrack {
    /// Begins, in the network namespace that this thread is in. `proc` is where procfs is mounted. Where there is no conntrack, one that comes later is found within a minute.
    pub fn new(proc: &Path) -> Self {
        let now = Instant::now();
        Self {
            access: Access::new(proc, now),
            cache: Cache::default(),
            counts: Arc::default(),
            window: (now, Duration::ZERO),
            share: SHARE,
            asked: Vec::new(),
            tuples: Vec::new(),
        }
    }

    /// Whether it can be asked, and why not.
    pub fn state(&self) -> State {
        self.access.state()
    }

    /// What came of the look-ups so far; stays current.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Where the packets of a connection arrive that `local` has opened to `remote`, as the process sees the two.
    ///
    /// It may be asked at any time while the connection lives, and some seconds longer. An address of IPv4 within one of IPv6 is taken as such.
    pub fn destination(
        &mut self,
        protocol: Protocol,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
    ) -> Destination {
        let mut found = Destination::Unknown;
        let tuple = Tuple {
            protocol,
            source: local,
            destination: remote,
        };
        self.destinations(&[tuple], now, &mut |_, one| found = one);
        found
    }

    /// Where a connection goes that this end has opened, if its destination is translated on the way. What never came to be a connection goes nowhere.
    pub fn translated(&mut self, flow: &Flow, now: Instant) -> Option<SocketAddr> {
        if flow.role != Role::CLIENT || flow.change == Change::ConnectFailed {
            return None;
        }
        match self.destination(Protocol::TCP, flow.local, flow.remote, now) {
            Destination::Translated(real) => Some(real),
            Destination::Plain | Destination::Unknown => None,
        }
    }

    /// The same for many connections, from their source to their destination. `f` is called once for each, with its place in the list; the order is not that of the list.
    pub fn destinations(
        &mut self,
        connections: &[Tuple],
        now: Instant,
        f: &mut impl FnMut(usize, Destination),
    ) {
        let mut asked = std::mem::take(&mut self.asked);
        for (at, connection) in connections.iter().enumerate() {
            let tuple = Tuple {
                source: canonical(connection.source),
                destination: canonical(connection.destination),
                ..*connection
            };
            match self.without_asking(&tuple, now) {
                Some((lookup, destination)) => {
                    self.counts.add(lookup);
                    f(at, destination);
                }
                None => asked.push((at, tuple)),
            }
            if asked.len() == BATCH {
                self.ask(&asked, now, f);
                asked.clear();
            }
        }
        if !asked.is_empty() {
            self.ask(&asked, now, f);
            asked.clear();
        }
        self.asked = asked;
    }

    /// What is known as it is.
    fn without_asking(&mut self, tuple: &Tuple, now: Instant) -> Option<(Lookup, Destination)> {
        if !may_be_translated(tuple) {
            return Some((Lookup::Local, Destination::Plain));
        }
        if !self.access.is_open(now) {
            return Some((Lookup::Off, Destination::Unknown));
        }
        match self.cache.get(tuple.destination, tuple.protocol, now) {
            Some(Finding::Plain) => Some((Lookup::Cached, Destination::Plain)),
            Some(_) => Some((Lookup::Cached, Destination::Unknown)),
            None => None,
        }
    }

    /// Asks the kernel for a batch.
    fn ask(
        &mut self,
        asked: &[(usize, Tuple)],
        now: Instant,
        f: &mut impl FnMut(usize, Destination),
    ) {
        let started = Instant::now();
        if started.saturating_duration_since(self.window.0) >= WINDOW {
            self.window = (started, Duration::ZERO);
        }
        let none = |lookup| move |&(at, _): &(usize, Tuple)| (at, lookup, Destination::Unknown);
        let mut refused = None;
        let mut give = |(at, lookup, destination)| {
            self.counts.add(lookup);
            f(at, destination);
        };
        let Some(link) = self.access.link() else {
            // It was lost since the batch was begun.
            asked.iter().map(none(Lookup::Off)).for_each(give);
            return;
        };
        if self.window.1 >= self.share {
            asked.iter().map(none(Lookup::Limited)).for_each(give);
            return;
        }
        self.tuples.clear();
        self.tuples.extend(asked.iter().map(|&(_, tuple)| tuple));
        match link.ask(&self.tuples) {
            Ok(outcomes) => {
                for (&(at, tuple), &outcome) in asked.iter().zip(outcomes) {
                    let (lookup, destination) = read(&tuple, outcome);
                    if let Some(finding) = finding(lookup) {
                        let key = (tuple.destination, tuple.protocol);
                        if self.cache.put(key.0, key.1, finding, now) {
                            self.counts.add_forgotten();
                        }
                    }
                    if let Outcome::Answered(Answer::Refused(errno)) = outcome {
                        refused.get_or_insert(Errno::from_raw_os_error(errno));
                    }
                    give((at, lookup, destination));
                }
            }
            Err(error) => {
                refused = Some(error);
                asked.iter().map(none(Lookup::Failed)).for_each(give);
            }
        }
        match refused {
            Some(errno) => self.access.refused(errno, now),
            None => self.access.answered(),
        }
        self.window.1 += started.elapsed();
    }
}

/// What an outcome means for the connection that was asked for.
fn read(tuple: &Tuple, outcome: Outcome) -> (Lookup, Destination) {
    let lookup = match outcome {
        Outcome::Answered(Answer::Entry(entry)) if entry.original == *tuple => {
            let arrives = entry.reply.source;
            return match arrives == tuple.destination {
                true => (Lookup::Plain, Destination::Plain),
                false => (Lookup::Translated, Destination::Translated(arrives)),
            };
        }
        // The same addresses the other way round: a connection that the other end has opened.
        Outcome::Answered(Answer::Entry(_) | Answer::NoEntry) => Lookup::NotFound,
        Outcome::Answered(Answer::Refused(errno)) => match Errno::from_raw_os_error(errno) {
            Errno::PERM => Lookup::Denied,
            Errno::INVAL | Errno::OPNOTSUPP => Lookup::Unsupported,
            Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => Lookup::Lost,
            _ => Lookup::Failed,
        },
        Outcome::Answered(Answer::Other) | Outcome::Malformed => Lookup::Malformed,
        Outcome::Lost => Lookup::Lost,
    };
    (lookup, Destination::Unknown)
}

fn finding(lookup: Lookup) -> Option<Finding> {
    match lookup {
        Lookup::Translated => Some(Finding::Translated),
        Lookup::Plain => Some(Finding::Plain),
        Lookup::NotFound => Some(Finding::Absent),
        _ => None,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a node may send such a connection elsewhere. Its own addresses are among those: a service may listen on ports of the node.
fn may_be_translated(tuple: &Tuple) -> bool {
    let (local, remote) = (tuple.source.ip(), tuple.destination.ip());
    let is_local = match remote {
        IpAddr::V4(ip) => ip.is_broadcast(),
        // fe80::/10 goes no further than the link.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_local
        || remote.is_loopback()
        || remote.is_multicast()
        || remote.is_unspecified()
        || local.is_ipv4() != remote.is_ipv4()
        || tuple.destination.port() == 0)
}

#[cfg(test)]
mod tests;

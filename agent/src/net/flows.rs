//! Records of the `FLOWS` ring to flows.

mod outcome;
mod record;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::{
    ConnectionId, Role,
    flow::{End, Exit, FlowEvent, FlowKind, Owner, Resets},
};

pub use self::outcome::Outcome;
use super::wire::addresses;

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Its handshake is done, and at the accepting end a process has it.
    Established,
    /// It was open before fathom came, and bytes have moved on it since.
    Existing,
    /// It is open: this is where it stands.
    Alive,
    /// It is open and at rest, and the kernel programs know it no more: what comes next of it has another id.
    Resting,
    /// It is over; its byte counts are final.
    Closed,
    /// It was never established: the errno says why, 0 where the kernel noted none.
    ConnectFailed,
    /// It is over, and the kernel kept its end from the probes: how it ended and what it moved last is not known.
    Lost,
}

impl Change {
    /// The name that users read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Existing => "existing",
            Self::Alive => "alive",
            Self::Resting => "resting",
            Self::Closed => "closed",
            Self::ConnectFailed => "failed",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more will come of the connection.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Closed | Self::ConnectFailed | Self::Lost)
    }
}

/// One thing that happened to one TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The connection.
    pub id: ConnectionId,
    /// What happened.
    pub change: Change,
    /// How it ended; `None` while it is open, and where that was not seen.
    pub outcome: Option<Outcome>,
    /// Which end opened it.
    pub role: Role,
    /// The process (initial pid namespace); 0 where nobody is known.
    pub tgid: u32,
    /// How the process was learned.
    pub owner: Owner,
    /// The name that the process had then, padded with zeros; all zero where it is not known.
    pub comm: [u8; 16],
    /// The network namespace, as /proc/PID/ns/net numbers it.
    pub netns: u32,
    /// The cgroup that the socket was made in: the inode of its folder in cgroup2.
    pub cgroup: Option<u64>,
    /// This node's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// When it happened: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// When the SYN was sent.
    pub connect_ns: Option<u64>,
    /// When the handshake was done.
    pub established_ns: Option<u64>,
    /// When accept(2) gave it to a process.
    pub accepted_ns: Option<u64>,
    /// When the first call returned that received bytes.
    pub first_received_ns: Option<u64>,
    /// When the first call returned that sent bytes.
    pub first_sent_ns: Option<u64>,
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// Segments sent, with those without payload and those sent again.
    pub segments_sent: u32,
    /// Segments received, likewise.
    pub segments_received: u32,
    /// The smoothed round-trip time, microseconds.
    pub srtt_us: Option<u32>,
    /// The least round-trip time of the last minutes (the kernel's `tcp_min_rtt_wlen`), microseconds.
    pub min_rtt_us: Option<u32>,
    /// Segments that were retransmitted.
    pub retransmits: u32,
    /// Whether this end has sent a reset.
    pub reset_sent: bool,
    /// Whether the other end has.
    pub reset_received: bool,
    /// Which end sent its FIN first.
    pub closed_by: Option<Side>,
    /// The signal that killed the process which had it open.
    pub signal: Option<u8>,
    /// The socket's error, an errno; 0 for none.
    pub error: u32,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This one.
    Local,
    /// The other one.
    Remote,
}

impl Flow {
    /// Reads one record; `None` where it is too short or of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let event = record::event(bytes)?;
        let change = match event.kind {
            FlowKind::ESTABLISHED => Change::Established,
            FlowKind::EXISTING => Change::Existing,
            FlowKind::ALIVE => Change::Alive,
            FlowKind::CLOSED => Change::Closed,
            FlowKind::CONNECT_FAILED => Change::ConnectFailed,
            FlowKind::LOST => Change::Lost,
            FlowKind::RESTING => Change::Resting,
            _ => return None,
        };
        Some(Self::of(&event, change))
    }

    /// That a connection is not there any more, of which nothing is known but its id.
    pub fn lost(id: ConnectionId, at_ns: u64) -> Self {
        let event = FlowEvent {
            id,
            at_ns,
            ..FlowEvent::default()
        };
        Self::of(&event, Change::Lost)
    }

    fn of(event: &FlowEvent, change: Change) -> Self {
        let (local, remote) = addresses(&event.endpoints);
        let known = |time: u64| (time != 0).then_some(time);
        let outcome = Outcome::of(event, change);
        // The sock of a connection whose end was not seen may be anybody's by now.
        let is_read = change != Change::Lost;
        let count = |count: u64| if is_read { count } else { 0 };
        let number = |number: u32| if is_read { number } else { 0 };
        Self {
            id: event.id,
            change,
            outcome,
            role: event.role,
            tgid: event.tgid,
            owner: event.owner,
            comm: event.comm,
            netns: number(event.netns),
            cgroup: known(count(event.cgroup)),
            local,
            remote,
            at_ns: event.at_ns,
            connect_ns: known(event.connect_ns),
            established_ns: known(event.established_ns),
            accepted_ns: known(event.accepted_ns),
            first_received_ns: known(event.first_received_ns),
            first_sent_ns: known(event.first_sent_ns),
            bytes_sent: count(event.bytes_sent),
            bytes_received: count(event.bytes_received),
            segments_sent: number(event.segments_sent),
            segments_received: number(event.segments_received),
            srtt_us: Some(number(event.srtt_us)).filter(|&us| us != 0),
            min_rtt_us: Some(event.min_rtt_us).filter(|&us| is_read && us != 0 && us != u32::MAX),
            retransmits: number(event.retransmits),
            reset_sent: event.resets.0 & Resets::SENT != 0,
            reset_received: outcome == Some(Outcome::Reset)
                || event.resets.0 & Resets::RECEIVED != 0
                || outcome == Some(Outcome::Refused),
            closed_by: match event.closed_by {
                End::LOCAL => Some(Side::Local),
                End::REMOTE => Some(Side::Remote),
                _ => None,
            },
            signal: Exit::signal(event.exit),
            error: event.error,
        }
    }

    /// How long the handshake took, in nanoseconds, where this end began it; of a connect that failed, how long that took.
    pub fn connect_duration_ns(&self) -> Option<u64> {
        let until = match self.change {
            Change::ConnectFailed => Some(self.at_ns),
            _ => self.established_ns,
        };
        until?.checked_sub(self.connect_ns?)
    }

    /// How long it waited between its handshake and accept(2), in nanoseconds.
    pub fn accept_wait_ns(&self) -> Option<u64> {
        self.accepted_ns?.checked_sub(self.established_ns?)
    }
}

/// The flow decoder: it keeps nothing but counts.
#[derive(Debug, Default)]
pub struct Flows {
    counts: Arc<FlowCounts>,
}

/// What came of the flow records.
#[derive(Debug, Default)]
pub struct FlowCounts {
    delivered: AtomicU64,
    malformed: AtomicU64,
}

impl FlowCounts {
    /// Records handed on.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Records that were too short or of an unknown kind.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Relaxed)
    }
}

impl Flows {
    /// What came of the records so far; stays current.
    pub fn counts(&self) -> Arc<FlowCounts> {
        Arc::clone(&self.counts)
    }

    /// Takes one record and hands its flow on.
    pub fn record(&mut self, bytes: &[u8], emit: &mut impl FnMut(Flow)) {
        match Flow::decode(bytes) {
            Some(flow) => {
                self.counts.delivered.fetch_add(1, Relaxed);
                emit(flow);
            }
            None => {
                self.counts.malformed.fetch_add(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

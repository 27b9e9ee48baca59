//! Records of the `FLOWS` ring to flows.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::{
    ConnectionId, Role,
    flow::{FlowEvent, FlowKind, Owner},
};

use super::wire::{Wire, addresses};

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Its handshake is done.
    Established,
    /// It is over; its byte counts are final.
    Closed,
    /// It was never established: the errno says why, 0 where the kernel noted none.
    ConnectFailed,
}

/// One thing that happened to one TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The connection.
    pub id: ConnectionId,
    /// What happened.
    pub change: Change,
    /// Which end opened it.
    pub role: Role,
    /// The process (initial pid namespace); 0 where nobody is known.
    pub tgid: u32,
    /// How the process was learned.
    pub owner: Owner,
    /// The name that the process had then, padded with zeros; all zero where it is not known.
    pub comm: [u8; 16],
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
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// The smoothed round-trip time, microseconds.
    pub srtt_us: Option<u32>,
    /// Segments that were retransmitted.
    pub retransmits: u32,
    /// The socket's error, an errno; 0 for none.
    pub error: u32,
}

impl Flow {
    /// Reads one record; `None` where it is too short or of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let event = event(bytes)?;
        let change = match event.kind {
            FlowKind::ESTABLISHED => Change::Established,
            FlowKind::CLOSED => Change::Closed,
            FlowKind::CONNECT_FAILED => Change::ConnectFailed,
            _ => return None,
        };
        let (local, remote) = addresses(&event.endpoints);
        let known = |time: u64| (time != 0).then_some(time);
        Some(Self {
            id: event.id,
            change,
            role: event.role,
            tgid: event.tgid,
            owner: event.owner,
            comm: event.comm,
            local,
            remote,
            at_ns: event.at_ns,
            connect_ns: known(event.connect_ns),
            established_ns: known(event.established_ns),
            bytes_sent: event.bytes_sent,
            bytes_received: event.bytes_received,
            srtt_us: (event.srtt_us != 0).then_some(event.srtt_us),
            retransmits: event.retransmits,
            error: event.error,
        })
    }

    /// How long the handshake took, in nanoseconds, where this end began it.
    pub fn connect_duration_ns(&self) -> Option<u64> {
        self.established_ns?.checked_sub(self.connect_ns?)
    }
}

fn event(bytes: &[u8]) -> Option<FlowEvent> {
    let mut wire = Wire::new(bytes);
    Some(FlowEvent {
        id: wire.connection()?,
        at_ns: wire.u64()?,
        connect_ns: wire.u64()?,
        established_ns: wire.u64()?,
        bytes_sent: wire.u64()?,
        bytes_received: wire.u64()?,
        srtt_us: wire.u32()?,
        retransmits: wire.u32()?,
        tgid: wire.u32()?,
        error: wire.u32()?,
        endpoints: wire.endpoints()?,
        kind: FlowKind(wire.u8()?),
        role: Role(wire.u8()?),
        owner: Owner(wire.u8()?),
        old_state: wire.u8()?,
        reserved: wire.bytes()?,
        comm: wire.bytes()?,
    })
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
mod tests;

//! What the flow tap says of a connection: one record when it is established, one at its end.

use crate::{ConnectionId, Endpoints, Role};

/// What happened to the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct FlowKind(pub u8);

impl FlowKind {
    /// The handshake is done.
    pub const ESTABLISHED: Self = Self(1);
    /// An established connection left the kernel's tables; byte counts are final.
    pub const CLOSED: Self = Self(2);
    /// A connect ended before the handshake did; `error` says why.
    pub const CONNECT_FAILED: Self = Self(3);
}

/// How `tgid` was learned, best last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Owner(pub u8);

impl Owner {
    /// Nobody is known.
    pub const UNKNOWN: Self = Self(0);
    /// The process that called listen(2) on the accepting socket.
    pub const LISTENER: Self = Self(1);
    /// The process that closed or shut down the socket.
    pub const CLOSER: Self = Self(2);
    /// The process that connected, or that first read or wrote.
    pub const USER: Self = Self(3);
}

/// One record of the `FLOWS` ring buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowEvent {
    /// The connection.
    pub id: ConnectionId,
    /// When this happened.
    pub at_ns: u64,
    /// When the SYN was sent; 0 where unknown or accepted.
    pub connect_ns: u64,
    /// When the handshake was done; 0 where unknown or never.
    pub established_ns: u64,
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// The smoothed round-trip time in microseconds (`tcp_sock.srtt_us >> 3`).
    pub srtt_us: u32,
    /// Segments retransmitted (`tcp_sock.total_retrans`).
    pub retransmits: u32,
    /// The process in the initial pid namespace; 0 where `owner` is unknown.
    pub tgid: u32,
    /// The socket's error (`sock.sk_err`), an errno; 0 for none.
    pub error: u32,
    /// The two ends.
    pub endpoints: Endpoints,
    /// What happened.
    pub kind: FlowKind,
    /// Who opened the connection.
    pub role: Role,
    /// How `tgid` was learned.
    pub owner: Owner,
    /// The TCP state before this event (`TCP_*` of `net/tcp_states.h`).
    pub old_state: u8,
    /// Zero.
    pub reserved: [u8; 4],
    /// The name (`comm`) that `tgid` had when it was learned, padded with zeros; all zero where it was not learned from the
    /// process itself. A process that ends at once leaves nothing else behind.
    pub comm: [u8; 16],
}

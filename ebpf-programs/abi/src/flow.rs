//! What the flow tap says of a connection: one record when it is established, one at its end, and one whenever user space asks where it stands.

use crate::{ConnectionId, Endpoints, Role};

/// What happened to the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct FlowKind(pub u8);

impl FlowKind {
    /// The handshake is done; at the accepting end, and a process has the connection.
    pub const ESTABLISHED: Self = Self(1);
    /// An established connection left the kernel's tables; byte counts are final.
    pub const CLOSED: Self = Self(2);
    /// A connect ended before the handshake did; `error` says why.
    pub const CONNECT_FAILED: Self = Self(3);
    /// It was open before fathom came, and bytes have moved on it since.
    pub const EXISTING: Self = Self(4);
    /// It is open; this is where it stands. Only on request: see [`REPORTED`].
    pub const ALIVE: Self = Self(5);
    /// It has ended, and the kernel kept its end from the programs. Only on request, in the place of `ALIVE`.
    pub const LOST: Self = Self(6);
    /// It is open and at rest: this is where it stands, and the programs know it no more until something happens on it. Only on request: see [`MAY_REST`].
    pub const RESTING: Self = Self(7);
}

/// Connections that one run of the program `flow_report` reads: it takes their socks as arguments, of which a raw tracepoint has
/// at most twelve (`MAX_BPF_FUNC_ARGS`).
pub const REPORTED: usize = 12;

/// Set in a sock that `flow_report` is given: a record is wanted also where no segment has moved since the one before. A sock lies at a multiple
/// of more than sixteen.
pub const ANYWAY: u64 = 1;

/// Set in a sock that `flow_report` is given: where no segment has moved since the last two times that it was asked about, and none of its messages is known, it
/// is to rest. Whoever asks so keeps what its records have said: when something happens on it, it is one of which nothing is known.
pub const MAY_REST: u64 = 2;

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct End(pub u8);

impl End {
    /// Neither, or it is not known.
    pub const NONE: Self = Self(0);
    /// This one.
    pub const LOCAL: Self = Self(1);
    /// The other one.
    pub const REMOTE: Self = Self(2);
}

/// How the process was ending that closed a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Exit(pub u8);

impl Exit {
    /// It was not.
    pub const NONE: Self = Self(0);
    /// Set in all others; the lower bits are the signal that killed it, 0 for none (wait(2)).
    pub const EXITING: u8 = 0x80;

    /// The signal that killed it; `None` where it was not killed.
    #[must_use]
    pub const fn signal(self) -> Option<u8> {
        match self.0 & !Self::EXITING {
            0 => None,
            signal => Some(signal),
        }
    }
}

/// Which resets were seen on a connection: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Resets(pub u8);

impl Resets {
    /// This end has sent one.
    pub const SENT: u8 = 1;
    /// The other end has.
    pub const RECEIVED: u8 = 2;
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
    /// The process that accept(2) gave it to.
    pub const ACCEPTER: Self = Self(3);
    /// The process that connected, or that first read or wrote.
    pub const USER: Self = Self(4);
}

/// One record of the `FLOWS` ring buffer. In one of [`FlowKind::ESTABLISHED`] nothing is counted yet: bytes, segments and retransmissions are 0.
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
    /// When accept(2) gave it to a process; 0 where unknown or connected.
    pub accepted_ns: u64,
    /// When the first call returned that received bytes; 0 where unknown or never.
    pub first_received_ns: u64,
    /// When the first call returned that sent bytes; 0 where unknown or never.
    pub first_sent_ns: u64,
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// The cgroup that the socket was made in (`kernfs_node.id`: the inode of its folder in cgroup2); 0 where unknown.
    pub cgroup: u64,
    /// Segments sent, with those without payload and those sent again (`tcp_sock.segs_out`).
    pub segments_sent: u32,
    /// Segments received, likewise (`tcp_sock.segs_in`).
    pub segments_received: u32,
    /// The smoothed round-trip time in microseconds (`tcp_sock.srtt_us >> 3`).
    pub srtt_us: u32,
    /// The least round-trip time of late, in microseconds (`tcp_sock.rtt_min`); the greatest number where unknown.
    pub min_rtt_us: u32,
    /// Segments retransmitted (`tcp_sock.total_retrans`).
    pub retransmits: u32,
    /// The process in the initial pid namespace; 0 where `owner` is unknown.
    pub tgid: u32,
    /// The socket's error (`sock.sk_err`), an errno; 0 for none.
    pub error: u32,
    /// The network namespace (its inode number, as in /proc/PID/ns/net).
    pub netns: u32,
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
    /// Which end sent its FIN first.
    pub closed_by: End,
    /// How the process that closed it was ending.
    pub exit: Exit,
    /// Resets that were seen.
    pub resets: Resets,
    /// Zero.
    pub reserved: u8,
    /// The name (`comm`) that `tgid` had when it was learned, padded with zeros; all zero where it was not learned from the
    /// process itself. A process that ends at once leaves nothing else behind.
    pub comm: [u8; 16],
}

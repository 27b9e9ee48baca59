//! What the socket taps say of the bytes on a connection.
//!
//! In the gear for traffic that takes turns, a message is a run of I/O in one direction; it ends when the direction flips or
//! the socket closes. The tap sends one record when a message starts, with its first bytes and with the totals of the message
//! before; the kernel keeps the rest in [`ConnectionState`].
//!
//! In the gears for pipelines and for frames, a record is a piece of one direction's stream; see [`MessageKind::PIECE`].
//!
//! What goes through a TLS library is a layer of its own over the connection: it has a state and records like a connection,
//! under the sock's address with the lowest bit set ([`PLAIN_TEXT`]).

use crate::{ConnectionId, Endpoints, Role};

/// Bytes of user data that one record can carry.
pub const MAX_CAPTURE: usize = 1024;

/// What a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct MessageKind(pub u8);

impl MessageKind {
    /// A message starts: its first bytes follow.
    pub const HEAD: Self = Self(1);
    /// More of a head that the first record did not hold whole.
    pub const MORE: Self = Self(2);
    /// The connection ended: only the totals of its last message count. Of one whose bytes travel, `message` is the number of the newest piece that
    /// was received, and `offset` of the newest one that was sent.
    pub const END: Self = Self(3);
    /// A piece of one direction's stream. `message` goes on by one with each of its direction's records;
    /// `previous_bytes` is where the piece starts in its direction's stream, and `previous_last_ns` the number of bytes
    /// that it stands for. The first `captured` of them follow; the others are none that framing needs, unless the kernel
    /// could not read them. A piece may start behind the end of the one before: what is between is of the same kind.
    pub const PIECE: Self = Self(4);
    /// From the next record on there are pieces: only the totals of the last message count.
    pub const TRAVELS: Self = Self(5);
    /// A message starts, as with HEAD, which has overtaken the one before it: that one was sent, by a call which has not returned
    /// yet. The record's totals are those of the message before both.
    pub const AHEAD: Self = Self(6);
    /// The message that another one has overtaken: its first bytes follow, and `io_bytes` are all that it has.
    pub const OVERTAKEN: Self = Self(7);
}

/// The bit of a connection's key that says that the bytes are those of a TLS library's calls, and not of the socket.
pub const PLAIN_TEXT: u64 = 1;

/// Where Go's `crypto/tls` keeps what leads from a connection to its socket: offsets in bytes, and the hashes that the type `*net.TCPConn` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct GoOffsets {
    /// Of the interface `conn` in `tls.Conn`.
    pub conn: u64,
    /// Of a type's hash in an itab.
    pub itab_hash: u64,
    /// Of `fd` in `net.TCPConn`.
    pub net_fd: u64,
    /// Of `pfd.Sysfd` in `netFD`.
    pub sysfd: u64,
    /// The hashes.
    pub tcp_conn: [u32; 5],
    /// Zero.
    pub reserved: u32,
}

/// Payload of an HTTP/2 DATA frame up to which it travels whole; of a longer one [`DATA_HEAD`] bytes do.
pub const SMALL_DATA: u64 = 256;

/// See [`SMALL_DATA`].
pub const DATA_HEAD: u64 = 16;

/// Bytes of user data that one [`MessageKind::PIECE`] can carry.
pub const MAX_PIECE: usize = 2047;

/// Which way the bytes of a message go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Direction(pub u8);

impl Direction {
    /// Nothing was seen yet.
    pub const NONE: Self = Self(0);
    /// To this process.
    pub const RECEIVED: Self = Self(1);
    /// From this process.
    pub const SENT: Self = Self(2);

    /// The other way; of none, none.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::RECEIVED => Self::SENT,
            Self::SENT => Self::RECEIVED,
            other => other,
        }
    }
}

/// The fixed part of a record of the `MESSAGES` ring buffer; `captured` bytes of user data follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MessageEvent {
    /// The connection.
    pub id: ConnectionId,
    /// When the I/O call that this record stems from returned.
    pub at_ns: u64,
    /// Bytes of the message before this one (of the last one, where `kind` is END).
    pub previous_bytes: u64,
    /// When the last I/O call of that message returned.
    pub previous_last_ns: u64,
    /// The process in the initial pid namespace.
    pub tgid: u32,
    /// The thread in the initial pid namespace.
    pub tid: u32,
    /// The goroutine (`*runtime.g`) that made the call, or, of what the loop of a connection of `net/http`'s transport sends, the one that asked for it.
    /// Means nothing in a program that is not one of Go's; 0 where it is not known.
    pub goroutine: u64,
    /// The message's number on its connection, from 1; no number is left out, so that a gap is a loss.
    pub message: u32,
    /// Bytes that this I/O call moved.
    pub io_bytes: u32,
    /// Where in the message the captured bytes start.
    pub offset: u32,
    /// Bytes of user data behind this header.
    pub captured: u16,
    /// What this record is.
    pub kind: MessageKind,
    /// Which way the message goes.
    pub direction: Direction,
    /// The two ends.
    pub endpoints: Endpoints,
    /// Who opened the connection.
    pub role: Role,
    /// 1 where the connection was over, and its process took what was left of it: its end is known, and no END will come.
    pub over: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// What the kernel does with a connection's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Gear(pub u8);

impl Gear {
    /// Not known yet: heads are looked at.
    pub const UNKNOWN: Self = Self(0);
    /// HTTP/1: a record for each message.
    pub const TURNS: Self = Self(1);
    /// Nothing that fathom reads: bytes are counted only.
    pub const COUNT: Self = Self(2);
    /// fathom's own: nothing is recorded.
    pub const OWN: Self = Self(3);
    /// A pipeline, or a protocol that the connection was upgraded to: all bytes travel.
    pub const STREAM: Self = Self(4);
    /// HTTP/2: all frames travel but the payload of larger DATA frames.
    pub const FRAMES: Self = Self(5);
    /// TLS: bytes are counted, and the plain text is a layer of its own where a library's calls show it.
    pub const TLS: Self = Self(6);
}

/// Whether a request may start in the middle of a message, without an answer between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Watched(pub u8);

impl Watched {
    /// It may not.
    pub const NO: Self = Self(0);
    /// The message is a request whose head is whole, and nothing has followed it.
    pub const REQUEST: Self = Self(1);
    /// The message is the rest of a body: that of a request whose answer came early, or that was asked for by an interim answer.
    pub const BODY: Self = Self(2);
}

/// A call that sends can be seen later than one that receives what answers it, where its task was preempted before it returned. Which
/// bytes it has sent is known all the same: those that the sock has taken, and that no call was seen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Overtaken(pub u8);

impl Overtaken {
    /// None was.
    pub const NONE: Self = Self(0);
    /// A message, the one before the newest.
    pub const MESSAGE: Self = Self(1);
    /// The rest of a message, whose bytes are counted already.
    pub const REST: Self = Self(2);
}

/// What records have said of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Told(pub u8);

impl Told {
    /// Nothing.
    pub const NOTHING: Self = Self(0);
    /// That it was established, or is there.
    pub const BEGUN: Self = Self(1);
    /// Its end, or that is being said: nothing may follow. What a process takes of a connection that is over is taken in by an entry of its own, which has this too.
    pub const OVER: Self = Self(2);
}

/// One value of the `CONNECTIONS` map (key: the sock's address as `u64`). User space reads it when a message has been
/// open for a while and nothing has followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionState {
    /// When fathom first saw the socket; of one that connects, when the SYN was sent.
    pub born_ns: u64,
    /// When the handshake was done; 0 where unknown.
    pub established_ns: u64,
    /// Bytes of the current message.
    pub bytes: u64,
    /// When the current message's last I/O call returned.
    pub last_ns: u64,
    /// The cgroup that the socket was made in; see [`crate::flow::FlowEvent`].
    pub cgroup: u64,
    /// The current message's number; 0 before the first.
    pub message: u32,
    /// The process that owns the socket; see `owner`.
    pub tgid: u32,
    /// Bytes of the current message that went out in records.
    pub captured: u16,
    /// Which way the current message goes.
    pub direction: Direction,
    /// What is done with the bytes.
    pub gear: Gear,
    /// Who opened the connection.
    pub role: Role,
    /// How `tgid` was learned.
    pub owner: crate::flow::Owner,
    /// Messages that looked like nothing known, in a row.
    pub strangers: u8,
    /// 1 while the head may go on in the next I/O call.
    pub head_open: u8,
    /// The two ends.
    pub endpoints: Endpoints,
    /// The name (`comm`) that `tgid` had when it was learned, padded with zeros; see [`crate::flow::FlowEvent`].
    pub comm: [u8; 16],
    /// For each direction (received, sent) the thread whose I/O call the tap's program with the earlier turn took in; 0 once the other has seen
    /// that.
    pub taken: [u32; 2],
    /// What records have said of it.
    pub told: Told,
    /// Requests' messages that were looked through for a pipeline.
    pub searched: u8,
    /// Whether the next I/O call of the newest message may be a request of its own.
    pub watched: Watched,
    /// 1 once a layer of plain text lies over it.
    pub has_plain_text: u8,
    /// How far the direction of answers had come when the newest message began, where that is a request; see `sock::progress`.
    pub answers: u32,
    /// How far what was sent has come by the calls that were taken in; see `sock::progress`.
    pub sent: u32,
    /// What the call is for that was overtaken, if one was.
    pub overtaken: Overtaken,
    /// 1 while a program starts a message, and the state is half the old one's: where its task can be preempted, a program on another CPU may see it.
    pub turning: u8,
    /// 1 where a call came meanwhile, and was not taken in.
    pub interrupted: u8,
    /// 1 where the connect failed within its own system call, which has not returned yet: what it returns is the reason.
    pub failing: u8,
    /// When the first bytes were received and sent, in microseconds after `born_ns` and at least 1; 0 for never, and the greatest number for later
    /// than that.
    pub first_us: [u32; 2],
    /// When accept(2) gave it to a process, in microseconds after `established_ns`, as `first_us`.
    pub accepted_us: u32,
    /// The network namespace (its inode number).
    pub netns: u32,
    /// Segments that had moved, both ways together, when a report was last sent; see [`crate::flow::ANYWAY`].
    pub reported: u32,
    /// How the process that closed it was ending, if it was.
    pub exit: crate::flow::Exit,
    /// Resets that were seen.
    pub resets: crate::flow::Resets,
    /// 1 from the report that found it at rest until a call or a change of state; see [`crate::flow::MAY_REST`].
    pub resting: u8,
    /// Zero.
    pub reserved: u8,
}

//! One request and its answer, as every stop after the decoders sees them.

use std::{net::SocketAddr, sync::Arc};

use fathom_abi::{
    ConnectionId,
    message::{Direction, MessageEvent},
};

use super::grpc::Call;

/// Which end of the exchange this node's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It received the request.
    Server,
    /// It sent the request.
    Client,
}

impl Side {
    /// By the direction of requests, seen from the process.
    pub fn of(requests: Direction) -> Self {
        if requests == Direction::RECEIVED {
            Self::Server
        } else {
            Self::Client
        }
    }
}

/// Names one exchange on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeKey {
    /// Its connection.
    pub connection: ConnectionId,
    /// The number of the record that starts its request; of HTTP/2 the stream's id.
    pub message: u32,
    /// How many requests of a pipeline started in that record before it.
    pub part: u32,
}

/// The trace that a request said it belongs to (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace id.
    pub trace_id: [u8; 16],
    /// The sender's span id.
    pub span_id: [u8; 8],
    /// The trace flags.
    pub flags: u8,
}

/// A thread (initial pid namespace), and whom it works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// Its process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// The goroutine; see [`MessageEvent::goroutine`].
    pub goroutine: u64,
}

impl Thread {
    /// One that is no goroutine's.
    pub const fn new(tgid: u32, tid: u32) -> Self {
        Self {
            tgid,
            tid,
            goroutine: 0,
        }
    }

    /// Who made the call that a record tells of.
    pub const fn of(event: &MessageEvent) -> Self {
        Self {
            tgid: event.tgid,
            tid: event.tid,
            goroutine: event.goroutine,
        }
    }
}

/// A request that was read, as its connection knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// [`ExchangeKey::message`].
    pub message: u32,
    /// [`ExchangeKey::part`].
    pub part: u32,
    /// Who moved its first byte.
    pub thread: Thread,
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub start_ns: u64,
    /// The `traceparent` that it carried.
    pub parent: Option<TraceParent>,
    /// The `tracestate` beside it.
    pub trace_state: Option<Arc<str>>,
    /// Not all of its fields are known: there may have been a `traceparent`.
    pub partial: bool,
}

/// A request that was read and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The exchange.
    pub key: ExchangeKey,
    /// Which end was seen.
    pub side: Side,
    /// Whether its connection carries several at a time (HTTP/2): then it says little which thread moved it.
    pub multiplexed: bool,
    /// What it says.
    pub request: Opened,
}

/// What happens to a request before its exchange is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was read; or more of its head was, and what is now said of it holds.
    Started,
    /// The final answer to it has begun.
    Answered {
        /// Who moved its first byte.
        thread: Thread,
        /// When: `CLOCK_MONOTONIC`, nanoseconds.
        at_ns: u64,
    },
    /// What becomes of it will not be known: there will be no exchange.
    Dropped,
}

/// Why an exchange has no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// The connection ended before an answer.
    Closed,
    /// HTTP/2: one of the two ends gave the stream up, with this error code (RFC 9113 section 7).
    Reset(u32),
    /// HTTP/2: the server said that it goes away, and that it has not looked at this stream (GOAWAY).
    GoneAway,
}

/// A whole exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub key: ExchangeKey,
    /// Which end was seen.
    pub side: Side,
    /// Who received or sent the request's first byte.
    pub thread: Thread,
    /// This node's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The request method as sent, at most 32 bytes.
    pub method: String,
    /// The path without its query, as sent, with what is no visible ASCII percent-encoded; empty for CONNECT. It ends early
    /// where the capture does.
    pub path: String,
    /// `0.9`, `1.0`, `1.1` or `2`.
    pub version: &'static str,
    /// Whether it went through TLS.
    pub tls: bool,
    /// The status code, or why there is none.
    pub status: Result<u16, Unanswered>,
    /// Why the answer did not come to its end; none for a whole one, and where it is not known.
    pub cut: Option<Unanswered>,
    /// When the request's first I/O call returned: `CLOCK_MONOTONIC`, nanoseconds.
    pub start_ns: u64,
    /// When the answer's last I/O call returned; without an answer, when the connection ended.
    pub end_ns: u64,
    /// Bytes of the request, head and body.
    pub request_bytes: u64,
    /// Bytes of the final answer, head and body.
    pub response_bytes: u64,
    /// The `traceparent` that the request carried.
    pub parent: Option<TraceParent>,
    /// The `tracestate` beside it, of at most 512 bytes.
    pub trace_state: Option<Arc<str>>,
    /// What it is if it is a gRPC call.
    pub rpc: Option<Box<Call>>,
}

//! What came of each record and of each exchange. Every record has exactly one outcome; every exchange whose existence is
//! known has exactly one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! outcomes {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value of the attribute `outcome`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

outcomes! {
    /// What came of a record of the `MESSAGES` ring.
    RecordOutcome {
        /// It was used.
        Delivered = "delivered",
        /// It was shorter than it said, or of an unknown kind.
        Malformed = "malformed",
        /// It started no HTTP message that anything waits for.
        NotHttp = "not_http",
        /// The connection had left HTTP (101, CONNECT).
        Upgraded = "upgraded",
        /// The connection pipelines, which is not decoded.
        Pipelined = "pipelined",
        /// It went on with a message whose start is not known, or ended a connection of which nothing is known.
        Unknown = "unknown_connection",
        /// It was older than the records before it.
        OutOfOrder = "out_of_order",
    }
}

outcomes! {
    /// What came of an exchange. All but the first are losses.
    ExchangeOutcome {
        /// It was handed on whole.
        Delivered = "delivered",
        /// A record that it needed never arrived.
        RecordLost = "record_lost",
        /// A response whose request was not seen: the connection was open before fathom, or the request was no HTTP/1.
        NoRequest = "no_request",
        /// It shared a message with other requests; or the connection was open before or misses records, and pipelines: which answer is whose can't be known.
        Pipelined = "pipelined",
        /// Its request's head could not be read, or never became whole.
        BadRequest = "bad_request",
        /// The start of its request or of its answer could not be captured (sendfile, io_uring, an address that faults).
        Unreadable = "unreadable",
        /// What came back was no HTTP/1 response, or more than its framing allows.
        BadResponse = "bad_response",
        /// A 1xx answer was seen, and its final answer followed where it is not captured.
        FinalUnseen = "final_unseen",
        /// The decoder's table was full.
        Evicted = "evicted",
        /// The connection's records came in an impossible order.
        OutOfOrder = "out_of_order",
        /// HTTP/2: its method, path or status refers to a header that was sent before fathom came, or in a part that is missing.
        HeaderUnknown = "header_unknown",
        /// HTTP/2: the connection broke the framing, and was given up.
        FrameError = "frame_error",
        /// HTTP/2: more streams were open on the connection than are held.
        TooManyStreams = "too_many_streams",
        /// HTTP/2: the server pushed it, and nobody had asked for it.
        Pushed = "pushed",
    }
}

outcomes! {
    /// What a connection turned out to speak that nobody saw opening, as it was open before.
    Recognized {
        /// HTTP/1.
        Http1 = "http/1",
        /// HTTP/2.
        Http2 = "http/2",
    }
}

/// The decoder's counts, shared with whoever shows them. One thread writes.
#[derive(Debug, Default)]
pub struct Counts {
    records: [AtomicU64; RecordOutcome::ALL.len()],
    exchanges: [AtomicU64; ExchangeOutcome::ALL.len()],
    recognized: [AtomicU64; Recognized::ALL.len()],
}

impl Counts {
    /// Records with this outcome.
    pub fn records(&self, outcome: RecordOutcome) -> u64 {
        self.records[outcome as usize].load(Relaxed)
    }

    /// Exchanges with this outcome.
    pub fn exchanges(&self, outcome: ExchangeOutcome) -> u64 {
        self.exchanges[outcome as usize].load(Relaxed)
    }

    /// Connections from before that turned out to speak this. Their plain text behind TLS counts as a connection.
    pub fn recognized(&self, as_what: Recognized) -> u64 {
        self.recognized[as_what as usize].load(Relaxed)
    }

    /// Exchanges that are known to have happened and were not handed on.
    pub fn lost(&self) -> u64 {
        let losses = ExchangeOutcome::ALL
            .iter()
            .filter(|&&outcome| outcome != ExchangeOutcome::Delivered);
        losses.map(|&outcome| self.exchanges(outcome)).sum()
    }

    pub(super) fn record(&self, outcome: RecordOutcome) {
        add(&self.records[outcome as usize], 1);
    }

    pub(super) fn recognize(&self, as_what: Recognized) {
        add(&self.recognized[as_what as usize], 1);
    }

    pub(super) fn exchange(&self, outcome: ExchangeOutcome, count: u64) {
        add(&self.exchanges[outcome as usize], count);
    }
}

/// With one writer, a load and a store are enough, and cost no locked instruction.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed) + count, Relaxed);
}

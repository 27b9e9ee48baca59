//! Messages to exchanges: one file a protocol.

pub mod counts;
mod decoder;
pub mod dns;
pub mod exchange;
pub mod grpc;
pub mod hpack;
pub mod http1;
pub mod http2;
pub mod piece;
pub mod pipeline;
pub mod record;
mod trace_state;

pub use counts::{Counts, ExchangeOutcome, Recognized, RecordOutcome};
pub use decoder::{Decoder, Limits, Listener};

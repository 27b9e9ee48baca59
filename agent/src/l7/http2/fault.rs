//! What ends the reading of a connection.

use thiserror::Error;

use crate::l7::hpack;

/// Why a connection can't be read on: an endpoint ends it over this, too, or it never was HTTP/2.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// A connection that is seen from its start does not start as HTTP/2.
    #[error("the connection does not start with HTTP/2's preface and SETTINGS")]
    NoPreface,
    /// A frame that no endpoint may send.
    #[error(
        "a frame of type {kind} and {length} bytes on stream {stream} is none that may be sent"
    )]
    Frame {
        /// Its type.
        kind: u8,
        /// Bytes of its payload.
        length: u32,
        /// Its stream.
        stream: u32,
    },
    /// A header block that another frame interrupts, or goes on that was not begun.
    #[error("the header blocks of a direction are mixed up")]
    Interrupted,
    /// A push by the client.
    #[error("the client promises a stream, as only servers may")]
    Promise,
    /// More padding than frame.
    #[error("a frame's padding is longer than the frame")]
    Padding,
    /// A header block that can't be decoded.
    #[error("{0}")]
    Hpack(#[from] hpack::Error),
    /// Pieces that overlap.
    #[error("two pieces hold the same part of the stream")]
    OutOfOrder,
}

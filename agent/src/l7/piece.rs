//! What decoders of framed protocols read: the byte stream of a connection, in pieces.

use fathom_abi::message::Direction;

use super::exchange::Thread;

/// A part of the byte stream of one direction of a connection. A direction's pieces tile its stream: each starts where the one
/// before ended.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Which stream, seen from the process.
    pub direction: Direction,
    /// Where it starts in its direction's stream.
    pub position: u64,
    /// Bytes that it stands for. `data` holds the first of them; the rest was not captured.
    pub length: u64,
    /// What was captured.
    pub data: &'a [u8],
    /// When its I/O call returned: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// Who made the call.
    pub thread: Thread,
}

impl<'a> Piece<'a> {
    /// The bytes at its start that were captured.
    pub fn captured(&self) -> &'a [u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        &self.data[..self.data.len().min(length)]
    }

    /// How many bytes at its end were not.
    pub fn hole(&self) -> u64 {
        self.length - self.captured().len() as u64
    }
}

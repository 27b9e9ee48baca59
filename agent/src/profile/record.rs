//! The bytes of a `SampleEvent`, taken apart.

use std::mem::offset_of;

use fathom_abi::{
    ConnectionId,
    sample::{ActiveExchange, MAX_FRAMES, SampleEvent},
};

use crate::l7::exchange::ExchangeKey;

/// One record of the `SAMPLES` ring buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The exchange that the thread was serving.
    pub exchange: Option<ExchangeKey>,
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread's name, padded with zeros.
    pub comm: [u8; 16],
    /// How many of `frames` are the kernel's: the first ones.
    pub kernel_frames: usize,
    /// Addresses, leaf first: the kernel's, then the user's.
    pub frames: Box<[u64]>,
}

/// The record is not of the form that the ABI gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample record of {bytes} bytes contradicts itself")]
pub struct Malformed {
    /// Its length.
    pub bytes: usize,
}

impl Sample {
    /// Takes a record apart. The record may be longer than its frames: the ring pads to eight bytes.
    ///
    /// # Errors
    /// When it is shorter than it says, or says more than a record can hold.
    pub fn parse(record: &[u8]) -> Result<Self, Malformed> {
        fields(record).ok_or(Malformed {
            bytes: record.len(),
        })
    }

    /// Addresses of user code, leaf first.
    pub fn user_frames(&self) -> &[u64] {
        &self.frames[self.kernel_frames..]
    }
}

fn fields(record: &[u8]) -> Option<Sample> {
    const EXCHANGE: usize = offset_of!(SampleEvent, exchange);
    const ID: usize = EXCHANGE + offset_of!(ActiveExchange, id);
    let (header, frames) = record.split_at_checked(size_of::<SampleEvent>())?;
    let kernel_frames = usize::from(u16_at(header, offset_of!(SampleEvent, kernel_frames))?);
    let user_frames = usize::from(u16_at(header, offset_of!(SampleEvent, user_frames))?);
    if kernel_frames > MAX_FRAMES || user_frames > MAX_FRAMES {
        return None;
    }
    let frames = frames.get(..(kernel_frames + user_frames) * 8)?;
    let message = u32_at(header, EXCHANGE + offset_of!(ActiveExchange, message))?;
    let exchange = ExchangeKey {
        connection: ConnectionId {
            sock: u64_at(header, ID + offset_of!(ConnectionId, sock))?,
            born_ns: u64_at(header, ID + offset_of!(ConnectionId, born_ns))?,
        },
        message,
        part: 0,
    };
    Some(Sample {
        at_ns: u64_at(header, offset_of!(SampleEvent, at_ns))?,
        exchange: (message != 0).then_some(exchange),
        tgid: u32_at(header, offset_of!(SampleEvent, tgid))?,
        tid: u32_at(header, offset_of!(SampleEvent, tid))?,
        comm: array_at(header, offset_of!(SampleEvent, comm))?,
        kernel_frames,
        frames: frames
            .chunks_exact(8)
            .filter_map(|frame| u64_at(frame, 0))
            .collect(),
    })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
pub(super) mod tests;

//! The bytes of a `SampleEvent`, taken apart.

use std::mem::offset_of;

use fathom_abi::{
    ConnectionId,
    sample::{ActiveExchange, MAX_FRAMES, REGISTERS, SampleEvent, StoppedFrame, UserEnd},
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
    /// Addresses, leaf first: the kernel's, then the user's. All but the first of each are behind what runs: one less lies in the call, or in the instruction that a
    /// signal interrupted.
    pub frames: Box<[u64]>,
    /// The kernel's name of the address space; another one after an exec. 0 for none.
    pub space: u64,
    /// Why the user's frames end where they do.
    pub end: UserEnd,
    /// What to unwind the stack further with, where the program could not for want of knowledge and the ring had room for it.
    pub stopped: Option<Box<Stopped>>,
}

/// The frame at which the program stopped, which is the sample's last one, and the stack from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The instruction's address, or the return address.
    pub ip: u64,
    /// Whether `ip` is that of an instruction; else the call lies before it.
    pub is_exact: bool,
    /// Which registers are known: bit n is register n.
    pub known: u32,
    /// The registers by DWARF number; 0 where one is not known.
    pub registers: [u64; REGISTERS],
    /// The stack's bytes, from the stack pointer on.
    pub stack: Box<[u8]>,
}

impl Stopped {
    /// A register by its DWARF number, where it is known.
    pub fn register(&self, number: u8) -> Option<u64> {
        let value = self.registers.get(usize::from(number))?;
        (self.known >> number & 1 != 0).then_some(*value)
    }
}

/// The record is not of the form that the ABI gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample record of {bytes} bytes contradicts itself")]
pub struct Malformed {
    /// Its length.
    pub bytes: usize,
}

impl Sample {
    /// Takes a record apart. The record may be longer than what is in it: the ring pads to eight bytes.
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
    let (frames, rest) = frames.split_at_checked((kernel_frames + user_frames) * 8)?;
    let stopped = match header[offset_of!(SampleEvent, has_copy)] {
        0 => None,
        _ => {
            let copied = u16_at(header, offset_of!(SampleEvent, copied))?;
            Some(Box::new(stopped(rest, usize::from(copied))?))
        }
    };
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
        space: u64_at(header, offset_of!(SampleEvent, space))?,
        end: UserEnd::of(header[offset_of!(SampleEvent, user_end)])?,
        stopped,
    })
}

fn stopped(bytes: &[u8], copied: usize) -> Option<Stopped> {
    let (frame, stack) = bytes.split_at_checked(size_of::<StoppedFrame>())?;
    let mut registers = [0; REGISTERS];
    for (number, register) in registers.iter_mut().enumerate() {
        *register = u64_at(frame, offset_of!(StoppedFrame, registers) + number * 8)?;
    }
    Some(Stopped {
        ip: u64_at(frame, offset_of!(StoppedFrame, ip))?,
        is_exact: u32_at(frame, offset_of!(StoppedFrame, is_exact))? != 0,
        known: u32_at(frame, offset_of!(StoppedFrame, known))?,
        registers,
        stack: stack.get(..copied)?.into(),
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

//! The system call that the current task is in, from the registers that it saved when it entered the kernel.
//!
//! They still hold the arguments when the call returns, so that the taps need no program at the entry.

use aya_ebpf::helpers::bpf_probe_read_user;
use fathom_abi::message::Direction;

pub use crate::task::registers;
use crate::{
    kernel::Memory as _,
    task::{Current, offset},
};

/// Numbers of `arch/x86/entry/syscalls/syscall_64.tbl`.
#[cfg(bpf_target_arch = "x86_64")]
mod number {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDFILE: u64 = 40;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
}

/// Numbers of `include/uapi/asm-generic/unistd.h`.
#[cfg(bpf_target_arch = "aarch64")]
mod number {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const SENDFILE: u64 = 71;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
}

/// Flags of a receive that takes nothing out of the socket: with `MSG_PEEK` the bytes stay and will be read again, with `MSG_ERRQUEUE` they are a
/// copy of what was sent.
pub const LOOKS: u64 = 0x2002;

/// `MSG_TRUNC`: of a datagram that does not fit, its whole length is the result.
pub const MSG_TRUNC: u64 = 0x20;

/// Messages that one call can move (`UIO_MAXIOV`).
pub const MAX_MESSAGES: u32 = 1024;

/// Bytes of a `struct mmsghdr`: a `struct user_msghdr` of 56, and the length of what was moved.
const MESSAGE: u64 = 64;

/// Where that length is.
const MESSAGE_LENGTH: u64 = 56;

/// Segments of an iovec that are looked at for the first bytes.
const MAX_SEGMENTS: u64 = 4;

/// Where a call's bytes lie in user memory.
///
/// All fields are words, and those that are zero where there is one segment don't lie side by side: the compiler would clear them in a call, byte by byte,
/// which took a tenth of the time of a tap's program.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    /// Where the `struct iovec` of the next segment lies; 0 for none.
    pub next: u64,
    /// The first segment's address; 0 for none.
    pub address: u64,
    /// Segments there, or more: the bytes that the call moved are the bound. (An exact number would differ with each turn of the loop
    /// that found the first segment, and the verifier would walk what follows for each.)
    pub more: u64,
    /// The first segment's length.
    pub len: u64,
    /// 1 where they lie in kernel memory.
    pub in_kernel: u64,
}

impl Buffer {
    /// Nowhere.
    pub const NONE: Self = Self::one(0, 0);

    /// A single segment.
    #[inline(always)]
    pub const fn one(address: u64, len: u64) -> Self {
        Self {
            address,
            len,
            next: 0,
            more: 0,
            in_kernel: 0,
        }
    }
}

/// Which way the bytes of a system call go; NONE for one that moves none.
#[inline(always)]
pub fn direction(nr: u64) -> Direction {
    match nr {
        number::READ | number::READV | number::RECVFROM | number::RECVMSG | number::RECVMMSG => {
            Direction::RECEIVED
        }
        number::WRITE
        | number::WRITEV
        | number::SENDTO
        | number::SENDMSG
        | number::SENDMMSG
        | number::SENDFILE => Direction::SENT,
        _ => Direction::NONE,
    }
}

/// The number of the system call that the task is in.
#[inline(always)]
pub fn current(registers: Current) -> u64 {
    registers.read(offset!(regs_orig_ax))
}

/// Whether the call only looks at what it reads.
#[inline(always)]
pub fn peeks(registers: Current, nr: u64) -> bool {
    let flags: u64 = match nr {
        number::RECVFROM | number::RECVMMSG => registers.read(offset!(regs_r10)),
        number::RECVMSG => registers.read(offset!(regs_dx)),
        _ => 0,
    };
    flags & LOOKS != 0
}

/// Whether the call's result is a number of messages and not of bytes.
#[inline(always)]
pub fn counts_messages(nr: u64) -> bool {
    nr == number::SENDMMSG || nr == number::RECVMMSG
}

/// The file descriptor that the call moves bytes through.
#[inline(always)]
pub fn descriptor(registers: Current) -> u32 {
    registers.read::<u64>(offset!(regs_di)) as u32
}

/// Where the first bytes of the call that the task is in lie in user memory.
#[inline(always)]
pub fn current_buffer() -> Buffer {
    let registers = registers();
    buffer(registers, current(registers))
}

/// Where the call's first bytes lie in user memory.
#[inline(always)]
pub fn buffer(registers: Current, nr: u64) -> Buffer {
    let second: u64 = registers.read(offset!(regs_si));
    match nr {
        number::READ | number::WRITE | number::SENDTO | number::RECVFROM => {
            Buffer::one(second, registers.read(offset!(regs_dx)))
        }
        number::READV | number::WRITEV => segments(second, registers.read(offset!(regs_dx))),
        // `struct mmsghdr` starts with its `struct user_msghdr`.
        number::SENDMSG | number::RECVMSG | number::SENDMMSG | number::RECVMMSG => message(second),
        _ => Buffer::NONE,
    }
}

/// The call's second argument.
#[inline(always)]
pub fn second(registers: Current) -> u64 {
    registers.read(offset!(regs_si))
}

/// The call's third argument.
#[inline(always)]
pub fn third(registers: Current) -> u64 {
    registers.read(offset!(regs_dx))
}

/// Where the bytes of one of a call's messages lie in user memory; all calls but those of several have one.
#[inline(always)]
pub fn message_buffer(registers: Current, nr: u64, index: u32) -> Buffer {
    if counts_messages(nr) {
        message(second(registers).wrapping_add(u64::from(index) * MESSAGE))
    } else {
        buffer(registers, nr)
    }
}

/// Where the address that comes with a message lies in user memory; 0 for none.
#[inline(always)]
pub fn message_name(registers: Current, nr: u64, index: u32) -> u64 {
    match nr {
        number::SENDTO | number::RECVFROM => registers.read(offset!(regs_r8)),
        number::SENDMSG | number::RECVMSG | number::SENDMMSG | number::RECVMMSG => {
            // `index` is 0 for a single one.
            let message = second(registers).wrapping_add(u64::from(index) * MESSAGE);
            // SAFETY: the helper checks the user address.
            unsafe { bpf_probe_read_user(message as *const u64) }.unwrap_or(0)
        }
        _ => 0,
    }
}

/// How many bytes of a message were moved, by a call of several that has returned.
#[inline(always)]
pub fn message_length(array: u64, index: u32) -> u64 {
    let at = array.wrapping_add(u64::from(index) * MESSAGE + MESSAGE_LENGTH);
    // SAFETY: the helper checks the user address.
    u64::from(unsafe { bpf_probe_read_user(at as *const u32) }.unwrap_or(0))
}

/// `struct user_msghdr`: msg_iov at 16, msg_iovlen at 24.
#[inline(always)]
fn message(address: u64) -> Buffer {
    // SAFETY: the helper checks the user address.
    match unsafe { bpf_probe_read_user((address + 16) as *const [u64; 2]) } {
        Ok([iov, count]) => segments(iov, count),
        Err(_) => Buffer::NONE,
    }
}

/// The first segment of a `struct iovec` array that is not empty.
#[inline(always)]
pub fn segments(address: u64, count: u64) -> Buffer {
    for index in 0..MAX_SEGMENTS {
        if index >= count {
            break;
        }
        // SAFETY: the helper checks the user address.
        match unsafe { bpf_probe_read_user((address + index * 16) as *const [u64; 2]) } {
            Ok([first, len]) if len != 0 => {
                return Buffer {
                    address: first,
                    len,
                    next: address + (index + 1) * 16,
                    more: count,
                    in_kernel: 0,
                };
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Buffer::NONE
}

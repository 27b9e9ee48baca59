//! What the taps on `tcp_sendmsg` and `tcp_recvmsg` have in common: the buffer is known at the entry, the bytes at the return.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use fathom_abi::{counters::NetCounter, message::Direction, offsets::ABSENT};

use crate::{
    connection,
    globals::{ITER_IOVEC, ITER_UBUF, offset},
    io::{self, Io},
    kernel::read,
    maps::{self, INFLIGHT, Inflight},
    syscall::{self, Buffer},
};

/// A call begins: notes its sock and where its first bytes lie.
#[inline(always)]
pub fn enter(sock: u64, msg: u64) {
    let pid_tgid = bpf_get_current_pid_tgid();
    if connection::is_own((pid_tgid >> 32) as u32) {
        return;
    }
    let buffer = if msg == 0 {
        Buffer { address: 0, len: 0 }
    } else {
        first_bytes(msg)
    };
    let inflight = Inflight {
        sock,
        buffer: buffer.address,
        len: buffer.len,
    };
    if INFLIGHT.insert(pid_tgid, inflight, 0).is_err() {
        maps::count(NetCounter::InflightFull);
    }
}

/// The call returns.
#[inline(always)]
pub fn exit(result: i32, direction: Direction) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(inflight) = INFLIGHT.get_ptr(pid_tgid) else {
        return;
    };
    // SAFETY: the entry's memory outlives this program; it is this thread's own.
    let Inflight { sock, buffer, len } = unsafe { *inflight };
    let _ = INFLIGHT.remove(pid_tgid);
    if result <= 0 {
        return;
    }
    let io = Io {
        sock,
        bytes: result as u64,
        buffer,
        len,
    };
    io::on_io(&io, direction);
}

/// The first segment of a `struct msghdr`'s iterator that lies in user memory.
#[inline(always)]
fn first_bytes(msg: u64) -> Buffer {
    let iter = msg.wrapping_add(u64::from(offset!(msg_iter)));
    let skip: u64 = read(iter, offset!(iter_iov_offset)).unwrap_or(0);
    let kind = if offset!(iter_type) == ABSENT {
        // Before 5.14 the lowest bit is the direction.
        read::<u32>(iter, offset!(iter_type_old)).unwrap_or(0) & !1
    } else {
        u32::from(read::<u8>(iter, offset!(iter_type)).unwrap_or(0))
    };
    if offset!(iter_ubuf) != ABSENT && kind == ITER_UBUF.load() {
        let address: u64 = read(iter, offset!(iter_ubuf)).unwrap_or(0);
        // The iterator's count bounds it; what the call moves bounds it closer.
        return Buffer {
            address: address.wrapping_add(skip),
            len: u64::MAX,
        };
    }
    if kind != ITER_IOVEC.load() {
        return Buffer { address: 0, len: 0 };
    }
    let vector: u64 = if offset!(iter_iov) == ABSENT {
        read(iter, offset!(iter_iov_old)).unwrap_or(0)
    } else {
        read(iter, offset!(iter_iov)).unwrap_or(0)
    };
    let count: u64 = read(iter, offset!(iter_nr_segs)).unwrap_or(0);
    kernel_segments(vector, count, skip)
}

/// The first segment of an iovec array in kernel memory that is not empty, without its first `skip` bytes.
#[inline(always)]
fn kernel_segments(vector: u64, count: u64, skip: u64) -> Buffer {
    const MAX_SEGMENTS: u64 = 4;
    let mut skip = skip;
    for index in 0..MAX_SEGMENTS {
        if index >= count {
            break;
        }
        let Some([address, len]) = read::<[u64; 2]>(vector.wrapping_add(index * 16), 0) else {
            break;
        };
        if len > skip {
            return Buffer {
                address: address.wrapping_add(skip),
                len: len - skip,
            };
        }
        skip = 0;
    }
    Buffer { address: 0, len: 0 }
}

/// Whether the flags of a receive say that the bytes stay where they are.
#[inline(always)]
pub fn peeks(flags: u64) -> bool {
    flags & syscall::MSG_PEEK != 0
}

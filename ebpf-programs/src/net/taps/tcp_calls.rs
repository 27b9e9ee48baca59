//! What the taps on `tcp_sendmsg` and `tcp_recvmsg` have in common: a `struct msghdr`'s iterator, and calls in flight.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use fathom_abi::{counters::NetCounter, message::Direction, offsets::ABSENT};

use crate::{
    connection,
    globals::{ITER_IOVEC, ITER_UBUF},
    io::{self, Turn},
    kernel::read,
    maps::{self, INFLIGHT, Inflight},
    syscall::{self, Buffer},
    task::offset,
};

/// Segments of an iovec that are looked at: nginx hands on 64 at most.
const MAX_SEGMENTS: u32 = 64;

/// A call begins: notes its sock and where its first bytes lie.
#[inline(always)]
pub fn enter(sock: u64, msg: u64) {
    let pid_tgid = bpf_get_current_pid_tgid();
    if connection::is_own((pid_tgid >> 32) as u32) {
        return;
    }
    let buffer = Iterator::of(msg).map_or(Buffer::NONE, Iterator::first);
    let inflight = Inflight {
        sock,
        buffer: buffer.address,
        len: buffer.len,
        next: buffer.next,
        more: buffer.more,
    };
    // The kernel has few instances of a return probe, and each call that sleeps holds one.
    if INFLIGHT.get_ptr(pid_tgid).is_some() {
        maps::count(NetCounter::ReturnMissed);
    }
    if INFLIGHT.insert(pid_tgid, inflight, 0).is_err() {
        maps::count(NetCounter::InflightFull);
    }
}

/// The call returns. Returns whether its walker is to go on.
#[inline(always)]
pub fn exit(result: i32, direction: Direction) -> bool {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(inflight) = INFLIGHT.get_ptr(pid_tgid) else {
        return false;
    };
    // SAFETY: the entry's memory outlives this program; it is this thread's own.
    let inflight = unsafe { *inflight };
    let _ = INFLIGHT.remove(pid_tgid);
    if result <= 0 {
        return false;
    }
    let bytes = result as u64;
    io::on_io(Turn::Earlier, inflight.sock, bytes, direction, || Buffer {
        address: inflight.buffer,
        len: inflight.len,
        next: inflight.next,
        more: inflight.more,
        in_kernel: 1,
    })
}

/// The call returns, and its arguments are still at hand. Returns whether its walker is to go on.
#[inline(always)]
pub fn returned(turn: Turn, sock: u64, msg: u64, result: i32, direction: Direction) -> bool {
    if result <= 0 {
        return false;
    }
    let bytes = result as u64;
    io::on_io(turn, sock, bytes, direction, || {
        Iterator::of(msg).map_or(Buffer::NONE, |iterator| iterator.moved(bytes))
    })
}

/// Where the `bytes` lie that a datagram socket moved with a kernel's `struct msghdr`.
#[inline(always)]
pub fn moved(msg: u64, bytes: u64) -> Buffer {
    Iterator::of(msg).map_or(Buffer::NONE, |iterator| iterator.moved(bytes))
}

/// A `struct iov_iter` over user memory.
#[derive(Clone, Copy)]
struct Iterator {
    /// Whether there is one buffer and no array.
    is_single: bool,
    /// The buffer's address in user memory, or that of the `struct iovec` in kernel memory where it stands.
    at: u64,
    /// Bytes of it that are done.
    skip: u64,
    /// What is left of the array.
    segments: u64,
}

impl Iterator {
    /// That of a `struct msghdr`; none where the bytes are not in user memory.
    #[inline(always)]
    fn of(msg: u64) -> Option<Self> {
        if msg == 0 {
            return None;
        }
        let iter = msg.wrapping_add(u64::from(offset!(msg_iter)));
        let skip: u64 = read(iter, offset!(iter_iov_offset));
        let kind = if offset!(iter_type) == ABSENT {
            // Before 5.14 the lowest bit is the direction.
            read::<u32>(iter, offset!(iter_type_old)) & !1
        } else {
            u32::from(read::<u8>(iter, offset!(iter_type)))
        };
        if offset!(iter_ubuf) != ABSENT && kind == ITER_UBUF.load() {
            return Some(Self {
                is_single: true,
                at: read(iter, offset!(iter_ubuf)),
                skip,
                segments: 1,
            });
        }
        if kind != ITER_IOVEC.load() {
            return None;
        }
        Some(Self {
            is_single: false,
            at: if offset!(iter_iov) == ABSENT {
                read(iter, offset!(iter_iov_old))
            } else {
                read(iter, offset!(iter_iov))
            },
            skip,
            segments: read(iter, offset!(iter_nr_segs)),
        })
    }

    /// The first bytes that are still to be moved.
    #[inline(always)]
    fn first(self) -> Buffer {
        if self.is_single {
            // The iterator's count bounds it; what the call moves bounds it closer.
            return Buffer::one(self.at.wrapping_add(self.skip), u64::MAX);
        }
        let mut at = self.at;
        let mut skip = self.skip;
        for index in 0..MAX_SEGMENTS {
            if u64::from(index) >= self.segments {
                break;
            }
            let [address, len]: [u64; 2] = read(at, 0);
            if len > skip {
                return Buffer {
                    address: address.wrapping_add(skip),
                    len: len - skip,
                    next: at.wrapping_add(16),
                    more: self.segments,
                    in_kernel: 1,
                };
            }
            skip = 0;
            at = at.wrapping_add(16);
        }
        Buffer::NONE
    }

    /// The first of the last `bytes` that were moved: back over the segments that they fill.
    #[inline(always)]
    fn moved(self, bytes: u64) -> Buffer {
        if self.is_single {
            return Buffer::one(self.at.wrapping_add(self.skip).wrapping_sub(bytes), bytes);
        }
        let mut at = self.at;
        let mut done = self.skip;
        let mut left = bytes;
        for _ in 0..MAX_SEGMENTS {
            if done >= left {
                let address: u64 = read(at, 0);
                return Buffer {
                    address: address.wrapping_add(done - left),
                    len: left,
                    next: at.wrapping_add(16),
                    more: u64::from(MAX_SEGMENTS),
                    in_kernel: 1,
                };
            }
            left -= done;
            at = at.wrapping_sub(16);
            done = read(at, 8);
        }
        Buffer::NONE
    }
}

/// Whether the flags of a receive say that the bytes stay where they are.
#[inline(always)]
pub fn peeks(flags: u64) -> bool {
    flags & syscall::LOOKS != 0
}

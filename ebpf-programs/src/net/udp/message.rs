//! One datagram of a call: where its bytes lie, and what address comes with it.

use aya_ebpf::helpers::bpf_probe_read_user;
use fathom_abi::udp::{MAX_DNS, UdpSock};

use super::{How, Remote};
use crate::{
    kernel::read,
    sock::{AF_INET, AF_INET6},
    syscall::{self, Buffer},
    taps::tcp_calls,
    task::{Current, offset},
};

/// One datagram.
#[derive(Clone, Copy)]
pub struct Message {
    /// Where its first bytes lie in user memory; 0 for nowhere.
    pub address: u64,
    /// How many lie there.
    len: u64,
    /// The address that comes with it, a `struct sockaddr`; 0 for none.
    name: u64,
    /// Whether that lies in kernel memory.
    name_in_kernel: bool,
}

impl Message {
    /// That of the system call which the task is in.
    #[inline(always)]
    pub fn of_call(state: &mut UdpSock, how: How, tid: u32) -> Self {
        let registers = syscall::registers();
        let nr = syscall::current(registers);
        let index = if how.has(How::INDEXED) {
            (how.0 >> How::INDEX_SHIFT) as u32
        } else if syscall::counts_messages(nr) {
            next(state, registers, tid)
        } else {
            0
        };
        let buffer = syscall::message_buffer(registers, nr, index);
        // The address of who has sent is handed out when the call returns.
        let is_there = how.has(How::SENT) || how.has(How::RETURNED);
        Self {
            address: buffer.address,
            len: buffer.len,
            name: if is_there {
                syscall::message_name(registers, nr, index)
            } else {
                0
            },
            name_in_kernel: false,
        }
    }

    /// That of a kernel's `struct msghdr`, of which `bytes` were moved.
    #[inline(always)]
    pub fn of_kernel(msg: u64, how: How, bytes: u64) -> Self {
        let buffer = if how.has(How::UNREADABLE) {
            Buffer::NONE
        } else {
            tcp_calls::moved(msg, bytes)
        };
        Self {
            address: buffer.address,
            len: buffer.len,
            name: read(msg, offset!(msg_name)),
            name_in_kernel: true,
        }
    }

    /// How many of its `bytes` a record of DNS can carry.
    #[inline(always)]
    pub fn readable(&self, bytes: u64) -> u64 {
        if self.address == 0 {
            return 0;
        }
        let here = crate::straight::min(bytes, self.len);
        crate::straight::min(here, MAX_DNS as u64)
    }

    /// Its first bytes; zeros where they can't be read.
    #[inline(always)]
    pub fn first_bytes(&self) -> [u8; 6] {
        if self.address == 0 || self.len < 6 {
            return [0; 6];
        }
        // SAFETY: the helper checks the user address.
        unsafe { bpf_probe_read_user(self.address as *const [u8; 6]) }.unwrap_or([0; 6])
    }

    /// The address that comes with it.
    ///
    /// `struct sockaddr_in` has family, port and address in its first 8 bytes, `struct sockaddr_in6` the address behind 8 bytes.
    #[inline(always)]
    pub fn remote(&self) -> Remote {
        let mut remote = Remote::UNKNOWN;
        if self.name == 0 {
            return remote;
        }
        let [family, port, low, high]: [u16; 4] = self.name_at(0);
        if family == AF_INET {
            remote.addr[10] = 0xff;
            remote.addr[11] = 0xff;
            remote.addr[12..14].copy_from_slice(&low.to_ne_bytes());
            remote.addr[14..16].copy_from_slice(&high.to_ne_bytes());
        } else if family == AF_INET6 {
            remote.addr = self.name_at(8);
        } else {
            return remote;
        }
        remote.port = u16::from_be(port);
        remote
    }

    #[inline(always)]
    fn name_at<T: Copy + Default>(&self, offset: u32) -> T {
        if self.name_in_kernel {
            return read(self.name, offset);
        }
        // SAFETY: the helper checks the user address.
        unsafe { bpf_probe_read_user(self.name.wrapping_add(u64::from(offset)) as *const T) }
            .unwrap_or_default()
    }
}

/// Which message of a call that moves several was moved now. Nothing says it: the calls of a socket are counted for as long as the same
/// thread uses the same array, up to its length. A call that ended early and is made again is told apart by its array, which starts where the first
/// call ended.
#[inline(always)]
fn next(state: &mut UdpSock, registers: Current, tid: u32) -> u32 {
    let array = syscall::second(registers);
    if state.array != array || state.array_tid != tid {
        state.array = array;
        state.array_tid = tid;
        state.index = 0;
    }
    let index = state.index;
    state.index = index.wrapping_add(1);
    if u64::from(state.index) >= syscall::third(registers) {
        state.array = 0;
    }
    index
}

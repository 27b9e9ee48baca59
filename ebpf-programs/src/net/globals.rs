//! What the loader knows and the programs don't. The kernel freezes these before it verifies, so that a branch on one
//! costs nothing: the verifier removes the side that can't be taken.

use aya_ebpf::Global;
use fathom_abi::message::{GoOffsets, MAX_CAPTURE};

/// The agent's own process; its sockets make no record.
#[unsafe(no_mangle)]
pub static SELF_TGID: Global<u32> = Global::new(0);

/// Bytes of a message that records may carry, [`MAX_CAPTURE`] of them each.
#[unsafe(no_mangle)]
pub static CAPTURE: Global<u32> = Global::new(MAX_CAPTURE as u32);

/// Bytes in `MESSAGES` past which a record wakes its reader.
#[unsafe(no_mangle)]
pub static WAKE_AT: Global<u64> = Global::new(u64::MAX);

/// Bytes in `FLOWS` past which a record wakes the reader of both.
#[unsafe(no_mangle)]
pub static WAKE_FOR_FLOWS_AT: Global<u64> = Global::new(u64::MAX);

/// Arguments of `tcp_recvmsg`: 6 before 5.19, then 5 (`nonblock` went away), then 4 (`addr_len` did too).
#[unsafe(no_mangle)]
pub static RECVMSG_ARGUMENTS: Global<u32> = Global::new(5);

/// Arguments of `inet_csk_accept`: 4, and 2 since 6.10.
#[unsafe(no_mangle)]
pub static ACCEPT_ARGUMENTS: Global<u32> = Global::new(2);

/// The value of `ITER_IOVEC`, which moved between kernels.
#[unsafe(no_mangle)]
pub static ITER_IOVEC: Global<u32> = Global::new(u32::MAX);

/// The value of `ITER_UBUF` (6.0).
#[unsafe(no_mangle)]
pub static ITER_UBUF: Global<u32> = Global::new(u32::MAX);

/// 1 to keep the table of threads and the exchanges they serve.
#[unsafe(no_mangle)]
pub static TRACK_ACTIVE: Global<u32> = Global::new(1);

/// 1 to see UDP.
#[unsafe(no_mangle)]
pub static WATCH_UDP: Global<u32> = Global::new(1);

/// How Go's `crypto/tls` leads to a socket.
#[unsafe(no_mangle)]
pub static GO_LAYOUT: Global<GoOffsets> = Global::new(GoOffsets {
    conn: 0,
    itab_hash: 0,
    net_fd: 0,
    sysfd: 0,
    tcp_conn: [0; 5],
    reserved: 0,
});

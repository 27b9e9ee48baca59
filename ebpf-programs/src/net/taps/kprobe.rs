//! kprobe and kretprobe on the TCP calls: for kernels that refuse fentry and lack the socket tracepoints.

use core::hint::black_box;

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use fathom_abi::message::Direction;

use super::tcp_calls;
use crate::{
    globals::RECVMSG_ARGUMENTS,
    io::{Turn, entry},
    maps::WALKERS,
    pieces,
};

const SENT: u32 = entry(Turn::Earlier, true);
const RECEIVED: u32 = entry(Turn::Earlier, false);

/// `tcp_sendmsg(sk, msg, size)`
#[kprobe]
pub fn sendmsg_called(ctx: ProbeContext) -> u32 {
    tcp_calls::enter(ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0));
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`: how sendfile sent before 6.5.
#[kprobe]
pub fn sendpage_called(ctx: ProbeContext) -> u32 {
    tcp_calls::enter(ctx.arg(0).unwrap_or(0), 0);
    0
}

/// The result of a call that sends.
#[kretprobe]
pub fn send_returned(ctx: RetProbeContext) -> u32 {
    if tcp_calls::exit(ctx.ret::<u64>() as i32, Direction::SENT) {
        pieces::go_on(&ctx, &WALKERS, SENT);
    }
    0
}

/// Goes on with a call that sends.
#[kretprobe]
pub fn send_returned_walk(ctx: RetProbeContext) -> u32 {
    pieces::walk(&ctx, &WALKERS, SENT);
    0
}

/// `tcp_recvmsg(sk, msg, len, [nonblock,] flags[, addr_len])`
#[kprobe]
pub fn recvmsg_called(ctx: ProbeContext) -> u32 {
    // As in the fentry tap: the place in the context has to stay a constant.
    let flags: u64 = if RECVMSG_ARGUMENTS.load() == 6 {
        black_box(ctx.arg(4).unwrap_or(0))
    } else {
        black_box(ctx.arg(3).unwrap_or(0))
    };
    if !tcp_calls::peeks(flags) {
        tcp_calls::enter(ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0));
    }
    0
}

/// The result of `tcp_recvmsg`.
#[kretprobe]
pub fn recvmsg_returned(ctx: RetProbeContext) -> u32 {
    if tcp_calls::exit(ctx.ret::<u64>() as i32, Direction::RECEIVED) {
        pieces::go_on(&ctx, &WALKERS, RECEIVED);
    }
    0
}

/// Goes on with a call that receives.
#[kretprobe]
pub fn recvmsg_returned_walk(ctx: RetProbeContext) -> u32 {
    pieces::walk(&ctx, &WALKERS, RECEIVED);
    0
}

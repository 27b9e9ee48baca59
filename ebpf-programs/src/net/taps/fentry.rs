//! fentry and fexit on the TCP calls (5.5, x86-64; needs BTF and BPF trampolines): also catches io_uring, sendfile and splice.

use core::hint::black_box;

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use fathom_abi::message::Direction;

use super::tcp_calls;
use crate::globals::RECVMSG_ARGUMENTS;

/// `tcp_sendmsg(sk, msg, size)`
#[fentry(function = "tcp_sendmsg")]
pub fn sendmsg_entry(ctx: FEntryContext) -> i32 {
    tcp_calls::enter(ctx.arg(0), ctx.arg(1));
    0
}

/// `int tcp_sendmsg(sk, msg, size)`
#[fexit(function = "tcp_sendmsg")]
pub fn sendmsg_exit(ctx: FExitContext) -> i32 {
    tcp_calls::exit(ctx.arg::<u64>(3) as i32, Direction::SENT);
    0
}

/// `tcp_sendpage(sk, page, offset, size, flags)`: how sendfile sent before 6.5.
#[fentry(function = "tcp_sendpage")]
pub fn sendpage_entry(ctx: FEntryContext) -> i32 {
    tcp_calls::enter(ctx.arg(0), 0);
    0
}

/// `int tcp_sendpage(sk, page, offset, size, flags)`
#[fexit(function = "tcp_sendpage")]
pub fn sendpage_exit(ctx: FExitContext) -> i32 {
    tcp_calls::exit(ctx.arg::<u64>(5) as i32, Direction::SENT);
    0
}

/// `tcp_recvmsg(sk, msg, len, [nonblock,] flags[, addr_len])`
#[fentry(function = "tcp_recvmsg")]
pub fn recvmsg_entry(ctx: FEntryContext) -> i32 {
    // Left alone the compiler makes one read at a computed place of the branches, and verifiers before 7.x want the places
    // in the context to be constants.
    let flags: u64 = if RECVMSG_ARGUMENTS.load() == 6 {
        black_box(ctx.arg(4))
    } else {
        black_box(ctx.arg(3))
    };
    if !tcp_calls::peeks(flags) {
        tcp_calls::enter(ctx.arg(0), ctx.arg(1));
    }
    0
}

/// `int tcp_recvmsg(…)`: the result lies behind the arguments.
#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg_exit(ctx: FExitContext) -> i32 {
    let result: u64 = match RECVMSG_ARGUMENTS.load() {
        6 => black_box(ctx.arg(6)),
        5 => black_box(ctx.arg(5)),
        _ => black_box(ctx.arg(4)),
    };
    tcp_calls::exit(result as i32, Direction::RECEIVED);
    0
}

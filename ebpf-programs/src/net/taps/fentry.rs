//! fexit on the TCP calls (5.5, x86-64; needs BTF and BPF trampolines): also catches io_uring, sendfile and splice.
//!
//! No program at the entry: at the return the arguments are still there, and the iterator says where it came from.
//!
//! A function's fexit programs run newest first (`__bpf_trampoline_link_prog`), so that a spare, once attached, has the
//! earlier turn.

use core::hint::black_box;

use aya_ebpf::{EbpfContext as _, macros::fexit, programs::FExitContext};
use fathom_abi::message::Direction;

use super::tcp_calls;
use crate::{
    globals::RECVMSG_ARGUMENTS,
    io::{Turn, entry},
    kernel,
    maps::{RECVMSG_WALKERS, SENDMSG_WALKERS, SENDPAGE_WALKERS},
    pieces,
};

/// `int tcp_sendmsg(sk, msg, size)`
#[fexit(function = "tcp_sendmsg")]
pub fn sendmsg_exit(ctx: FExitContext) -> i32 {
    sent(Turn::Later, &ctx);
    0
}

/// The spare of [`sendmsg_exit`].
#[fexit(function = "tcp_sendmsg")]
pub fn sendmsg_exit_spare(ctx: FExitContext) -> i32 {
    sent(Turn::Earlier, &ctx);
    0
}

/// `int tcp_sendpage(sk, page, offset, size, flags)`: how sendfile sent before 6.5.
#[fexit(function = "tcp_sendpage")]
pub fn sendpage_exit(ctx: FExitContext) -> i32 {
    page_sent(Turn::Later, &ctx);
    0
}

/// The spare of [`sendpage_exit`].
#[fexit(function = "tcp_sendpage")]
pub fn sendpage_exit_spare(ctx: FExitContext) -> i32 {
    page_sent(Turn::Earlier, &ctx);
    0
}

/// `int tcp_recvmsg(sk, msg, len, [nonblock,] flags[, addr_len])`
#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg_exit(ctx: FExitContext) -> i32 {
    received(Turn::Later, &ctx);
    0
}

/// The spare of [`recvmsg_exit`].
#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg_exit_spare(ctx: FExitContext) -> i32 {
    received(Turn::Earlier, &ctx);
    0
}

/// Goes on with a call that [`sendmsg_exit`] has begun.
#[fexit(function = "tcp_sendmsg")]
pub fn sendmsg_exit_walk(ctx: FExitContext) -> i32 {
    pieces::walk(&ctx, &SENDMSG_WALKERS, const { entry(Turn::Later, true) });
    0
}

/// Goes on with a call that [`sendmsg_exit_spare`] has begun.
#[fexit(function = "tcp_sendmsg")]
pub fn sendmsg_exit_spare_walk(ctx: FExitContext) -> i32 {
    pieces::walk(&ctx, &SENDMSG_WALKERS, const { entry(Turn::Earlier, true) });
    0
}

/// Goes on with a call that [`sendpage_exit`] has begun.
#[fexit(function = "tcp_sendpage")]
pub fn sendpage_exit_walk(ctx: FExitContext) -> i32 {
    pieces::walk(&ctx, &SENDPAGE_WALKERS, const { entry(Turn::Later, true) });
    0
}

/// Goes on with a call that [`sendpage_exit_spare`] has begun.
#[fexit(function = "tcp_sendpage")]
pub fn sendpage_exit_spare_walk(ctx: FExitContext) -> i32 {
    pieces::walk(
        &ctx,
        &SENDPAGE_WALKERS,
        const { entry(Turn::Earlier, true) },
    );
    0
}

/// Goes on with a call that [`recvmsg_exit`] has begun.
#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg_exit_walk(ctx: FExitContext) -> i32 {
    pieces::walk(&ctx, &RECVMSG_WALKERS, const { entry(Turn::Later, false) });
    0
}

/// Goes on with a call that [`recvmsg_exit_spare`] has begun.
#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg_exit_spare_walk(ctx: FExitContext) -> i32 {
    pieces::walk(
        &ctx,
        &RECVMSG_WALKERS,
        const { entry(Turn::Earlier, false) },
    );
    0
}

#[inline(always)]
fn sent(turn: Turn, ctx: &FExitContext) {
    let result: u64 = ctx.arg(3);
    if tcp_calls::returned(turn, sock(ctx), ctx.arg(1), result as i32, Direction::SENT) {
        pieces::go_on(ctx, &SENDMSG_WALKERS, entry(turn, true));
    }
}

#[inline(always)]
fn page_sent(turn: Turn, ctx: &FExitContext) {
    let result: u64 = ctx.arg(5);
    if tcp_calls::returned(turn, sock(ctx), 0, result as i32, Direction::SENT) {
        pieces::go_on(ctx, &SENDPAGE_WALKERS, entry(turn, true));
    }
}

#[inline(always)]
fn received(turn: Turn, ctx: &FExitContext) {
    // Left alone the compiler makes one read at a computed place of the branches, and verifiers before 7.x want the places
    // in the context to be constants.
    let (flags, result): (u64, u64) = match RECVMSG_ARGUMENTS.load() {
        6 => (black_box(ctx.arg(4)), black_box(ctx.arg(6))),
        5 => (black_box(ctx.arg(3)), black_box(ctx.arg(5))),
        _ => (black_box(ctx.arg(3)), black_box(ctx.arg(4))),
    };
    let walks = !tcp_calls::peeks(flags)
        && tcp_calls::returned(
            turn,
            sock(ctx),
            ctx.arg(1),
            result as i32,
            Direction::RECEIVED,
        );
    if walks {
        pieces::go_on(ctx, &RECVMSG_WALKERS, entry(turn, false));
    }
}

/// The first argument, as a number: the verifier knows it as a pointer otherwise, and lets no global function have one.
#[inline(always)]
fn sock(ctx: &FExitContext) -> u64 {
    kernel::read(ctx.as_ptr() as u64, 0)
}

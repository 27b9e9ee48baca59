//! `sock_send_length` and `sock_recv_length` (6.3): they fire for sockets only, after the copy.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use fathom_abi::message::Direction;

use crate::{
    io::{self, Turn, entry},
    maps::WALKERS,
    pieces,
    syscall::{self, LOOKS},
};

/// `trace_sock_send_length(sk, ret, flags)`
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_send(ctx: RawTracePointContext) -> i32 {
    length(Turn::Earlier, &ctx, Direction::SENT);
    0
}

/// The spare of [`sock_send`].
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_send_spare(ctx: RawTracePointContext) -> i32 {
    length(Turn::Later, &ctx, Direction::SENT);
    0
}

/// `trace_sock_recv_length(sk, ret, flags)`
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sock_recv(ctx: RawTracePointContext) -> i32 {
    length(Turn::Earlier, &ctx, Direction::RECEIVED);
    0
}

/// The spare of [`sock_recv`].
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sock_recv_spare(ctx: RawTracePointContext) -> i32 {
    length(Turn::Later, &ctx, Direction::RECEIVED);
    0
}

/// Goes on with a call that [`sock_recv`] has begun.
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sock_recv_walk(ctx: RawTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, false) });
    0
}

/// Goes on with a call that [`sock_send`] has begun.
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_send_walk(ctx: RawTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, true) });
    0
}

/// Goes on with a call that [`sock_recv_spare`] has begun.
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sock_recv_spare_walk(ctx: RawTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Later, false) });
    0
}

/// Goes on with a call that [`sock_send_spare`] has begun.
#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_send_spare_walk(ctx: RawTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Later, true) });
    0
}

#[inline(always)]
fn length(turn: Turn, ctx: &RawTracePointContext, direction: Direction) {
    let bytes = ctx.arg::<u64>(1) as i32;
    let peeks = direction == Direction::RECEIVED && ctx.arg::<u64>(2) & LOOKS != 0;
    if bytes < 0 || peeks {
        return;
    }
    if bytes == 0 {
        io::on_nothing(turn, ctx.arg(0), direction);
        return;
    }
    let walks = io::on_io(turn, ctx.arg(0), bytes as u64, direction, || {
        let registers = syscall::registers();
        syscall::buffer(registers, syscall::current(registers))
    });
    if walks {
        pieces::go_on(ctx, &WALKERS, entry(turn, direction == Direction::SENT));
    }
}

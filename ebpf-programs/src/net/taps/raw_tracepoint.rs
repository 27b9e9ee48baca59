//! `sock_send_length` and `sock_recv_length` (6.3): they fire for sockets only, after the copy. Their arguments are typed, as in `flow.rs`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use fathom_abi::message::Direction;

use crate::{
    io::{self, Turn, entry},
    maps::{FLOW_WORDS, TAKEN, WALKERS},
    pieces,
    sock::TypedSock,
    syscall::{self, LOOKS},
};

/// `trace_sock_send_length(sk, ret, flags)`
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send(ctx: BtfTracePointContext) -> i32 {
    length(Turn::Earlier, &ctx, Direction::SENT);
    0
}

/// The spare of [`sock_send`].
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_spare(ctx: BtfTracePointContext) -> i32 {
    length(Turn::Later, &ctx, Direction::SENT);
    0
}

/// `trace_sock_recv_length(sk, ret, flags)`
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv(ctx: BtfTracePointContext) -> i32 {
    length(Turn::Earlier, &ctx, Direction::RECEIVED);
    0
}

/// The spare of [`sock_recv`].
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_spare(ctx: BtfTracePointContext) -> i32 {
    length(Turn::Later, &ctx, Direction::RECEIVED);
    0
}

/// Goes on with a call that [`sock_recv`] has begun.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_walk(ctx: BtfTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, false) });
    0
}

/// Goes on with a call that [`sock_send`] has begun.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_walk(ctx: BtfTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, true) });
    0
}

/// Goes on with a call that [`sock_recv_spare`] has begun.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_spare_walk(ctx: BtfTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Later, false) });
    0
}

/// Goes on with a call that [`sock_send_spare`] has begun.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_spare_walk(ctx: BtfTracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Later, true) });
    0
}

#[inline(always)]
fn length(turn: Turn, ctx: &BtfTracePointContext, direction: Direction) {
    let bytes = ctx.arg::<u64>(1) as i32;
    let peeks = direction == Direction::RECEIVED && ctx.arg::<u64>(2) & LOOKS != 0;
    if bytes < 0 || peeks {
        return;
    }
    let entry = entry(turn, direction == Direction::SENT);
    let Some(taken) = TAKEN.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a word of the map's value.
    let word = unsafe { &raw mut (*taken).words[FLOW_WORDS + entry as usize] };
    let sock = TypedSock::new(ctx.arg(0), word);
    if bytes == 0 {
        io::on_nothing(turn, sock, direction);
        return;
    }
    let locate = syscall::current_buffer;
    if io::on_io(turn, sock, bytes as u64, direction, locate) {
        pieces::go_on(ctx, &WALKERS, entry);
    }
}

//! fexit, or kprobe and kretprobe, on the UDP calls, for the taps that see TCP so.
//!
//! The IPv6 functions serve addresses that are IPv4's, too: `udpv6_sendmsg` calls `udp_sendmsg` for them, with the address as IPv4 has it. Such a
//! datagram is the inner function's.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use fathom_abi::{counters::NetCounter, message::Direction};

use crate::{
    connection,
    globals::RECVMSG_ARGUMENTS,
    io::Turn,
    kernel,
    maps::{self, INFLIGHT, Inflight},
    sock,
    syscall::{LOOKS, MSG_TRUNC},
    udp::{self, How},
};

/// `int udp_sendmsg(sk, msg, len)`
#[fexit(function = "udp_sendmsg")]
pub fn udp_sendmsg_exit(ctx: FExitContext) -> i32 {
    sent(&ctx, How::new(Direction::SENT, Turn::Later).inner());
    0
}

/// The spare of [`udp_sendmsg_exit`].
#[fexit(function = "udp_sendmsg")]
pub fn udp_sendmsg_exit_spare(ctx: FExitContext) -> i32 {
    sent(&ctx, How::new(Direction::SENT, Turn::Earlier).inner());
    0
}

/// `int udpv6_sendmsg(sk, msg, len)`
#[fexit(function = "udpv6_sendmsg")]
pub fn udpv6_sendmsg_exit(ctx: FExitContext) -> i32 {
    sent(&ctx, How::new(Direction::SENT, Turn::Later));
    0
}

/// The spare of [`udpv6_sendmsg_exit`].
#[fexit(function = "udpv6_sendmsg")]
pub fn udpv6_sendmsg_exit_spare(ctx: FExitContext) -> i32 {
    sent(&ctx, How::new(Direction::SENT, Turn::Earlier));
    0
}

/// `int udp_recvmsg(sk, msg, len, [nonblock,] flags[, addr_len])`
#[fexit(function = "udp_recvmsg")]
pub fn udp_recvmsg_exit(ctx: FExitContext) -> i32 {
    received(&ctx, Turn::Later);
    0
}

/// The spare of [`udp_recvmsg_exit`].
#[fexit(function = "udp_recvmsg")]
pub fn udp_recvmsg_exit_spare(ctx: FExitContext) -> i32 {
    received(&ctx, Turn::Earlier);
    0
}

/// `int udpv6_recvmsg(sk, msg, len, [nonblock,] flags[, addr_len])`
#[fexit(function = "udpv6_recvmsg")]
pub fn udpv6_recvmsg_exit(ctx: FExitContext) -> i32 {
    received(&ctx, Turn::Later);
    0
}

/// The spare of [`udpv6_recvmsg_exit`].
#[fexit(function = "udpv6_recvmsg")]
pub fn udpv6_recvmsg_exit_spare(ctx: FExitContext) -> i32 {
    received(&ctx, Turn::Earlier);
    0
}

/// `udp_sendmsg(sk, msg, len)`. On an IPv6 socket the outer function's call is noted already, and the return of the inner one takes it.
#[kprobe]
pub fn udp_sendmsg_called(ctx: ProbeContext) -> u32 {
    let sock = ctx.arg(0).unwrap_or(0);
    if !sock::is_v6(sock) {
        enter(sock, ctx.arg(1).unwrap_or(0), 0);
    }
    0
}

/// `udpv6_sendmsg(sk, msg, len)`
#[kprobe]
pub fn udpv6_sendmsg_called(ctx: ProbeContext) -> u32 {
    enter(ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0), 0);
    0
}

/// The result of a call that sends.
#[kretprobe]
pub fn udp_send_returned(ctx: RetProbeContext) -> u32 {
    exit(ctx.ret::<u64>() as i32, Direction::SENT);
    0
}

/// `udp_recvmsg` and `udpv6_recvmsg` `(sk, msg, len, [nonblock,] flags[, addr_len])`
#[kprobe]
pub fn udp_recvmsg_called(ctx: ProbeContext) -> u32 {
    // As in the fentry tap: the place in the context has to stay a constant.
    let flags: u64 = if RECVMSG_ARGUMENTS.load() == 6 {
        black_box(ctx.arg(4).unwrap_or(0))
    } else {
        black_box(ctx.arg(3).unwrap_or(0))
    };
    if flags & LOOKS == 0 {
        enter(ctx.arg(0).unwrap_or(0), ctx.arg(1).unwrap_or(0), flags);
    }
    0
}

/// The result of a call that receives.
#[kretprobe]
pub fn udp_recv_returned(ctx: RetProbeContext) -> u32 {
    exit(ctx.ret::<u64>() as i32, Direction::RECEIVED);
    0
}

#[inline(always)]
fn sent(ctx: &FExitContext, how: How) {
    let result: u64 = ctx.arg(3);
    returned(ctx, result as i32, how);
}

#[inline(always)]
fn received(ctx: &FExitContext, turn: Turn) {
    // As for TCP: the places in the context are to be constants.
    let (flags, result): (u64, u64) = match RECVMSG_ARGUMENTS.load() {
        6 => (black_box(ctx.arg(4)), black_box(ctx.arg(6))),
        5 => (black_box(ctx.arg(3)), black_box(ctx.arg(5))),
        _ => (black_box(ctx.arg(3)), black_box(ctx.arg(4))),
    };
    if flags & LOOKS == 0 {
        let how = readable(How::new(Direction::RECEIVED, turn), flags);
        returned(ctx, result as i32, how);
    }
}

/// The arguments as numbers: the verifier knows them as pointers otherwise, and lets no global function have one.
#[inline(always)]
fn returned(ctx: &FExitContext, result: i32, how: How) {
    if result < 0 || connection::is_own(connection::current_tgid()) {
        return;
    }
    let arguments = ctx.as_ptr() as u64;
    let (sock, msg): (u64, u64) = (kernel::read(arguments, 0), kernel::read(arguments, 8));
    udp::moved(sock, result as u64, how, msg);
}

/// A call begins: notes its sock, its message and its flags.
#[inline(always)]
fn enter(sock: u64, msg: u64, flags: u64) {
    if connection::is_own(connection::current_tgid()) {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let inflight = Inflight {
        sock,
        buffer: msg,
        len: flags,
        next: 0,
        more: 0,
    };
    // As for TCP.
    if INFLIGHT.get_ptr(pid_tgid).is_some() {
        maps::count(NetCounter::ReturnMissed);
    }
    if INFLIGHT.insert(pid_tgid, inflight, 0).is_err() {
        maps::count(NetCounter::InflightFull);
    }
}

/// The call returns.
#[inline(always)]
fn exit(result: i32, direction: Direction) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(inflight) = INFLIGHT.get_ptr(pid_tgid) else {
        return;
    };
    // SAFETY: the entry's memory outlives this program; it is this thread's own.
    let inflight = unsafe { *inflight };
    let _ = INFLIGHT.remove(pid_tgid);
    if result >= 0 {
        let how = readable(How::new(direction, Turn::Earlier), inflight.len);
        udp::moved(inflight.sock, result as u64, how, inflight.buffer);
    }
}

#[inline(always)]
fn readable(how: How, flags: u64) -> How {
    if flags & MSG_TRUNC == 0 {
        how
    } else {
        how.unreadable()
    }
}

//! Uprobes on the calls of TLS libraries through which plain text goes. Each goes on with a tail call, if only to [`layer::nowhere`].

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use fathom_abi::message::Direction;

use crate::{
    goroutine::{go, register},
    layer,
    maps::CallKey,
    tls::{self, Arguments},
};

/// `SSL_read(ssl, buf, num)`, `gnutls_record_recv(session, data, size)`, and those with more arguments behind these; `SSL_do_handshake(ssl)`,
/// `gnutls_handshake(session)`, of which only the first counts.
#[uprobe]
pub fn tls_called(ctx: ProbeContext) -> u32 {
    tls::enter(tls::of_thread(), &arguments(&ctx));
    layer::nowhere(&ctx);
    0
}

/// `SSL_read_ex(ssl, buf, num, readbytes)`.
#[uprobe]
pub fn tls_called_ex(ctx: ProbeContext) -> u32 {
    tls::enter(tls::of_thread(), &arguments_ex(&ctx));
    layer::nowhere(&ctx);
    0
}

/// `SSL_write(ssl, buf, num)`, `gnutls_record_send(session, data, size)`, and those with more arguments behind these.
#[uprobe]
pub fn tls_sending(ctx: ProbeContext) -> u32 {
    tls::send(&ctx, tls::of_thread(), &arguments(&ctx));
    0
}

/// `SSL_write_ex(ssl, buf, num, written)`.
#[uprobe]
pub fn tls_sending_ex(ctx: ProbeContext) -> u32 {
    tls::send(&ctx, tls::of_thread(), &arguments_ex(&ctx));
    0
}

/// Their result, where they receive.
#[uretprobe]
pub fn tls_received(ctx: RetProbeContext) -> u32 {
    tls::exit(&ctx, tls::of_thread(), result(&ctx), Direction::RECEIVED);
    0
}

/// Their result, where they send.
#[uretprobe]
pub fn tls_sent(ctx: RetProbeContext) -> u32 {
    tls::exit(&ctx, tls::of_thread(), result(&ctx), Direction::SENT);
    0
}

/// The return of `SSL_do_handshake(ssl)`, `gnutls_handshake(session)`.
#[uretprobe]
pub fn tls_shaken(ctx: RetProbeContext) -> u32 {
    tls::shaken(tls::of_thread());
    layer::nowhere(&ctx);
    0
}

/// `SSL_free(ssl)`, `gnutls_deinit(session)`.
#[uprobe]
pub fn tls_ended(ctx: ProbeContext) -> u32 {
    tls::end(ctx.arg(0).unwrap_or(0));
    layer::nowhere(&ctx);
    0
}

/// `crypto/tls.(*Conn).Read(b)`.
#[uprobe]
pub fn go_called(ctx: ProbeContext) -> u32 {
    tls::enter(go_call(&ctx), &go_arguments(&ctx));
    layer::nowhere(&ctx);
    0
}

/// `crypto/tls.(*Conn).Write(b)`.
#[uprobe]
pub fn go_sending(ctx: ProbeContext) -> u32 {
    tls::send(&ctx, go_call(&ctx), &go_arguments(&ctx));
    0
}

/// A return of `Read`.
#[uprobe]
pub fn go_received(ctx: ProbeContext) -> u32 {
    let bytes = register(&ctx, go::RESULT) as i64;
    tls::exit(&ctx, go_call(&ctx), bytes, Direction::RECEIVED);
    0
}

/// A return of `Write`.
#[uprobe]
pub fn go_sent(ctx: ProbeContext) -> u32 {
    let bytes = register(&ctx, go::RESULT) as i64;
    tls::exit(&ctx, go_call(&ctx), bytes, Direction::SENT);
    0
}

/// Of a call whose result says how many bytes it has moved.
#[inline(always)]
fn arguments(ctx: &ProbeContext) -> Arguments {
    let arg = |index| ctx.arg::<u64>(index).unwrap_or(0);
    Arguments {
        object: arg(0),
        buffer: arg(1),
        // `int num` of OpenSSL: what is above it in the register means nothing. No call moves 4 GiB.
        len: arg(2) & 0xffff_ffff,
        done: 0,
        sock: 0,
    }
}

/// Of a call that says so where its fourth argument points.
#[inline(always)]
fn arguments_ex(ctx: &ProbeContext) -> Arguments {
    Arguments {
        done: ctx.arg(3).unwrap_or(0),
        ..arguments(ctx)
    }
}

#[inline(always)]
fn go_arguments(ctx: &ProbeContext) -> Arguments {
    let object = register(ctx, go::OBJECT);
    Arguments {
        object,
        buffer: register(ctx, go::ADDRESS),
        len: register(ctx, go::LENGTH),
        done: 0,
        sock: tls::go_sock(object),
    }
}

/// `int` of OpenSSL, `ssize_t` of GnuTLS, whose lower half is the same for what one call can move.
#[inline(always)]
fn result(ctx: &RetProbeContext) -> i64 {
    i64::from(ctx.ret::<u64>() as i32)
}

/// The goroutine's call: it may return on another thread.
#[inline(always)]
fn go_call(ctx: &ProbeContext) -> CallKey {
    CallKey {
        thread: bpf_get_current_pid_tgid() >> 32 << 32,
        goroutine: register(ctx, go::GOROUTINE),
    }
}

/// What all of these go on to: takes in the bytes that one of them has found.
#[uprobe]
pub fn tls_take(ctx: ProbeContext) -> u32 {
    layer::taken(&ctx);
    0
}

/// Goes on with bytes that [`tls_take`] has begun to send.
#[uprobe]
pub fn tls_walk(ctx: ProbeContext) -> u32 {
    layer::walk(&ctx);
    0
}

//! Uprobes on the calls of TLS libraries through which plain text goes.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use fathom_abi::message::Direction;

use crate::{maps::CallKey, tls};

/// `SSL_read(ssl, buf, num)`, `gnutls_record_recv(session, data, size)`, and those with more arguments behind these; `SSL_do_handshake(ssl)`,
/// `gnutls_handshake(session)`, of which only the first counts.
#[uprobe]
pub fn tls_called(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = arguments(&ctx);
    tls::enter(tls::of_thread(), object, buffer, len, 0, 0);
    0
}

/// `SSL_read_ex(ssl, buf, num, readbytes)`.
#[uprobe]
pub fn tls_called_ex(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = arguments(&ctx);
    let done = ctx.arg(3).unwrap_or(0);
    tls::enter(tls::of_thread(), object, buffer, len, done, 0);
    0
}

/// `SSL_write(ssl, buf, num)`, `gnutls_record_send(session, data, size)`, and those with more arguments behind these.
#[uprobe]
pub fn tls_sending(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = arguments(&ctx);
    let entry = tls::send(tls::of_thread(), object, buffer, len, 0, 0);
    tls::go_on(&ctx, entry);
    0
}

/// `SSL_write_ex(ssl, buf, num, written)`.
#[uprobe]
pub fn tls_sending_ex(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = arguments(&ctx);
    let done = ctx.arg(3).unwrap_or(0);
    let entry = tls::send(tls::of_thread(), object, buffer, len, done, 0);
    tls::go_on(&ctx, entry);
    0
}

/// Their result, where they receive.
#[uretprobe]
pub fn tls_received(ctx: RetProbeContext) -> u32 {
    let entry = tls::exit(tls::of_thread(), result(&ctx), Direction::RECEIVED);
    tls::go_on(&ctx, entry);
    0
}

/// Their result, where they send.
#[uretprobe]
pub fn tls_sent(ctx: RetProbeContext) -> u32 {
    let entry = tls::exit(tls::of_thread(), result(&ctx), Direction::SENT);
    tls::go_on(&ctx, entry);
    0
}

/// The return of `SSL_do_handshake(ssl)`, `gnutls_handshake(session)`.
#[uretprobe]
pub fn tls_shaken(_: RetProbeContext) -> u32 {
    tls::shaken(tls::of_thread());
    0
}

/// `SSL_free(ssl)`, `gnutls_deinit(session)`.
#[uprobe]
pub fn tls_ended(ctx: ProbeContext) -> u32 {
    tls::end(ctx.arg(0).unwrap_or(0));
    0
}

/// `crypto/tls.(*Conn).Read(b)`.
#[uprobe]
pub fn go_called(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = go_arguments(&ctx);
    tls::enter(go_call(&ctx), object, buffer, len, 0, tls::go_sock(object));
    0
}

/// `crypto/tls.(*Conn).Write(b)`.
#[uprobe]
pub fn go_sending(ctx: ProbeContext) -> u32 {
    let [object, buffer, len] = go_arguments(&ctx);
    let entry = tls::send(go_call(&ctx), object, buffer, len, 0, tls::go_sock(object));
    tls::go_on(&ctx, entry);
    0
}

/// A return of `Read`.
#[uprobe]
pub fn go_received(ctx: ProbeContext) -> u32 {
    let bytes = register(&ctx, go::RESULT) as i64;
    let entry = tls::exit(go_call(&ctx), bytes, Direction::RECEIVED);
    tls::go_on(&ctx, entry);
    0
}

/// A return of `Write`.
#[uprobe]
pub fn go_sent(ctx: ProbeContext) -> u32 {
    let bytes = register(&ctx, go::RESULT) as i64;
    let entry = tls::exit(go_call(&ctx), bytes, Direction::SENT);
    tls::go_on(&ctx, entry);
    0
}

/// The object, and where its plain text lies.
#[inline(always)]
fn arguments(ctx: &ProbeContext) -> [u64; 3] {
    let arg = |index| ctx.arg::<u64>(index).unwrap_or(0);
    // `int num` of OpenSSL: what is above it in the register means nothing. No call moves 4 GiB.
    [arg(0), arg(1), arg(2) & 0xffff_ffff]
}

#[inline(always)]
fn go_arguments(ctx: &ProbeContext) -> [u64; 3] {
    [
        register(ctx, go::CONN),
        register(ctx, go::ADDRESS),
        register(ctx, go::LENGTH),
    ]
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

/// A register of the program where the probe was hit, by its place in `struct pt_regs`.
#[inline(always)]
fn register(ctx: &ProbeContext, place: usize) -> u64 {
    // SAFETY: the context is a `struct pt_regs`, which the verifier holds the read to.
    unsafe { bpf_probe_read_kernel(ctx.as_ptr().cast::<u64>().add(place)) }.unwrap_or(0)
}

/// Where Go (1.17, register ABI) keeps what is wanted, as words of `struct pt_regs` (`arch/x86/include/asm/ptrace.h`).
#[cfg(bpf_target_arch = "x86_64")]
mod go {
    /// RAX.
    pub const CONN: usize = 10;
    /// RBX.
    pub const ADDRESS: usize = 5;
    /// RCX.
    pub const LENGTH: usize = 11;
    /// RAX.
    pub const RESULT: usize = 10;
    /// R14.
    pub const GOROUTINE: usize = 1;
}

/// The same of `struct user_pt_regs` (`arch/arm64/include/uapi/asm/ptrace.h`).
#[cfg(bpf_target_arch = "aarch64")]
mod go {
    pub const CONN: usize = 0;
    pub const ADDRESS: usize = 1;
    pub const LENGTH: usize = 2;
    pub const RESULT: usize = 0;
    pub const GOROUTINE: usize = 28;
}

macro_rules! walker {
    ($($name:ident = $entry:literal,)+) => {$(
        /// Goes on with a call in this entry of the scratch.
        #[uprobe]
        pub fn $name(ctx: ProbeContext) -> u32 {
            tls::walk(&ctx, $entry);
            0
        }
    )+};
}

walker! {
    tls_walk_4 = 4,
    tls_walk_5 = 5,
    tls_walk_6 = 6,
    tls_walk_7 = 7,
}

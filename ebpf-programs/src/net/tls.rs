//! Plain text behind TLS: the calls of a library that it goes through.
//!
//! A call notes what it was called with. What it moved is taken in as an I/O call's bytes are: on a layer over the connection (`layer.rs`).
//! What comes in is taken in when the call returns, and what goes out when it
//! begins: the answer to it may be read by another thread before it returns, and would seem to come first.
//!
//! A call that sends may take less than it was given. The library's contract is then that the next one goes on with the rest, so that
//! what is ahead is known, and is not taken in twice.
//!
//! Which connection a library's object belongs to is seen, not guessed: a socket call that a thread makes within one of its calls, on a
//! connection that speaks TLS, is for that object. Go's connections say which descriptor is theirs. For objects that make no socket call, see
//! `bio.rs`.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user},
};
use fathom_abi::{
    counters::NetCounter,
    message::{Direction, PLAIN_TEXT},
};

use crate::{
    bio, connection,
    globals::GO_LAYOUT,
    layer,
    maps::{self, CallKey, TLS_CALLS, TLS_OBJECTS, TlsCall, TlsObject},
    syscall::Buffer,
};

/// What a call was made with.
pub struct Arguments {
    /// The library's object.
    pub object: u64,
    /// Where the plain text lies, or is to lie.
    pub buffer: u64,
    /// Bytes there.
    pub len: u64,
    /// Where the number of bytes will be that were moved; 0 where it is the result.
    pub done: u64,
    /// The sock, where the object says which it is; else 0.
    pub sock: u64,
}

impl Arguments {
    #[inline(always)]
    fn call(&self) -> TlsCall {
        TlsCall {
            object: self.object,
            buffer: self.buffer,
            len: self.len,
            done: self.done,
            sock: self.sock,
            taken: 0,
        }
    }
}

/// A call that receives begins, or a handshake's.
#[inline(always)]
pub fn enter(key: CallKey, arguments: &Arguments) {
    if !connection::is_own((key.thread >> 32) as u32) {
        note(key, &arguments.call());
    }
}

#[inline(always)]
fn note(key: CallKey, call: &TlsCall) {
    if TLS_CALLS.insert(key, call, 0).is_err() {
        maps::count(NetCounter::TlsCallsFull);
    }
}

/// A call that sends begins.
#[inline(always)]
pub fn send(ctx: &impl EbpfContext, key: CallKey, arguments: &Arguments) {
    if connection::is_own((key.thread >> 32) as u32) {
        return;
    }
    let (object, buffer, len) = (arguments.object, arguments.buffer, arguments.len);
    let mut call = arguments.call();
    if key.goroutine != 0
        && let Some(before) = TLS_CALLS.get_ptr(key)
    {
        // SAFETY: the goroutine's own entry, whose memory outlives this program.
        let before = unsafe { &*before };
        if before.taken != 0 && before.buffer == buffer && before.len == len {
            // The same call, which starts again with a larger stack.
            return;
        }
    }
    let sock = connection_of(key, &call);
    if sock == 0 {
        // It may show its connection before it returns.
        note(key, &call);
        return;
    }
    call.sock = sock;
    call.taken = 1;
    note(key, &call);
    let Some(known) = TLS_OBJECTS.get_ptr_mut([key.thread >> 32, object]) else {
        return;
    };
    // SAFETY: the kernel keeps the entry's memory until this program has ended; a library's object is used by one thread at a time.
    let known = unsafe { &mut *known };
    let ahead = if key.goroutine == 0 { known.ahead } else { 0 };
    if len <= ahead {
        return;
    }
    known.ahead = len;
    let from = Buffer::one(buffer.wrapping_add(ahead), len - ahead);
    layer::take(ctx, sock, &from, Direction::SENT);
}

/// The thread's own call.
#[inline(always)]
pub fn of_thread() -> CallKey {
    CallKey {
        thread: bpf_get_current_pid_tgid(),
        goroutine: 0,
    }
}

/// A socket call on a connection that speaks TLS: the object whose call this is within is that connection's.
#[inline(always)]
pub fn bind(pid_tgid: u64, sock: u64, direction: Direction) {
    let key = CallKey {
        thread: pid_tgid,
        goroutine: 0,
    };
    match TLS_CALLS.get_ptr_mut(key) {
        // SAFETY: the thread's own entry, whose memory outlives this program.
        Some(call) => unsafe { (*call).sock = sock },
        None => {
            bio::moved_outside(pid_tgid, sock, u32::from(direction.0));
        }
    }
}

/// A call returns, with `result` bytes or, where it says how many elsewhere, with 1. `direction` is that of the call.
#[inline(always)]
pub fn exit(ctx: &impl EbpfContext, key: CallKey, result: i64, direction: Direction) {
    let Some(call) = returned(key) else {
        return;
    };
    let moved = if result <= 0 {
        0
    } else if call.done == 0 {
        result as u64
    } else {
        // SAFETY: the helper checks the user address.
        unsafe { bpf_probe_read_user(call.done as *const u64) }.unwrap_or(0)
    };
    if call.taken != 0 {
        sent(key, &call, moved);
        return;
    }
    if moved == 0 || moved > call.len {
        return;
    }
    let sock = connection_of(key, &call);
    if sock == 0 {
        maps::count(NetCounter::TlsUnbound);
        return;
    }
    layer::take(ctx, sock, &Buffer::one(call.buffer, moved), direction);
}

/// The call that returns, whose note is no longer needed.
#[inline(always)]
fn returned(key: CallKey) -> Option<TlsCall> {
    let call = TLS_CALLS.get_ptr(key)?;
    // SAFETY: as in `bind`.
    let call = unsafe { *call };
    let _ = TLS_CALLS.remove(key);
    if call.sock == 0 && key.goroutine == 0 {
        bio::called(key.thread, call.object);
    }
    Some(call)
}

/// A call returns whose bytes were taken in when it began.
#[inline(always)]
fn sent(key: CallKey, call: &TlsCall, moved: u64) {
    if let Some(object) = TLS_OBJECTS.get_ptr_mut([key.thread >> 32, call.object]) {
        // SAFETY: as in `send`.
        let object = unsafe { &mut *object };
        object.ahead = object.ahead.saturating_sub(moved);
    }
    // The message's last call is over now, if nothing has followed it.
    if let Some(state) = connection::find(call.sock | PLAIN_TEXT)
        && state.direction == Direction::SENT
    {
        // SAFETY: has no preconditions.
        state.last_ns = unsafe { bpf_ktime_get_ns() };
    }
}

/// A handshake's call returns: what it showed of the object's connection is kept, as the library may have read more than the handshake.
#[inline(always)]
pub fn shaken(key: CallKey) {
    if let Some(call) = returned(key)
        && call.sock != 0
    {
        let _ = connection_of(key, &call);
    }
}

/// The sock of the object that a call is on; 0 where it is not known.
#[inline(always)]
fn connection_of(key: CallKey, call: &TlsCall) -> u64 {
    let object_key = [key.thread >> 32, call.object];
    let known = match TLS_OBJECTS.get_ptr(object_key) {
        // SAFETY: the kernel keeps the entry's memory until this program has ended.
        Some(object) => unsafe { *object },
        None => TlsObject {
            sock: 0,
            born_ns: 0,
            ahead: 0,
            guess: 0,
        },
    };
    // What the call itself has shown counts more.
    let sock = if call.sock != 0 {
        call.sock
    } else {
        known.sock
    };
    let Some(base) = connection::find(sock) else {
        return 0;
    };
    if sock != known.sock || base.born_ns != known.born_ns {
        if call.sock == 0 {
            // The object's connection has gone, and its sock is another's.
            return 0;
        }
        let object = TlsObject {
            sock,
            born_ns: base.born_ns,
            ahead: 0,
            guess: 0,
        };
        if TLS_OBJECTS.insert(object_key, &object, 0).is_err() {
            maps::count(NetCounter::TlsObjectsFull);
        }
    }
    sock
}

/// The object's end: its address may be another's next.
#[inline(always)]
pub fn end(object: u64) {
    let _ = TLS_OBJECTS.remove([bpf_get_current_pid_tgid() >> 32, object]);
}

/// The sock of a Go connection (`*tls.Conn`) over TCP; 0 for any other.
#[inline(always)]
pub fn go_sock(connection: u64) -> u64 {
    let layout = GO_LAYOUT.load();
    // SAFETY: the helper checks the user address, here and below.
    let read = |address: u64| unsafe { bpf_probe_read_user(address as *const u64) }.unwrap_or(0);
    let itab = read(connection.wrapping_add(layout.conn));
    let conn = read(connection.wrapping_add(layout.conn + 8));
    let hash = read(itab.wrapping_add(layout.itab_hash)) as u32;
    if !layout.tcp_conn.contains(&hash) {
        return 0;
    }
    let net_fd = read(conn.wrapping_add(layout.net_fd));
    let fd = read(net_fd.wrapping_add(layout.sysfd)) as u32;
    crate::sock::of_descriptor(fd)
}

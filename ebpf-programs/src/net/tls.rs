//! Plain text behind TLS: the calls of a library that it goes through.
//!
//! A call notes what it was called with. What it moved is taken in as an I/O call's bytes are: on a layer over the connection,
//! whose state lies under the sock's address with [`PLAIN_TEXT`] set. What comes in is taken in when the call returns, and what goes out when it
//! begins: the answer to it may be read by another thread before it returns, and would seem to come first.
//!
//! A call that sends may take less than it was given. The library's contract is then that the next one goes on with the rest, so that
//! what is ahead is known, and is not taken in twice.
//!
//! Which connection a library's object belongs to is seen, not guessed: a socket call that a thread makes within one of its calls, on a
//! connection that speaks TLS, is for that object. Go's connections say which descriptor is theirs.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user},
};
use fathom_abi::{
    counters::NetCounter,
    message::{ConnectionState, Direction, Gear, PLAIN_TEXT},
};

use crate::{
    connection,
    globals::GO_LAYOUT,
    io,
    maps::{
        self, CONNECTIONS, CallKey, FRAMINGS, TLS_CALLS, TLS_OBJECTS, TLS_WALKERS, TlsCall,
        TlsObject,
    },
    pieces,
    syscall::Buffer,
};

/// The first entry of `SCRATCH` that is for this.
const FIRST_ENTRY: u32 = 4;

/// Entries behind it: as many calls can be under way on a CPU, where they preempt each other (6.0).
const ENTRIES: u32 = 4;

/// A call that receives begins, or a handshake's.
#[inline(always)]
pub fn enter(key: CallKey, object: u64, buffer: u64, len: u64, done: u64, sock: u64) {
    if !connection::is_own((key.thread >> 32) as u32) {
        note(
            key,
            &TlsCall {
                object,
                buffer,
                len,
                done,
                sock,
                taken: 0,
            },
        );
    }
}

#[inline(always)]
fn note(key: CallKey, call: &TlsCall) {
    if TLS_CALLS.insert(key, call, 0).is_err() {
        maps::count(NetCounter::TlsCallsFull);
    }
}

/// A call that sends begins. Returns the entry whose walker is to go on, or 0.
#[inline(always)]
pub fn send(key: CallKey, object: u64, buffer: u64, len: u64, done: u64, sock: u64) -> u32 {
    if connection::is_own((key.thread >> 32) as u32) {
        return 0;
    }
    let mut call = TlsCall {
        object,
        buffer,
        len,
        done,
        sock,
        taken: 0,
    };
    if key.goroutine != 0
        && let Some(before) = TLS_CALLS.get_ptr(key)
    {
        // SAFETY: the goroutine's own entry, whose memory outlives this program.
        let before = unsafe { &*before };
        if before.taken != 0 && before.buffer == buffer && before.len == len {
            // The same call, which starts again with a larger stack.
            return 0;
        }
    }
    let sock = connection_of(key, &call);
    if sock == 0 {
        // It may show its connection before it returns.
        note(key, &call);
        return 0;
    }
    call.sock = sock;
    call.taken = 1;
    note(key, &call);
    let Some(known) = TLS_OBJECTS.get_ptr_mut([key.thread >> 32, object]) else {
        return 0;
    };
    // SAFETY: the kernel keeps the entry's memory until this program has ended; a library's object is used by one thread at a time.
    let known = unsafe { &mut *known };
    let ahead = if key.goroutine == 0 { known.ahead } else { 0 };
    if len <= ahead {
        return 0;
    }
    known.ahead = len;
    let from = Buffer::one(buffer.wrapping_add(ahead), len - ahead);
    take(sock, from, Direction::SENT)
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
pub fn bind(pid_tgid: u64, sock: u64) {
    let key = CallKey {
        thread: pid_tgid,
        goroutine: 0,
    };
    if let Some(call) = TLS_CALLS.get_ptr_mut(key) {
        // SAFETY: the thread's own entry, whose memory outlives this program.
        unsafe { (*call).sock = sock };
    }
}

/// A call returns, with `result` bytes or, where it says how many elsewhere, with 1. `direction` is that of the call. Returns the entry whose walker is to go on, or 0.
#[inline(always)]
pub fn exit(key: CallKey, result: i64, direction: Direction) -> u32 {
    let Some(call) = TLS_CALLS.get_ptr(key) else {
        return 0;
    };
    // SAFETY: as in `bind`.
    let call = unsafe { *call };
    let _ = TLS_CALLS.remove(key);
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
        return 0;
    }
    if moved == 0 || moved > call.len {
        return 0;
    }
    let sock = connection_of(key, &call);
    if sock == 0 {
        maps::count(NetCounter::TlsUnbound);
        return 0;
    }
    take(sock, Buffer::one(call.buffer, moved), direction)
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

/// Takes in bytes of the layer over a sock. Returns the entry whose walker is to go on, or 0.
#[inline(always)]
fn take(sock: u64, buffer: Buffer, direction: Direction) -> u32 {
    maps::count(NetCounter::TlsSeen);
    let Some(state) = plain_text(sock) else {
        maps::count(NetCounter::TlsUnbound);
        return 0;
    };
    if state.gear == Gear::COUNT || state.gear == Gear::OWN {
        return 0;
    }
    let entry = claim();
    if entry == 0 {
        maps::count(NetCounter::TlsBusy);
        return 0;
    }
    let walks = io::layer(
        state,
        sock | PLAIN_TEXT,
        buffer.len,
        direction,
        bpf_get_current_pid_tgid(),
        entry,
        || buffer,
    );
    if walks {
        return entry;
    }
    release(entry);
    0
}

/// A handshake's call returns: what it showed of the object's connection is kept, as the library may have read more than the handshake.
#[inline(always)]
pub fn shaken(key: CallKey) {
    if let Some(call) = TLS_CALLS.get_ptr(key) {
        // SAFETY: as in `bind`.
        let call = unsafe { *call };
        let _ = TLS_CALLS.remove(key);
        if call.sock != 0 {
            let _ = connection_of(key, &call);
        }
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
        };
        if TLS_OBJECTS.insert(object_key, &object, 0).is_err() {
            maps::count(NetCounter::TlsObjectsFull);
        }
    }
    sock
}

/// The layer over a sock, which is made if need be.
#[inline(always)]
fn plain_text(sock: u64) -> Option<&'static mut ConnectionState> {
    if let Some(state) = connection::find(sock | PLAIN_TEXT) {
        return Some(state);
    }
    if make_plain_text(sock) != 0 {
        return None;
    }
    connection::find(sock | PLAIN_TEXT)
}

/// Makes the state of the layer over a sock; returns 1 where that is not possible.
///
/// A global function, as `connection::make_connection`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_plain_text(sock: u64) -> u32 {
    let Some(base) = connection::find(sock) else {
        return 1;
    };
    let mut state = ConnectionState {
        sock,
        born_ns: base.born_ns,
        role: base.role,
        owner: base.owner,
        tgid: base.tgid,
        ..Default::default()
    };
    connection::copy_endpoints(&base.endpoints, &raw mut state.endpoints);
    if CONNECTIONS.insert(sock | PLAIN_TEXT, &state, 0).is_err() {
        maps::count(NetCounter::ConnectionsFull);
        return 1;
    }
    base.has_plain_text = 1;
    0
}

/// The object's end: its address may be another's next.
#[inline(always)]
pub fn end(object: u64) {
    let _ = TLS_OBJECTS.remove([bpf_get_current_pid_tgid() >> 32, object]);
}

/// The layer over a sock that is closed.
#[inline(always)]
pub fn forget(sock: u64) {
    let key = sock | PLAIN_TEXT;
    let _ = FRAMINGS.remove(key);
    let _ = CONNECTIONS.remove(key);
}

/// Takes an entry of the scratch for this program; 0 where all are taken.
///
/// Uprobes' programs can preempt each other (6.0), and the kernel does not keep one from running twice on a CPU. An addition and a
/// look at its result are enough: of those that add, the one who sees 1 is alone, and the others go on to the next entry.
#[inline(always)]
fn claim() -> u32 {
    for entry in FIRST_ENTRY..FIRST_ENTRY + ENTRIES {
        let Some(claims) = maps::claims(entry) else {
            return 0;
        };
        maps::add(claims, 1);
        // SAFETY: the entry's own word, read after the addition.
        if unsafe { claims.read_volatile() } == 1 {
            return entry;
        }
        maps::add(claims, u64::MAX);
    }
    0
}

/// Gives an entry back.
#[inline(always)]
pub fn release(entry: u32) {
    if let Some(claims) = maps::claims(entry) {
        maps::add(claims, u64::MAX);
    }
}

/// Goes on with the call of an entry of the scratch, and gives it back at the end.
#[inline(always)]
pub fn walk(ctx: &impl EbpfContext, entry: u32) {
    pieces::walk(ctx, &TLS_WALKERS, entry);
    release(entry);
}

/// Goes on to the walker of an entry.
#[inline(always)]
pub fn go_on(ctx: &impl EbpfContext, entry: u32) {
    if entry != 0 {
        pieces::go_on(ctx, &TLS_WALKERS, entry);
        release(entry);
    }
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

const _: () = assert!(FIRST_ENTRY + ENTRIES == maps::ENTRIES, "all of SCRATCH");

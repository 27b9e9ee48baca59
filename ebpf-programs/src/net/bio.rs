//! TLS objects that make no socket call: their program moves the bytes between socket and object itself (OpenSSL's memory BIOs, as used by
//! Node and Python's asyncio).
//!
//! Such a program hands what it has received from a socket to that connection's object next, and sends what an object has made next. So each time that
//! a thread does one right after the other, object and connection make a pair. One may be chance: a thread may have been about
//! something else in between. Two that agree, with none in between that doesn't, are taken for certain. They are there before the first byte of plain text is: a handshake goes
//! to and fro at least once.
//!
//! Threads are watched from the first call on that made no socket call of its own, on an object whose connection is not known. Others pay nothing.

use fathom_abi::message::Direction;

use crate::{
    connection,
    maps::{TLS_OBJECTS, TLS_THREADS, TlsObject, TlsThread},
};

/// A thread has moved bytes of a connection that speaks TLS, outside of any library's call. Returns 0.
///
/// A global function, as `connection::make_connection`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn moved_outside(pid_tgid: u64, sock: u64, direction: u32) -> u32 {
    let Some(thread) = TLS_THREADS.get_ptr_mut(pid_tgid) else {
        return 0;
    };
    // SAFETY: the thread's own entry, whose memory outlives this program.
    let thread = unsafe { &mut *thread };
    let object = thread.called;
    thread.called = 0;
    if direction == u32::from(Direction::RECEIVED.0) {
        thread.received = sock;
    } else if object != 0 {
        pair(pid_tgid, object, sock);
    }
    0
}

/// A call on an object returns that made no socket call.
#[inline(always)]
pub fn called(pid_tgid: u64, object: u64) {
    let Some(thread) = TLS_THREADS.get_ptr_mut(pid_tgid) else {
        if !is_bound(pid_tgid, object) {
            let thread = TlsThread {
                received: 0,
                called: object,
            };
            // Where there is no room, the oldest has gone.
            let _ = TLS_THREADS.insert(pid_tgid, &thread, 0);
        }
        return;
    };
    // SAFETY: as in `moved`.
    let thread = unsafe { &mut *thread };
    let sock = thread.received;
    thread.received = 0;
    thread.called = object;
    if sock != 0 {
        pair(pid_tgid, object, sock);
    }
}

/// Whether the object's connection is known, and there.
#[inline(always)]
fn is_bound(pid_tgid: u64, object: u64) -> bool {
    let Some(known) = TLS_OBJECTS.get_ptr([pid_tgid >> 32, object]) else {
        return false;
    };
    // SAFETY: the kernel keeps the entry's memory until this program has ended.
    let known = unsafe { &*known };
    known.sock != 0
        && connection::find(known.sock).is_some_and(|state| state.born_ns == known.born_ns)
}

/// An object and a connection that a thread was about, one right after the other.
#[inline(always)]
fn pair(pid_tgid: u64, object: u64, sock: u64) {
    let Some(base) = connection::find(sock) else {
        return;
    };
    if base.has_plain_text != 0 || is_bound(pid_tgid, object) {
        // It has its object, or it has its connection.
        return;
    }
    let key = [pid_tgid >> 32, object];
    let mut paired = TlsObject {
        sock: 0,
        born_ns: base.born_ns,
        ahead: 0,
        guess: sock,
    };
    if let Some(known) = TLS_OBJECTS.get_ptr(key) {
        // SAFETY: as in `is_bound`.
        let known = unsafe { &*known };
        if known.guess == sock && known.born_ns == base.born_ns {
            paired.sock = sock;
        }
    }
    // Where there is no room, the oldest has gone.
    let _ = TLS_OBJECTS.insert(key, &paired, 0);
}

//! What accept(2) and connect(2) return: the process that a connection goes to, and the reason for a connect that failed by itself.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use fathom_abi::{Endpoints, Role, flow::Owner, message::Gear};

use crate::{
    connection, flow,
    maps::FAILED,
    report::{Said, announce_established, send},
    sock,
};

const EPERM: u32 = 1;
const EACCES: u32 = 13;
const EADDRINUSE: u32 = 98;
const EADDRNOTAVAIL: u32 = 99;
const ENETDOWN: u32 = 100;
const ENETUNREACH: u32 = 101;
const ENOBUFS: u32 = 105;
const EHOSTUNREACH: u32 = 113;

/// A process has accepted a connection.
#[inline(always)]
pub fn accepted(sock: u64) {
    let Some(state) = connection::find(sock) else {
        return;
    };
    let tgid = connection::current_tgid();
    if connection::is_own(tgid) {
        state.gear = Gear::OWN;
    }
    if state.accepted_us == 0 && state.established_ns != 0 {
        // SAFETY: has no preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        state.accepted_us = connection::microseconds_after(state.established_ns, now);
    }
    connection::own(state, tgid, Owner::ACCEPTER);
    if connection::is_recorded(state) {
        announce_established(sock, sock, state);
    }
}

/// A connect has returned. `address` fills in the remote end of a sock that has none; it is asked for where the connect failed before it began.
#[inline(always)]
pub fn connected(sock: u64, result: i32, address: impl FnOnce(&mut Endpoints)) {
    if result >= 0 || !sock::is_tcp(sock) {
        return;
    }
    let errno = result.unsigned_abs();
    if let Some(state) = connection::find(sock) {
        if state.failing != 0 {
            if connection::is_recorded(state) {
                // SAFETY: has no preconditions.
                let now = unsafe { bpf_ktime_get_ns() };
                send(sock, &Said::connect_failed(flow::SYN_SENT, now, errno));
            }
            flow::forget(sock, state);
            return;
        }
        // Of a sock that is closed an entry is of a connection before: what was left in it has been read behind its end.
        if u64::from(sock::state(sock)) != flow::CLOSE {
            return;
        }
    }
    let tgid = connection::current_tgid();
    // What else connect(2) returns is of the caller's making, of a connect that goes on, or of one that has failed before.
    let is_failure = matches!(
        errno,
        EPERM
            | EACCES
            | EADDRINUSE
            | EADDRNOTAVAIL
            | ENETDOWN
            | ENETUNREACH
            | ENOBUFS
            | EHOSTUNREACH
    );
    if !is_failure || connection::is_own(tgid) {
        return;
    }
    if let Some(failure) = FAILED.get_ptr(sock) {
        // SAFETY: the kernel keeps the entry's memory until this program has ended.
        let is_told = unsafe { *failure } == (u64::from(tgid) << 32 | u64::from(errno));
        let _ = FAILED.remove(sock);
        if is_told {
            return;
        }
    }
    let Some(state) = connection::make(sock, Role::CLIENT) else {
        return;
    };
    connection::own(state, tgid, Owner::USER);
    address(&mut state.endpoints);
    let now = state.born_ns;
    send(sock, &Said::connect_failed(flow::CLOSE, now, errno));
    flow::forget(sock, state);
}

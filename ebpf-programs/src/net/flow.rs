//! The flow tap: one raw tracepoint that sees each change of a TCP socket's state (`inet_sock_set_state`, 4.16).
//!
//! Three programs with the same content are attached to it. A change in a process can be interrupted by one that a packet makes, and
//! on newer kernels be preempted by another process's; the kernel then keeps that other change from a program that is at work on this CPU,
//! and the next one has it. Each change is taken once: what a program finds done it leaves alone.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext};
use fathom_abi::{
    ConnectionId, Role,
    flow::{FlowKind, Owner},
    message::{ConnectionState, Direction, Gear, MessageEvent, MessageKind, PLAIN_TEXT},
};

use crate::{
    connection, layer,
    maps::{CONNECTIONS, FRAMINGS, LISTENERS, OWN_PORTS, PortPair},
    pieces, record, sock,
};

// `net/tcp_states.h`
const ESTABLISHED: u64 = 1;
const SYN_SENT: u64 = 2;
pub const SYN_RECV: u64 = 3;
const FIN_WAIT1: u64 = 4;
const CLOSE: u64 = 7;
const LAST_ACK: u64 = 9;
const LISTEN: u64 = 10;

/// `trace_inet_sock_set_state(sk, oldstate, newstate)`; the sock still has its old state.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state(ctx: RawTracePointContext) -> i32 {
    changed(&ctx);
    0
}

/// The spare of [`flow_state`].
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state_spare(ctx: RawTracePointContext) -> i32 {
    changed(&ctx);
    0
}

/// The spare of [`flow_state_spare`].
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state_last(ctx: RawTracePointContext) -> i32 {
    changed(&ctx);
    0
}

#[inline(always)]
fn changed(ctx: &RawTracePointContext) {
    let sock: u64 = ctx.arg(0);
    let old = ctx.arg::<u64>(1) & 0xff;
    let new = ctx.arg::<u64>(2) & 0xff;
    if !sock::is_tcp(sock) {
        return;
    }
    match new {
        SYN_SENT => connecting(sock),
        ESTABLISHED => established(sock, old),
        FIN_WAIT1 | LAST_ACK => closing(sock),
        CLOSE => closed(sock, old),
        LISTEN => listening(sock),
        _ => {}
    }
}

/// connect(2), in the process that calls it.
#[inline(always)]
fn connecting(sock: u64) {
    let is_done = connection::find(sock)
        .is_some_and(|state| state.connect_ns != 0 && state.established_ns == 0);
    if is_done {
        return;
    }
    let Some(state) = connection::make(sock, Role::CLIENT) else {
        return;
    };
    let tgid = connection::current_tgid();
    state.connect_ns = state.born_ns;
    connection::own(state, tgid, Owner::USER);
    if connection::is_own(tgid) {
        state.gear = Gear::OWN;
    }
}

/// The handshake is done, in any process's context.
#[inline(always)]
fn established(sock: u64, old: u64) {
    let accepted = old == SYN_RECV;
    let found = connection::find(sock);
    let is_done = found.as_ref().is_some_and(|state| {
        state.established_ns != 0
            && state.endpoints.local_port == sock::local_port(sock)
            && state.endpoints.remote_port == sock::remote_port(sock)
    });
    if is_done {
        return;
    }
    // Anything else that is known of an accepted sock is of one before it, whose close was not seen.
    let state = match found.filter(|state| !accepted && state.established_ns == 0) {
        Some(state) => state,
        None => {
            let role = if accepted {
                Role::SERVER
            } else {
                Role::UNKNOWN
            };
            match connection::make(sock, role) {
                Some(state) => state,
                None => return,
            }
        }
    };
    // SAFETY: has no preconditions.
    state.established_ns = unsafe { bpf_ktime_get_ns() };
    // The connecting end has its port and address only now.
    sock::endpoints(sock, &mut state.endpoints);
    // The same is true of its sequence numbers.
    state.sent = sock::progress(sock, Direction::SENT);
    if accepted {
        connection::own_by_listener(state, sock);
        let ports = PortPair {
            local: state.endpoints.local_port,
            remote: state.endpoints.remote_port,
        };
        if OWN_PORTS.get_ptr(ports).is_some() {
            state.gear = Gear::OWN;
        }
    } else if state.gear == Gear::OWN {
        let seen_from_there = PortPair {
            local: state.endpoints.remote_port,
            remote: state.endpoints.local_port,
        };
        // A full table: the accepting end is then reported as any other, which is no loss.
        let _ = OWN_PORTS.insert(seen_from_there, 1, 0);
    }
    // Who listens is not known where fathom came later: the first to read or write is then the owner, and known soon.
    if state.owner != Owner::UNKNOWN {
        announce(sock, state, old);
    }
}

/// Says that it was established, once.
#[inline(always)]
pub fn announce(sock: u64, state: &mut ConnectionState, old: u64) {
    if state.announced == 0 && state.established_ns != 0 && connection::is_recorded(state) {
        state.announced = 1;
        announce_connection(sock, old);
    }
}

/// Sends the record of a sock's handshake. Returns 0.
///
/// A global function (5.6): the kernel verifies it by itself, once, and not with each of the ways to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn announce_connection(sock: u64, old: u64) -> u32 {
    if let Some(state) = connection::find(sock) {
        let at = state.established_ns;
        send(sock, state, FlowKind::ESTABLISHED, old, at);
    }
    0
}

/// close(2) or shutdown(2), in the process that calls it.
#[inline(always)]
fn closing(sock: u64) {
    if let Some(state) = connection::find(sock) {
        let tgid = connection::current_tgid();
        connection::own(state, tgid, Owner::CLOSER);
        if connection::is_own(tgid) {
            state.gear = Gear::OWN;
        }
    }
}

/// The sock leaves the kernel's tables.
#[inline(always)]
fn closed(sock: u64, old: u64) {
    if old == LISTEN {
        let _ = LISTENERS.remove(connection::listener_key(sock));
        return;
    }
    let Some(state) = connection::find(sock) else {
        return;
    };
    if connection::is_recorded(state) {
        // SAFETY: has no preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        end(sock, state, now);
        if state.has_plain_text != 0 {
            let key = sock | PLAIN_TEXT;
            if let Some(state) = connection::find(key) {
                end(key, state, now);
            }
            layer::forget(sock);
        }
        announce(sock, state, SYN_RECV);
        let kind = if old == SYN_SENT {
            FlowKind::CONNECT_FAILED
        } else {
            FlowKind::CLOSED
        };
        send(sock, state, kind, old, now);
    } else {
        let seen_from_there = PortPair {
            local: state.endpoints.remote_port,
            remote: state.endpoints.local_port,
        };
        let _ = OWN_PORTS.remove(seen_from_there);
    }
    if state.gear == Gear::STREAM || state.gear == Gear::FRAMES {
        let _ = FRAMINGS.remove(sock);
    }
    let _ = CONNECTIONS.remove(sock);
}

/// listen(2), in the process that calls it.
#[inline(always)]
fn listening(sock: u64) {
    let tgid = connection::current_tgid();
    // A full table: accepted sockets are then owned by whoever reads or writes them first.
    let _ = LISTENERS.insert(connection::listener_key(sock), tgid, 0);
}

#[inline(always)]
fn send(sock: u64, state: &ConnectionState, kind: FlowKind, old: u64, now: u64) {
    record::flow(|event| {
        // SAFETY: the ring's own memory, of the event's size and alignment; every field is written.
        unsafe {
            (*event).id = ConnectionId {
                sock,
                born_ns: state.born_ns,
            };
            (*event).at_ns = now;
            (*event).connect_ns = state.connect_ns;
            (*event).established_ns = state.established_ns;
            (*event).bytes_sent = sock::bytes_sent(sock);
            (*event).bytes_received = sock::bytes_received(sock);
            (*event).srtt_us = sock::srtt_us(sock);
            (*event).retransmits = sock::retransmits(sock);
            (*event).tgid = state.tgid;
            (*event).error = sock::error(sock);
            connection::copy_endpoints(&state.endpoints, &raw mut (*event).endpoints);
            (*event).kind = kind;
            (*event).role = state.role;
            (*event).owner = state.owner;
            (*event).old_state = old as u8;
            (*event).reserved = [0; 4];
            (*event).comm = state.comm;
        }
    });
}

/// The totals of a connection's last message.
#[inline(always)]
fn end(sock: u64, state: &ConnectionState, now: u64) {
    let numbers = if pieces::travels(state) {
        pieces::numbers(sock)
    } else {
        [state.message, 0]
    };
    if numbers == [0, 0] {
        return;
    }
    record::message_end(&MessageEvent {
        id: ConnectionId {
            sock,
            born_ns: state.born_ns,
        },
        at_ns: now,
        previous_bytes: state.bytes,
        previous_last_ns: state.last_ns,
        tgid: state.tgid,
        message: numbers[0],
        offset: numbers[1],
        kind: MessageKind::END,
        direction: state.direction,
        endpoints: state.endpoints,
        role: state.role,
        ..Default::default()
    });
}

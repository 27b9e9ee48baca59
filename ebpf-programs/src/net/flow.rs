//! The flow tap: one raw tracepoint that sees each change of a TCP socket's state (`inet_sock_set_state`, 4.16).
//!
//! Three programs with the same content are attached to it. A change in a process can be interrupted by one that a packet makes, and
//! on newer kernels be preempted by another process's; the kernel then keeps that other change from a program that is at work on this CPU,
//! and the next one has it. Each change is taken once: each program notes what it has done for the next one on its CPU, which passes over
//! it; where the note is gone, the connection's state tells what is done.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext};
use fathom_abi::{
    ConnectionId, Role,
    counters::NetCounter,
    flow::{End, FlowKind, Owner, Resets},
    message::{ConnectionState, Direction, Gear, MessageEvent, MessageKind, PLAIN_TEXT},
};

use crate::{
    connection, layer,
    maps::{self, CONNECTIONS, FAILED, FRAMINGS, LISTENERS, OWN_PORTS, PortPair, TAKEN},
    pieces, record,
    report::{announce, send},
    sock,
};

// `net/tcp_states.h`
pub const ESTABLISHED: u64 = 1;
pub const SYN_SENT: u64 = 2;
pub const SYN_RECV: u64 = 3;
const FIN_WAIT1: u64 = 4;
const FIN_WAIT2: u64 = 5;
pub const CLOSE: u64 = 7;
const CLOSE_WAIT: u64 = 8;
const LAST_ACK: u64 = 9;
const LISTEN: u64 = 10;

/// `trace_inet_sock_set_state(sk, oldstate, newstate)`; the sock still has its old state.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state(ctx: RawTracePointContext) -> i32 {
    changed(&ctx, None, Some(0));
    0
}

/// The spare of [`flow_state`].
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state_spare(ctx: RawTracePointContext) -> i32 {
    changed(&ctx, Some(0), Some(1));
    0
}

/// The spare of [`flow_state_spare`].
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn flow_state_last(ctx: RawTracePointContext) -> i32 {
    changed(&ctx, Some(1), None);
    0
}

/// `trace_tcp_send_reset(sk, skb[, reason])` (4.16). A socket that is closed with a reset has left the tables before it is sent, and is not counted here.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn flow_reset(ctx: RawTracePointContext) -> i32 {
    match connection::find(ctx.arg(0)) {
        Some(state) => state.resets.0 |= Resets::SENT,
        None => maps::count(NetCounter::ResetUnbound),
    }
    0
}

/// `before` is the note of the program before, if there is one, and `own` is the own one.
#[inline(always)]
fn changed(ctx: &RawTracePointContext, before: Option<usize>, own: Option<usize>) {
    let sock: u64 = ctx.arg(0);
    let old = ctx.arg::<u64>(1) & 0xff;
    let new = ctx.arg::<u64>(2) & 0xff;
    const WANTED: u64 = 1 << SYN_SENT
        | 1 << ESTABLISHED
        | 1 << FIN_WAIT1
        | 1 << CLOSE_WAIT
        | 1 << LAST_ACK
        | 1 << CLOSE
        | 1 << LISTEN;
    if (WANTED >> (new & 0x3f)) & 1 == 0 {
        return;
    }
    let Some(notes) = TAKEN.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own entry. What writes it meanwhile, where tasks preempt each other, makes a note of another change.
    let notes = unsafe { &mut *notes };
    // A sock lies at a multiple of more than sixteen.
    let change = sock | new;
    let is_taken = match before {
        Some(before) if notes[before] == change => {
            notes[before] = 0;
            true
        }
        _ => false,
    };
    if !is_taken && sock::changes_as_tcp(sock) {
        take(sock, old, new, before.is_none());
    }
    if let Some(own) = own {
        notes[own] = change;
    }
}

/// Whether it is the first program that takes it, `is_first` says.
#[inline(always)]
fn take(sock: u64, old: u64, new: u64, is_first: bool) {
    match new {
        SYN_SENT => connecting(sock),
        ESTABLISHED => established(sock, old),
        FIN_WAIT1 | LAST_ACK => closing(sock),
        CLOSE_WAIT => {
            closed_by(sock, End::REMOTE);
        }
        CLOSE => closed(sock, old, is_first),
        LISTEN => listening(sock),
        _ => {}
    }
}

/// connect(2), in the process that calls it.
#[inline(always)]
fn connecting(sock: u64) {
    let is_done = connection::find(sock).is_some_and(|state| {
        state.role == Role::CLIENT && state.established_ns == 0 && state.failing == 0
    });
    if is_done {
        return;
    }
    let Some(state) = connection::make(sock, Role::CLIENT) else {
        return;
    };
    let tgid = connection::current_tgid();
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
        Some(state) => {
            // SAFETY: the two ends lie at a multiple of eight in it (`copy_endpoints`). The connecting one has its port and address only now.
            unsafe { sock::endpoints(sock, &mut state.endpoints) };
            // The same is true of its sequence numbers.
            state.sent = sock::progress(sock, Direction::SENT);
            // SAFETY: has no preconditions.
            state.established_ns = unsafe { bpf_ktime_get_ns() };
            state
        }
        None => {
            let role = if accepted {
                Role::SERVER
            } else {
                Role::UNKNOWN
            };
            let Some(state) = connection::make(sock, role) else {
                return;
            };
            state.established_ns = state.born_ns;
            state
        }
    };
    if accepted {
        connection::own_by_listener(state, sock);
        let ports = PortPair {
            local: state.endpoints.local_port,
            remote: state.endpoints.remote_port,
        };
        if OWN_PORTS.get_ptr(ports).is_some() {
            state.gear = Gear::OWN;
        }
        // Its record waits for the process that accept(2) gives it to: the one that listens may be another.
        return;
    }
    if state.gear == Gear::OWN {
        let seen_from_there = PortPair {
            local: state.endpoints.remote_port,
            remote: state.endpoints.local_port,
        };
        // A full table: the accepting end is then reported as any other, which is no loss.
        let _ = OWN_PORTS.insert(seen_from_there, 1, 0);
    }
    announce(sock, state);
}

/// close(2) or shutdown(2), in the process that calls it.
#[inline(always)]
fn closing(sock: u64) {
    if let Some(state) = closed_by(sock, End::LOCAL) {
        left(state);
    }
}

/// The process that runs now has closed it.
#[inline(always)]
fn left(state: &mut ConnectionState) {
    let tgid = connection::current_tgid();
    connection::own(state, tgid, Owner::CLOSER);
    if connection::is_own(tgid) {
        state.gear = Gear::OWN;
    }
    state.exit = connection::current_exit();
}

/// The first FIN goes out or comes in. Returns the connection's state.
#[inline(always)]
fn closed_by(sock: u64, end: End) -> Option<&'static mut ConnectionState> {
    // One that was open before and at rest: its end is seen all the same.
    let state = connection::find(sock).or_else(|| connection::make(sock, Role::UNKNOWN))?;
    if state.closed_by == End::NONE {
        state.closed_by = end;
    }
    Some(state)
}

/// The sock leaves the kernel's tables.
#[inline(always)]
fn closed(sock: u64, old: u64, is_first: bool) {
    if old == LISTEN {
        let _ = LISTENERS.remove(connection::listener_key(sock, sock::last_port(sock)));
        return;
    }
    // One that was open before and at rest. To a spare, a connection that is not there is one whose end was taken.
    let made = || {
        if is_first && old != CLOSE && old != SYN_SENT && old != SYN_RECV {
            connection::make(sock, Role::UNKNOWN)
        } else {
            None
        }
    };
    let Some(state) = connection::find(sock).or_else(made) else {
        return;
    };
    // One that connects had none when it began, and one that is seen only now has given its own up.
    if state.endpoints.local_port == 0 {
        state.endpoints.local_port = sock::last_port(sock);
    }
    let error = sock::error(sock);
    // Without an error there are two ways to end without a FIN from here: the process left with a reset, or it never got as far.
    let aborts = match old {
        ESTABLISHED | CLOSE_WAIT => true,
        // close(2) with bytes unread (`__tcp_close`). Behind the other end's FIN it is TIME_WAIT that begins here (`tcp_fin`, `tcp_time_wait`), and what
        // is unread can be read still.
        FIN_WAIT1 | FIN_WAIT2 => sock::is_cut_short(sock),
        _ => false,
    };
    if error == 0 && aborts {
        state.resets.0 |= Resets::SENT;
        left(state);
    }
    if old == SYN_SENT {
        if error == 0 && sock::is_unconnected(sock) {
            // connect(2) itself fails: what it returns is the reason.
            state.failing = 1;
            return;
        }
        if error == 0 {
            left(state);
        }
        let failure = u64::from(state.tgid) << 32 | u64::from(error);
        let _ = FAILED.insert(sock, failure, 0);
    }
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
        announce(sock, state);
        let kind = if old == SYN_SENT {
            FlowKind::CONNECT_FAILED
        } else {
            FlowKind::CLOSED
        };
        send(sock, kind, old, now, error);
    } else {
        let seen_from_there = PortPair {
            local: state.endpoints.remote_port,
            remote: state.endpoints.local_port,
        };
        let _ = OWN_PORTS.remove(seen_from_there);
    }
    forget(sock, state);
}

/// Nothing more will come of it.
#[inline(always)]
pub fn forget(sock: u64, state: &ConnectionState) {
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
    let _ = LISTENERS.insert(
        connection::listener_key(sock, sock::local_port(sock)),
        tgid,
        0,
    );
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

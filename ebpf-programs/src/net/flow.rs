//! The flow tap: one tracepoint that sees each change of a TCP socket's state (`inet_sock_set_state`, 4.16), with typed arguments (5.5): all that is
//! read of a sock here is a load, and no call.
//!
//! Two programs with the same content are attached to it, and a third where tracepoints can be preempted. A change in a process can be interrupted by
//! one that a packet makes, and on newer kernels be preempted by another process's; the kernel then keeps that other change from a program that is at
//! work on this CPU, and the next one has it. Each change is taken once: each program notes what it has done for the next one on its CPU, which passes over
//! it; where the note is gone, the connection's state tells what is done.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use fathom_abi::{
    ConnectionId, Role,
    counters::NetCounter,
    flow::{End, FlowKind, Owner, Resets},
    message::{ConnectionState, Direction, Gear, MessageEvent, MessageKind, PLAIN_TEXT, Told},
};

use crate::{
    connection,
    kernel::Typed,
    layer,
    maps::{self, CONNECTIONS, FAILED, FRAMINGS, LISTENERS, TAKEN},
    own_ports, pieces, record,
    report::{Said, announce, announce_established, say_last},
    sock::{self, Sock as _, TypedSock},
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
const CLOSING: u64 = 11;

/// `trace_inet_sock_set_state(sk, oldstate, newstate)`; the sock still has its old state.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn flow_state(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx, Turn::First);
    0
}

/// The spare of [`flow_state`].
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn flow_state_spare(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx, Turn::Spare);
    0
}

/// The spare of [`flow_state_spare`].
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn flow_state_last(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx, Turn::Last);
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

/// Which of the programs runs, in the order in which they are attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Spare,
    Last,
}

/// A sock whose state has changed.
struct Changed {
    /// Its address, as a number: the connection's key.
    key: u64,
    /// What it says.
    sock: Typed,
    old: u64,
    new: u64,
    /// Whether it is the first program that takes the change.
    is_first: bool,
}

#[inline(always)]
fn changed(ctx: &BtfTracePointContext, turn: Turn) {
    let new = ctx.arg::<u64>(2) & 0xff;
    const WANTED: u64 = 1 << SYN_SENT
        | 1 << ESTABLISHED
        | 1 << FIN_WAIT1
        | 1 << LAST_ACK
        | 1 << CLOSE
        | 1 << LISTEN;
    if (WANTED >> (new & 0x3f)) & 1 == 0 {
        return;
    }
    let Some(taken) = TAKEN.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own entry. What writes it meanwhile, where tasks preempt each other, makes a note of another change.
    let taken = unsafe { &mut *taken };
    let sock = TypedSock::new(ctx.arg(0), &raw mut taken.words[turn as usize]);
    let key = sock.key();
    // A sock lies at a multiple of more than sixteen.
    let change = key | new;
    let is_taken = match turn {
        Turn::First => false,
        Turn::Spare | Turn::Last => {
            let before = &mut taken.changes[usize::from(turn == Turn::Last)];
            let is_taken = *before == change;
            if is_taken {
                *before = 0;
            }
            is_taken
        }
    };
    // The tracepoint is for sockets of IPv4 and IPv6 alone (`inet_sk_set_state`).
    if !is_taken && let Some(sock) = sock.tcp() {
        take(&Changed {
            key,
            sock,
            old: ctx.arg::<u64>(1) & 0xff,
            new,
            is_first: turn == Turn::First,
        });
    }
    match turn {
        Turn::First => taken.changes[0] = change,
        Turn::Spare => taken.changes[1] = change,
        Turn::Last => {}
    }
}

#[inline(always)]
fn take(changed: &Changed) {
    let Changed { key, sock, old, .. } = *changed;
    match changed.new {
        LISTEN => listening(sock),
        CLOSE if old == LISTEN => {}
        SYN_SENT => begins(changed, Role::CLIENT),
        ESTABLISHED if old == SYN_RECV => begins(changed, Role::SERVER),
        ESTABLISHED => connected(changed),
        CLOSE => closed(changed),
        // FIN_WAIT1 and LAST_ACK: close(2) or shutdown(2), in the process that calls it. Of one that was open before and at rest the end is seen all
        // the same.
        _ => {
            if let Some(state) = connection::find(key) {
                left(state);
            } else if let Some(state) = connection::make(key, Role::UNKNOWN) {
                left(state);
                // Its end may be far: who keeps where it stood is told that it goes on.
                announce(key, state);
            }
        }
    }
}

/// connect(2), in the process that calls it; or the handshake of an accepting end is done, in any process's context.
///
/// A function of its own, as what it needs of the stack nothing else may need at the same time: there are 512 bytes of it.
#[inline(never)]
fn begins(changed: &Changed, role: Role) {
    let Changed { key, sock, .. } = *changed;
    // To the first program, what is known of the sock is of a connection before it, whose close was not seen.
    if !changed.is_first
        && let Some(state) = connection::find(key)
    {
        let is_done = if role == Role::CLIENT {
            state.role == Role::CLIENT && state.established_ns == 0 && state.failing == 0
        } else {
            is_established(state, sock)
        };
        if is_done {
            return;
        }
    }
    connection::insert(key, sock, role, |state| {
        if role == Role::CLIENT {
            let tgid = connection::current_tgid();
            connection::own(state, tgid, Owner::USER);
            if connection::is_own(tgid) {
                state.gear = Gear::OWN;
            }
            return;
        }
        // Its record waits for the process that accept(2) gives it to: the one that listens may be another.
        state.established_ns = state.born_ns;
        if own_ports::has(&state.endpoints) {
            state.gear = Gear::OWN;
        }
    });
}

/// Whether it is known that the sock's connection was established.
#[inline(always)]
fn is_established(state: &ConnectionState, sock: Typed) -> bool {
    state.established_ns != 0
        && state.endpoints.local_port == sock::local_port(sock)
        && state.endpoints.remote_port == sock::remote_port(sock)
}

/// The handshake of a connecting end is done, in any process's context.
#[inline(always)]
fn connected(changed: &Changed) {
    let Changed { key, sock, .. } = *changed;
    let found = connection::find(key);
    if found
        .as_ref()
        .is_some_and(|state| is_established(state, sock))
    {
        return;
    }
    // Anything else that is known is of a connection before it.
    let state = match found.filter(|state| state.established_ns == 0) {
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
            let Some(state) = connection::make(key, Role::UNKNOWN) else {
                return;
            };
            state.established_ns = state.born_ns;
            state
        }
    };
    if state.gear == Gear::OWN {
        own_ports::insert(&state.endpoints);
        return;
    }
    announce_established(key, sock, state);
}

/// The process that runs now has closed it.
#[inline(always)]
fn left(state: &mut ConnectionState) {
    state.resting = 0;
    let tgid = connection::current_tgid();
    connection::own(state, tgid, Owner::CLOSER);
    if connection::is_own(tgid) {
        state.gear = Gear::OWN;
    }
    state.exit = connection::current_exit();
}

/// Which end has sent its FIN first, by the state that a connection is in or was in last: only who closes first is ever in the FIN_WAITs (RFC 9293, figure 5).
#[inline(always)]
pub fn closed_by(state: u64) -> End {
    match state {
        FIN_WAIT1 | FIN_WAIT2 | CLOSING => End::LOCAL,
        CLOSE_WAIT | LAST_ACK => End::REMOTE,
        _ => End::NONE,
    }
}

/// The sock leaves the kernel's tables.
#[inline(always)]
fn closed(changed: &Changed) {
    let Changed { key, sock, old, .. } = *changed;
    // One that was open before and at rest. To a spare, a connection that is not there is one whose end was taken.
    let made = || {
        if changed.is_first && old != CLOSE && old != SYN_SENT && old != SYN_RECV {
            connection::make(key, Role::UNKNOWN)
        } else {
            None
        }
    };
    let Some(state) = connection::find(key).or_else(made) else {
        return;
    };
    // One that connects had none when it began, and one that is seen only now has given its own up.
    if state.endpoints.local_port == 0 {
        state.endpoints.local_port = sock::last_port(sock);
    }
    if state.owner == Owner::UNKNOWN && state.role == Role::SERVER {
        // Nobody has accepted it.
        connection::own_by_listener(state, sock);
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
        let _ = FAILED.insert(key, failure, 0);
    }
    if connection::is_recorded(state) {
        // SAFETY: has no preconditions.
        let now = unsafe { bpf_ktime_get_ns() };
        end(key, state, now);
        if state.has_plain_text != 0 {
            let layer = key | PLAIN_TEXT;
            if let Some(state) = connection::find(layer) {
                end(layer, state, now);
            }
            layer::forget(key);
        }
        announce(key, state);
        // Before its last record has its place in the ring: a report that comes behind that is given up.
        state.told = Told::OVER;
        let said = Said {
            kind: if old == SYN_SENT {
                FlowKind::CONNECT_FAILED
            } else {
                FlowKind::CLOSED
            },
            old,
            at: now,
            error,
        };
        say_last(key, sock, state, &said);
    } else {
        own_ports::remove(&state.endpoints);
    }
    forget(key, state);
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
fn listening(sock: Typed) {
    let tgid = connection::current_tgid();
    // The oldest makes room.
    let _ = LISTENERS.insert(
        connection::listener_key(sock, sock::local_port(sock)),
        tgid,
        0,
    );
}

/// The totals of a connection's last message. A function of its own, as [`begins`].
#[inline(never)]
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

//! Saying where a connection stands: when it begins, when it ends, and when user space asks.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::raw_tracepoint, programs::RawTracePointContext};
use fathom_abi::{
    ConnectionId, Role,
    flow::{ANYWAY, FlowEvent, FlowKind, MAY_REST, Resets},
    message::{ConnectionState, Gear, Overtaken, Told},
};

use crate::{connection, flow, kernel::Memory, layer, record, sock, turns};

/// Says that it was established, once; of one that was open before, that it is there.
#[inline(always)]
pub fn announce(sock: u64, state: &mut ConnectionState) {
    if state.told != Told::NOTHING || !connection::is_recorded(state) {
        return;
    }
    if state.established_ns != 0 {
        state.told = Told::BEGUN;
        send(sock, &Said::established(state));
        return;
    }
    if state.role != Role::UNKNOWN {
        return;
    }
    let now_is = u64::from(sock::state(sock));
    // One that is closed by now, and of which a process takes what was left, has been told of.
    if now_is != flow::CLOSE {
        state.told = Told::BEGUN;
        send(sock, &Said::of(FlowKind::EXISTING, now_is, state.born_ns));
    }
}

/// Says that it was established, where that is known and was not said; as [`announce`] for the one place that does so for nearly all accepted connections.
#[inline(always)]
pub fn announce_established(key: u64, sock: impl Memory, state: &mut ConnectionState) {
    if state.told != Told::NOTHING || state.established_ns == 0 {
        return;
    }
    state.told = Told::BEGUN;
    say(key, sock, state, &Said::established(state));
    // While nothing but the handshake has moved a report would say no more. At the connecting end its last segment is yet to go.
    if sock::bytes_received(sock) == 0 && sock::bytes_sent(sock) == 0 {
        let [received, sent] = sock::segments(sock);
        let left = u32::from(state.role == Role::CLIENT);
        state.reported = received.wrapping_add(sent).wrapping_add(left);
    }
}

/// Sends a record of a connection that is in the table.
#[inline(always)]
pub fn send(sock: u64, said: &Said) {
    send_flow(
        sock,
        u32::from(said.kind.0),
        said.old as u32,
        said.at,
        said.error,
    );
}

/// See [`send`]. Returns 0.
///
/// A global function (5.6): the kernel verifies it by itself, once, and not with each of the ways to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_flow(sock: u64, kind: u32, old: u32, at: u64, error: u32) -> u32 {
    if let Some(state) = connection::find(sock) {
        let said = Said {
            kind: FlowKind(kind as u8),
            old: u64::from(old),
            at,
            error,
        };
        say(sock, sock, state, &said);
    }
    0
}

/// What a record says beside where its connection stands.
pub struct Said {
    /// What happened.
    pub kind: FlowKind,
    /// The TCP state before.
    pub old: u64,
    /// When.
    pub at: u64,
    /// An errno; 0 for none.
    pub error: u32,
}

impl Said {
    /// What is no failure.
    #[inline(always)]
    pub fn of(kind: FlowKind, old: u64, at: u64) -> Self {
        Self {
            kind,
            old,
            at,
            error: 0,
        }
    }

    /// That the handshake is done.
    #[inline(always)]
    fn established(state: &ConnectionState) -> Self {
        Self::of(FlowKind::ESTABLISHED, flow::SYN_RECV, state.established_ns)
    }

    /// That a connect has failed, and why.
    #[inline(always)]
    pub fn connect_failed(old: u64, at: u64, error: u32) -> Self {
        Self {
            kind: FlowKind::CONNECT_FAILED,
            old,
            at,
            error,
        }
    }
}

/// Sends a record of a connection, whose sock is read where it lies; not if the connection ends meanwhile: what is read of an entry that was removed may be another
/// connection's, and nothing may follow a last record. Returns whether it was sent.
#[inline(always)]
pub fn say(key: u64, sock: impl Memory, state: &ConnectionState, said: &Said) -> bool {
    let born_ns = born(state);
    record::flow(|event| {
        fill(event, key, sock, state, said);
        connection::find(key).is_some_and(|now| {
            born(now) == born_ns
                && !is_over(now)
                && (said.kind != FlowKind::RESTING || is_resting(now))
        })
    })
}

/// As [`say`], of a connection that is over and whose entry nobody but the caller removes.
#[inline(always)]
pub fn say_last(key: u64, sock: impl Memory, state: &ConnectionState, said: &Said) {
    record::flow(|event| {
        fill(event, key, sock, state, said);
        true
    });
}

/// When it was first seen. Volatile, as its entry may be another connection's meanwhile.
#[inline(always)]
fn born(state: &ConnectionState) -> u64 {
    // SAFETY: a reference is valid for reads.
    unsafe { (&raw const state.born_ns).read_volatile() }
}

/// Whether its last record has its place in the ring, or is about to get it.
#[inline(always)]
fn is_over(state: &ConnectionState) -> bool {
    // SAFETY: as in `born`.
    unsafe { (&raw const state.told).read_volatile() == Told::OVER }
}

/// Whether nothing has happened on it since a report found it at rest.
#[inline(always)]
fn is_resting(state: &ConnectionState) -> bool {
    // SAFETY: as in `born`.
    unsafe { (&raw const state.resting).read_volatile() == 1 }
}

#[inline(always)]
fn fill(event: *mut FlowEvent, key: u64, sock: impl Memory, state: &ConnectionState, said: &Said) {
    // SAFETY: the ring's own memory, of the event's size and alignment; every field is written.
    unsafe {
        (*event).id = ConnectionId {
            sock: key,
            born_ns: state.born_ns,
        };
        (*event).at_ns = said.at;
        (*event).connect_ns = if state.role == Role::CLIENT {
            state.born_ns
        } else {
            0
        };
        (*event).established_ns = state.established_ns;
        (*event).accepted_ns = after(state.established_ns, state.accepted_us);
        (*event).first_received_ns = after(state.born_ns, state.first_us[0]);
        (*event).first_sent_ns = after(state.born_ns, state.first_us[1]);
        (*event).cgroup = state.cgroup;
        (*event).srtt_us = sock::srtt_us(sock);
        (*event).min_rtt_us = sock::min_rtt_us(sock);
        (*event).tgid = state.tgid;
        (*event).error = said.error;
        (*event).netns = state.netns;
        connection::copy_endpoints(&state.endpoints, &raw mut (*event).endpoints);
        (*event).kind = said.kind;
        (*event).role = state.role;
        (*event).owner = state.owner;
        (*event).old_state = said.old as u8;
        (*event).closed_by = flow::closed_by(said.old);
        (*event).exit = state.exit;
        (*event).resets = state.resets;
        (*event).reserved = 0;
        connection::copy_comm(&state.comm, &raw mut (*event).comm);
        if said.kind == FlowKind::ESTABLISHED {
            // What moves on it counts from here on. Volatile, or the compiler makes memsets of it (`kernel::clear`).
            (&raw mut (*event).bytes_sent).write_volatile(0);
            (&raw mut (*event).bytes_received).write_volatile(0);
            (&raw mut (*event).segments_sent).write_volatile(0);
            (&raw mut (*event).segments_received).write_volatile(0);
            (&raw mut (*event).retransmits).write_volatile(0);
            return;
        }
        let segments = sock::segments(sock);
        (*event).bytes_sent = sock::bytes_sent(sock);
        (*event).bytes_received = sock::bytes_received(sock);
        (*event).segments_sent = segments[1];
        (*event).segments_received = segments[0];
        (*event).retransmits = sock::retransmits(sock);
    }
}

/// A time that a state keeps as microseconds after another; 0 where it is not known.
#[inline(always)]
fn after(since: u64, us: u32) -> u64 {
    if us == 0 || us == u32::MAX {
        0
    } else {
        since.wrapping_add(u64::from(us - 1) * 1000)
    }
}

/// Never attached: user space runs it (`BPF_PROG_TEST_RUN`, 5.10) with the socks of connections that it wants to know of, 0 for none. One on
/// which nothing has moved since it was last reported is passed over, unless it is asked for with [`ANYWAY`], or with [`MAY_REST`] and does.
///
/// Reading a connection this way costs a fraction of what sock_diag takes, which walks the kernel's whole table.
#[raw_tracepoint]
pub fn flow_report(ctx: RawTracePointContext) -> i32 {
    report_connection(ctx.arg(0));
    report_connection(ctx.arg(1));
    report_connection(ctx.arg(2));
    report_connection(ctx.arg(3));
    report_connection(ctx.arg(4));
    report_connection(ctx.arg(5));
    report_connection(ctx.arg(6));
    report_connection(ctx.arg(7));
    report_connection(ctx.arg(8));
    report_connection(ctx.arg(9));
    report_connection(ctx.arg(10));
    report_connection(ctx.arg(11));
    0
}

/// Says where one connection stands; of one whose end was not seen, that. Returns 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn report_connection(asked: u64) -> u32 {
    let sock = asked & !(ANYWAY | MAY_REST);
    if sock == 0 {
        return 0;
    }
    let Some(state) = connection::find(sock) else {
        return 0;
    };
    // One that is over is told, and what its process took of it since, too: it may go. (One that is about to say its end is not closed yet.)
    if state.told == Told::OVER {
        if u64::from(sock::state(sock)) == flow::CLOSE {
            forget(sock, state);
        }
        return 0;
    }
    // One of which nothing was said has the sock of the one that is meant.
    if state.told == Told::NOTHING || !connection::is_recorded(state) {
        return 0;
    }
    // While there is an entry the sock is a connection's, unless the kernel kept its end from the programs: then it may be anything. (One that is being closed
    // has given up its port before they see that.)
    let now_is = u64::from(sock::state(sock));
    let is_open = sock::is_tcp(sock)
        && now_is != flow::CLOSE
        && sock::last_port(sock) == state.endpoints.local_port
        && sock::remote_port(sock) == state.endpoints.remote_port;
    // Nothing that a record says of an open connection changes without a segment.
    let [received, sent] = sock::segments(sock);
    let moved = received.wrapping_add(sent);
    let is_at_rest = is_open && moved == state.reported && asked & ANYWAY == 0;
    if is_at_rest && (asked & MAY_REST == 0 || !goes_to_rest(state, now_is)) {
        return 0;
    }
    // SAFETY: has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let born_ns = born(state);
    let (kind, old) = if is_at_rest {
        (FlowKind::RESTING, now_is)
    } else if is_open {
        (FlowKind::ALIVE, now_is)
    } else {
        (FlowKind::LOST, flow::CLOSE)
    };
    if !say(sock, sock, state, &Said::of(kind, old, now)) {
        return 0;
    }
    if kind == FlowKind::ALIVE {
        state.reported = moved;
        state.resting = 0;
        return 0;
    }
    // A connection that has taken the sock since has an entry of its own.
    if connection::find(sock).is_some_and(|now| born(now) == born_ns) {
        forget(sock, state);
    }
    0
}

/// Whether a connection on which no segment has moved is to leave the table. The first time that this is asked it is noted only: a call that is at work on it then is
/// over by the next time, and what has come since has taken the note away.
#[inline(always)]
fn goes_to_rest(state: &mut ConnectionState, now_is: u64) -> bool {
    // What was learned of messages can't be learned again in their midst.
    let is_plain = state.message == 0
        && (state.gear == Gear::UNKNOWN || turns::is_given_up(state))
        && state.has_plain_text == 0
        && state.overtaken == Overtaken::NONE
        && state.turning == 0;
    if !is_plain || now_is != flow::ESTABLISHED || state.resets != Resets(0) {
        return false;
    }
    if state.resting == 0 {
        state.resting = 1;
        return false;
    }
    true
}

#[inline(always)]
fn forget(sock: u64, state: &ConnectionState) {
    if state.has_plain_text != 0 {
        layer::forget(sock);
    }
    flow::forget(sock, state);
}

//! What is common to all taps: an I/O call on a TCP socket has returned.

use core::hint::black_box;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_probe_read_user,
};
use fathom_abi::{
    ConnectionId, Role,
    counters::NetCounter,
    flow::Owner,
    message::{ConnectionState, Direction, Gear, MAX_CAPTURE, MessageKind},
    sample::ActiveExchange,
};

use crate::{
    connection, flow,
    globals::{CAPTURE, TRACK_ACTIVE},
    maps::{self, ACTIVE, SCRATCH, Scratch},
    record,
    sniff::{self, Look},
    sock,
    syscall::Buffer,
};

/// Strange messages after which a connection is only counted, for good.
const MAX_STRANGERS: u8 = 8;

/// Bytes of an answer's first call that a record carries.
const RESPONSE_CAPTURE: u32 = 512;

/// An I/O call that moved bytes, with its buffer.
#[derive(Clone, Copy)]
struct Io {
    /// The `struct sock`'s address.
    sock: u64,
    /// Bytes moved; more than zero.
    bytes: u64,
    /// Where the first of them lie in user memory; 0 for nowhere (sendfile, splice, io_uring's own threads).
    buffer: u64,
    /// Bytes that lie there in one piece.
    len: u64,
}

/// When a program of a tap runs, of two on the same event.
///
/// The kernel keeps a program from running on a CPU where the same program was interrupted, by a task that preempted it. A
/// second program on the same event, the spare, takes the calls that this keeps from the other. Each call is taken once: the
/// one with the earlier turn leaves a note, and the other looks for it. Where there is one program, either turn does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the other one.
    Earlier,
    /// After it.
    Later,
}

/// Takes an I/O call on any sock into account, which moved `bytes` (more than zero). `locate` finds them in user memory; it
/// is called for the calls that may hold a part of a head, and most don't.
#[inline(always)]
pub fn on_io(
    turn: Turn,
    sock: u64,
    bytes: u64,
    direction: Direction,
    locate: impl FnOnce() -> Buffer,
) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if connection::is_own(tgid) {
        // One that it accepted.
        if let Some(state) = connection::find(sock) {
            state.gear = Gear::OWN;
        }
        return;
    }
    let state = match connection::find(sock) {
        Some(state) => state,
        None if sock::is_tcp(sock) => match connection::make(sock, Role::UNKNOWN) {
            Some(state) => state,
            None => return,
        },
        None => return,
    };
    let taken = &mut state.taken[usize::from(direction == Direction::SENT)];
    if turn == Turn::Earlier {
        *taken = pid_tgid as u32;
    } else if *taken == pid_tgid as u32 {
        *taken = 0;
        return;
    }
    maps::count(NetCounter::IoSeen);
    if state.owner != Owner::USER {
        connection::own(state, tgid, Owner::USER);
        flow::announce(sock, state, flow::SYN_RECV);
    }
    if state.gear == Gear::COUNT || state.gear == Gear::OWN {
        return;
    }
    // SAFETY: has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let goes_on = state.direction == direction;
    if goes_on && state.head_open == 0 {
        state.bytes = state.bytes.wrapping_add(bytes);
        state.last_ns = now;
        return;
    }
    let buffer = locate();
    let io = Io {
        sock,
        bytes,
        buffer: buffer.address,
        len: buffer.len,
    };
    let entry = u32::from(direction == Direction::SENT) + 2 * u32::from(turn == Turn::Later);
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return;
    };
    // SAFETY: this CPU's own entry of this direction and turn; see `SCRATCH`.
    let scratch = unsafe { &mut *scratch };
    if goes_on {
        more(state, &io, now, scratch, pid_tgid);
    } else {
        flip(state, &io, direction, now, scratch, pid_tgid);
    }
}

/// The message goes on, and may hold more of its head.
#[inline(always)]
fn more(state: &mut ConnectionState, io: &Io, now: u64, scratch: &mut Scratch, pid_tgid: u64) {
    let offset = state.bytes;
    state.bytes = offset.wrapping_add(io.bytes);
    state.last_ns = now;
    let room = CAPTURE.load().saturating_sub(u32::from(state.captured));
    let captured = capture(io, room, scratch);
    if captured == 0 {
        state.head_open = 0;
        return;
    }
    keep_head_open(state, io, captured, scratch);
    fill(state, io, MessageKind::MORE, now, scratch, pid_tgid);
    scratch.event.offset = offset as u32;
    scratch.event.captured = captured as u16;
    record::message(scratch, captured);
}

/// A message starts.
#[inline(always)]
fn flip(
    state: &mut ConnectionState,
    io: &Io,
    direction: Direction,
    now: u64,
    scratch: &mut Scratch,
    pid_tgid: u64,
) {
    let mut captured = capture(io, CAPTURE.load(), scratch);
    let data = scratch.data.as_ptr().cast::<u32>();
    // SAFETY: the scratch holds more than eight bytes, aligned to eight.
    let look = sniff::look(unsafe { *data }, unsafe { *data.add(1) }, captured);
    // Of an answer only the status and the framing are wanted, and its body is often in the same call.
    if look == Look::Response && captured > RESPONSE_CAPTURE {
        captured = RESPONSE_CAPTURE;
    }
    if state.gear == Gear::UNKNOWN {
        if look == Look::Stranger {
            stranger(state, io, direction, now);
            return;
        }
        state.gear = Gear::TURNS;
    }
    let (previous_bytes, previous_last_ns) = if state.message == 0 {
        (0, 0)
    } else {
        (state.bytes, state.last_ns)
    };
    state.message = state.message.wrapping_add(1);
    state.direction = direction;
    state.bytes = io.bytes;
    state.first_ns = now;
    state.last_ns = now;
    state.captured = 0;
    keep_head_open(state, io, captured, scratch);
    // An interim answer (1xx): the final one may follow it in the same direction. The status code starts at the tenth byte.
    if look == Look::Response && captured > 9 && scratch.data[9] == b'1' {
        state.head_open = u8::from(u32::from(state.captured) < CAPTURE.load());
    }
    track(state, io.sock, look, pid_tgid);
    fill(state, io, MessageKind::HEAD, now, scratch, pid_tgid);
    scratch.event.previous_bytes = previous_bytes;
    scratch.event.previous_last_ns = previous_last_ns;
    scratch.event.offset = 0;
    scratch.event.captured = captured as u16;
    record::message(scratch, captured);
}

/// A message that looks like nothing known, on a connection that has not shown anything known yet.
#[inline(always)]
fn stranger(state: &mut ConnectionState, io: &Io, direction: Direction, now: u64) {
    state.direction = direction;
    state.bytes = io.bytes;
    state.last_ns = now;
    state.strangers = state.strangers.wrapping_add(1);
    if state.strangers >= MAX_STRANGERS {
        state.gear = Gear::COUNT;
        maps::count(NetCounter::GivenUp);
    }
}

/// Copies the call's first bytes into the scratch, at most `room`; returns how many.
#[inline(always)]
fn capture(io: &Io, room: u32, scratch: &mut Scratch) -> u32 {
    if io.buffer == 0 {
        maps::count(NetCounter::NoBuffer);
        return 0;
    }
    let mut len = if io.bytes < io.len { io.bytes } else { io.len };
    if len > u64::from(room) {
        len = u64::from(room);
    }
    if len > MAX_CAPTURE as u64 {
        len = MAX_CAPTURE as u64;
    }
    // The verifier wants to see the bound next to its use; the compiler, who knows it, may not take the mask away.
    let len = black_box(len as u32) & (MAX_CAPTURE as u32 * 2 - 1);
    if len == 0 {
        return 0;
    }
    // SAFETY: the scratch has room for twice MAX_CAPTURE; the helper checks the user address.
    let failed = unsafe {
        bpf_probe_read_user(scratch.data.as_mut_ptr().cast(), len, io.buffer as *const _)
    };
    if failed != 0 {
        maps::count(NetCounter::UnreadableBuffer);
        return 0;
    }
    len
}

/// Decides whether the next call of this message may hold more of its head: not when what was captured ends like a head,
/// not when there is no room left, and not without captured bytes.
#[inline(always)]
fn keep_head_open(state: &mut ConnectionState, io: &Io, captured: u32, scratch: &Scratch) {
    state.captured = state.captured.wrapping_add(captured as u16);
    let full = u32::from(state.captured) >= CAPTURE.load();
    // A call that holds more than was captured has its body begun, or its head past the bound.
    let cut = u64::from(captured) < io.bytes;
    state.head_open = u8::from(captured != 0 && !full && !cut && !ends_head(scratch, captured));
    // A head in pieces of an iovec: the next call of the message is the first chance to see more.
    if cut && io.len < io.bytes && !full && !ends_head(scratch, captured) && captured != 0 {
        state.head_open = 1;
    }
}

/// Whether the captured bytes end with an empty line.
#[inline(always)]
fn ends_head(scratch: &Scratch, captured: u32) -> bool {
    if captured < 4 {
        return false;
    }
    let at = (captured as usize - 4) & (MAX_CAPTURE * 2 - 1);
    if at + 3 >= MAX_CAPTURE * 2 {
        return false;
    }
    let data = scratch.data.as_ptr();
    // SAFETY: `at + 3` was just checked against the array's length.
    let last = unsafe {
        [
            *data.add(at),
            *data.add(at + 1),
            *data.add(at + 2),
            *data.add(at + 3),
        ]
    };
    last[0] == b'\r' && last[1] == b'\n' && last[2] == b'\r' && last[3] == b'\n'
}

/// Keeps the table of threads and the requests that they serve.
#[inline(always)]
fn track(state: &ConnectionState, sock: u64, look: Look, pid_tgid: u64) {
    if TRACK_ACTIVE.load() == 0 {
        return;
    }
    if look == Look::Request && state.direction == Direction::RECEIVED {
        let active = ActiveExchange {
            id: ConnectionId {
                sock,
                born_ns: state.born_ns,
            },
            message: state.message,
            reserved: 0,
        };
        if ACTIVE.insert(pid_tgid, active, 0).is_err() {
            maps::count(NetCounter::ActiveFull);
        }
    } else if look == Look::Response && state.direction == Direction::SENT {
        // Not there when another thread took the request: nothing to remove.
        let _ = ACTIVE.remove(pid_tgid);
    }
}

/// The parts of a record that every kind has.
#[inline(always)]
fn fill(
    state: &ConnectionState,
    io: &Io,
    kind: MessageKind,
    now: u64,
    scratch: &mut Scratch,
    pid_tgid: u64,
) {
    let bytes = if io.bytes > u64::from(u32::MAX) {
        u32::MAX
    } else {
        io.bytes as u32
    };
    // Field by field: a value that is made first and copied then is copied byte by byte, in a call.
    let event = &mut scratch.event;
    event.id.sock = io.sock;
    event.id.born_ns = state.born_ns;
    event.at_ns = now;
    event.previous_bytes = 0;
    event.previous_last_ns = 0;
    event.tgid = (pid_tgid >> 32) as u32;
    event.tid = pid_tgid as u32;
    event.message = state.message;
    event.io_bytes = bytes;
    event.offset = 0;
    event.captured = 0;
    event.kind = kind;
    event.direction = state.direction;
    connection::copy_endpoints(&state.endpoints, &mut event.endpoints);
    event.role = state.role;
    event.reserved = [0; 7];
}

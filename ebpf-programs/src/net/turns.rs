//! The gear for traffic that takes turns: a record when the direction flips, with the head of what starts.

use core::{
    hint::black_box,
    sync::atomic::{Ordering, compiler_fence},
};

use fathom_abi::{
    ConnectionId,
    counters::NetCounter,
    message::{
        ConnectionState, Direction, Gear, MAX_CAPTURE, MessageKind, Overtaken, PLAIN_TEXT, Watched,
    },
    sample::ActiveExchange,
};

use crate::{
    capture, connection,
    globals::{CAPTURE, TRACK_ACTIVE},
    io::{Call, Order},
    maps::{self, ACTIVE, SCRATCH, Scratch},
    pieces::{self, Start},
    record,
    sniff::{self, Look},
    sock,
    worker::worker,
};

/// Strange messages after which a connection is only counted, for good.
const MAX_STRANGERS: u8 = 8;

/// Bytes of an answer's first call that a record carries.
const RESPONSE_CAPTURE: u32 = 512;

/// Bytes that are enough to know a request by.
const LOOK: u32 = 8;

/// Requests of a connection that are searched for a second one behind the first: who pipelines does so from the start. What comes later is
/// noticed in user space.
const MAX_SEARCHED: u8 = 16;

/// Records that one call's request head can fill, where `CAPTURE` allows so many: 32 KiB.
const MAX_HEADS: u64 = 32;

/// Adds a call to the message that it goes on with, where that is all there is to do.
#[inline(always)]
pub fn goes_on(state: &mut ConnectionState, bytes: u64, direction: Direction, now: u64) -> bool {
    if state.direction != direction
        || state.head_open != 0
        || state.watched != Watched::NO
        || state.interrupted != 0
        || pieces::travels(state)
    {
        return false;
    }
    state.bytes = state.bytes.wrapping_add(bytes);
    state.last_ns = now;
    true
}

/// Takes in a call that starts a message which looks like nothing known, on a connection that has not shown anything known yet, where that is all there is to it.
/// Most of what does not speak HTTP is known so for what it is, by a few bytes on the stack.
#[inline(always)]
pub fn is_strange(state: &mut ConnectionState, call: &Call) -> bool {
    if state.gear != Gear::UNKNOWN
        || state.direction == call.direction
        || state.interrupted != 0
        || state.overtaken != Overtaken::NONE
    {
        return false;
    }
    if CAPTURE.load() < sniff::ANY_START as u32 || !sniff::is_strange(&call.buffer, call.bytes) {
        return false;
    }
    stranger(state, call, Look::Stranger);
    true
}

/// Takes in a call that may hold a part of a head. Returns whether from this call on the connection's bytes travel.
#[inline(always)]
pub fn take(state: &mut ConnectionState, call: &Call, scratch: &mut Scratch, entry: u32) -> bool {
    let room = if state.direction != call.direction || call.order != Order::InTurn {
        CAPTURE.load()
    } else if state.watched == Watched::BODY {
        LOOK
    } else {
        CAPTURE.load().saturating_sub(u32::from(state.captured))
    };
    let mut captured = first_bytes(call, room, entry);
    let chosen = choose(entry, captured, call.key, order(call), call.sent);
    let (part, look) = (chosen & 0xff, Look::from(chosen >> 8));
    let next = match part {
        OVERTAKEN => overtaken(state, call, look, captured, scratch, entry),
        MORE => more(state, call, look, captured, scratch, entry),
        _ => {
            // Once more: it may have been a while.
            if call.key & PLAIN_TEXT == 0 && interrupts(state) {
                return false;
            }
            if part == TORN {
                captured = 0;
            }
            turning(state, 1);
            let next = flip(state, call, look, captured, part != START, scratch, entry);
            turning(state, 0);
            if matches!(next, Next::Travels(_)) && was_interrupted(state) {
                state.message = state.message.wrapping_add(1);
            }
            next
        }
    };
    match next {
        Next::Turns => false,
        Next::LongHead => {
            state.head_open = long_head(entry);
            false
        }
        Next::RestOfHead => {
            long_head(entry);
            false
        }
        Next::Travels(how) => {
            if state.message != 0 {
                state.message = state.message.wrapping_add(1);
                call.fill(state, MessageKind::TRAVELS, scratch);
                scratch.event.previous_bytes = state.bytes;
                scratch.event.previous_last_ns = state.last_ns;
                record::send_message(entry, 0);
            }
            pieces::start(state, call, how, scratch)
        }
    }
}

/// What a call is of its message: more of it,
const MORE: u32 = 0;
/// its start,
const START: u32 = 1;
/// its start behind a message of which no call was seen,
const BEHIND: u32 = 2;
/// the first call behind one that was seen and not taken in, whose first bytes may be the rest of a head,
const TORN: u32 = 3;
/// or a call that another one was seen ahead of.
const OVERTAKEN: u32 = 4;

/// A call's direction, and above it when it was seen.
#[inline(always)]
fn order(call: &Call) -> u32 {
    let order = match call.order {
        Order::InTurn => IN_TURN,
        Order::Ahead(_) => AHEAD,
        Order::Overtaken => LATE,
    };
    order | u32::from(call.direction.0)
}

const IN_TURN: u32 = 0;
const AHEAD: u32 = 0x100;
const LATE: u32 = 0x200;

/// What a call is, whose first bytes are in this entry of the scratch; in the second byte, what they look like.
///
/// A global function, as `pieces::walk_pieces`: what it finds would else be known to the verifier wherever it goes on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn choose(entry: u32, captured: u32, key: u64, order: u32, sent: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return MORE;
    };
    // SAFETY: the caller's own entry, which it does not use meanwhile.
    let look = look(captured, unsafe { &*scratch });
    let shown = (look as u32) << 8;
    let Some(state) = connection::find(key) else {
        return MORE;
    };
    let direction = Direction(order as u8);
    let order = order & !0xff;
    if order == LATE || is_overtaken(state, key, direction, sent) {
        return OVERTAKEN | shown;
    }
    if was_interrupted(state) {
        return TORN | (Look::Stranger as u32) << 8;
    }
    let is_request = look == Look::Request;
    if is_request && order == IN_TURN && missed_answer(state, key, direction) {
        return BEHIND | shown;
    }
    // Behind a call that is not seen yet, a message may start in the direction of the newest one.
    let starts = order == AHEAD && (is_request || look == Look::Response);
    if starts || state.direction != direction {
        START | shown
    } else {
        MORE | shown
    }
}

/// Whether a call was overtaken while it was looked at. (The plain text of a layer is not: it is taken in before it is sent.)
#[inline(always)]
fn is_overtaken(state: &ConnectionState, key: u64, direction: Direction, by: u32) -> bool {
    // SAFETY: the map's own fields, which a program on another CPU may have written meanwhile.
    let (overtaken, sent) = unsafe {
        (
            (&raw const state.overtaken).read_volatile(),
            (&raw const state.sent).read_volatile(),
        )
    };
    direction == Direction::SENT
        && key & PLAIN_TEXT == 0
        && overtaken != Overtaken::NONE
        && sent == by
}

/// Says whether a message is being started.
#[inline(always)]
fn turning(state: &mut ConnectionState, now: u8) {
    // What comes before stays before, and what comes after, after.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the map's own field, which programs on other CPUs read.
    unsafe { (&raw mut state.turning).write_volatile(now) };
    compiler_fence(Ordering::SeqCst);
}

/// Whether a program that was preempted is about to start a message, so that this call can't be taken in; it will know. (Where nothing was seen yet, both
/// directions may start at the same time, and HTTP/2 loses nothing by it.)
#[inline(always)]
pub fn interrupts(state: &mut ConnectionState) -> bool {
    // SAFETY: the map's own field, which programs on other CPUs write.
    let turning = unsafe { (&raw const state.turning).read_volatile() };
    if turning == 0 || state.gear == Gear::UNKNOWN {
        return false;
    }
    // SAFETY: as above.
    unsafe { (&raw mut state.interrupted).write_volatile(1) };
    maps::count(NetCounter::Interrupted);
    true
}

/// Whether a call came while a message was started.
#[inline(always)]
pub fn was_interrupted(state: &mut ConnectionState) -> bool {
    let interrupted = &raw mut state.interrupted;
    // SAFETY: as in `interrupts`.
    if unsafe { interrupted.read_volatile() } == 0 {
        return false;
    }
    // SAFETY: as above.
    unsafe { interrupted.write_volatile(0) };
    true
}

/// What is still to be done about a call.
#[derive(Clone, Copy)]
enum Next {
    /// Nothing.
    Turns,
    /// The rest of a request's head is to be sent.
    LongHead,
    /// The same, of one that is not the newest message.
    RestOfHead,
    /// Its bytes are to travel, and those behind it.
    Travels(Start),
}

/// What the captured bytes look like.
#[inline(always)]
fn look(captured: u32, scratch: &Scratch) -> Look {
    let data = scratch.data.as_ptr().cast::<u32>();
    // SAFETY: the scratch holds more than eight bytes, aligned to eight.
    sniff::look(unsafe { *data }, unsafe { *data.add(1) }, captured)
}

/// The message goes on, and may hold more of its head, or another request.
#[inline(always)]
fn more(
    state: &mut ConnectionState,
    call: &Call,
    look: Look,
    captured: u32,
    scratch: &mut Scratch,
    entry: u32,
) -> Next {
    if state.watched != Watched::NO {
        // A request, and nothing has come the other way.
        if look == Look::Request {
            return Next::Travels(Start::Bytes);
        }
        if state.watched == Watched::REQUEST {
            state.watched = Watched::NO;
        }
    }
    let offset = state.bytes;
    state.bytes = offset.wrapping_add(call.bytes);
    state.last_ns = call.now;
    if state.head_open == 0 {
        return Next::Turns;
    }
    if captured == 0 {
        state.head_open = 0;
        return Next::Turns;
    }
    if state.message == 1 && look == Look::Preface {
        // Behind what a proxy put before it.
        state.bytes = offset;
        return Next::Travels(Start::Preface);
    }
    keep_head_open(state, call, captured, scratch);
    call.fill(state, MessageKind::MORE, scratch);
    scratch.event.offset = offset as u32;
    scratch.event.captured = captured as u16;
    record::send_message(entry, captured);
    Next::Turns
}

/// A message starts.
#[inline(always)]
fn flip(
    state: &mut ConnectionState,
    call: &Call,
    look: Look,
    mut captured: u32,
    is_behind_missed: bool,
    scratch: &mut Scratch,
    entry: u32,
) -> Next {
    if is_behind_missed {
        // User space sees the gap.
        state.message = state.message.wrapping_add(1);
    }
    // Of an answer only the status and the framing are wanted, and its body is often in the same call.
    if look == Look::Response && captured > RESPONSE_CAPTURE {
        captured = RESPONSE_CAPTURE;
    }
    if state.gear == Gear::UNKNOWN {
        if look == Look::Preface {
            return Next::Travels(Start::Preface);
        }
        if is_frame(captured, call.bytes, scratch) {
            return Next::Travels(Start::Frames);
        }
        if look == Look::Stranger || look == Look::Tls {
            stranger(state, call, look);
            return Next::Turns;
        }
        state.gear = Gear::TURNS;
    } else if look == Look::Tls {
        // Behind what a proxy was asked for (CONNECT), or after STARTTLS.
        state.gear = Gear::TLS;
        state.direction = call.direction;
        return Next::Turns;
    }
    if look == Look::Request {
        state.answers = answers_to(call.key, u32::from(call.direction.0));
    }
    let ends_head = capture::ends_head(scratch, captured);
    state.watched = match look {
        Look::Request if ends_head => Watched::REQUEST,
        // The rest of a body whose answer has begun before it was over: a request may be next.
        Look::Stranger => Watched::BODY,
        _ => Watched::NO,
    };
    if look == Look::Request && state.searched < MAX_SEARCHED {
        state.searched += 1;
        let behind = capture::behind_empty_line(entry, captured);
        if is_request(scratch, behind, captured) {
            return Next::Travels(Start::Bytes);
        }
    }
    let (mut previous_bytes, previous_last_ns) = if state.message == 0 {
        (0, 0)
    } else {
        (state.bytes, state.last_ns)
    };
    let mut kind = MessageKind::HEAD;
    if let Order::Ahead(unseen) = call.order
        && !is_behind_missed
    {
        if state.direction == call.direction || state.message == 0 {
            kind = MessageKind::AHEAD;
            state.message = state.message.wrapping_add(1);
            state.overtaken = Overtaken::MESSAGE;
            state.sent = state.sent.wrapping_add(unseen);
        } else if state.head_open == 0 {
            previous_bytes += u64::from(unseen);
            state.overtaken = Overtaken::REST;
            state.sent = state.sent.wrapping_add(unseen);
        }
    } else {
        state.overtaken = Overtaken::NONE;
    }
    state.message = state.message.wrapping_add(1);
    state.direction = call.direction;
    state.bytes = call.bytes;
    state.last_ns = call.now;
    state.captured = 0;
    keep_head_open(state, call, captured, scratch);
    // The status code starts at the tenth byte.
    if look == Look::Response && captured > 11 && scratch.data[9] == b'1' {
        if scratch.data[10] == b'0' && scratch.data[11] == b'1' {
            // Another protocol follows: HTTP/2 shows itself at once, and anything else is counted.
            state.gear = Gear::UNKNOWN;
            state.strangers = MAX_STRANGERS - 1;
        } else {
            // The final answer may follow an interim one in the same direction.
            state.head_open = u8::from(u32::from(state.captured) < CAPTURE.load());
        }
    }
    track(state, call, look);
    call.fill(state, kind, scratch);
    scratch.event.previous_bytes = previous_bytes;
    scratch.event.previous_last_ns = previous_last_ns;
    scratch.event.captured = captured as u16;
    record::send_message(entry, captured);
    if look == Look::Request && captured == MAX_CAPTURE as u32 {
        pieces::begin(call, &mut scratch.walk);
        return Next::LongHead;
    }
    Next::Turns
}

/// A call is seen that another was seen ahead of.
#[inline(always)]
fn overtaken(
    state: &mut ConnectionState,
    call: &Call,
    look: Look,
    mut captured: u32,
    scratch: &mut Scratch,
    entry: u32,
) -> Next {
    let was = state.overtaken;
    state.overtaken = Overtaken::NONE;
    if was != Overtaken::MESSAGE {
        return Next::Turns;
    }
    if look == Look::Response {
        if captured > RESPONSE_CAPTURE {
            captured = RESPONSE_CAPTURE;
        }
        let _ = ACTIVE.remove(worker(call.pid_tgid));
    }
    call.fill(state, MessageKind::OVERTAKEN, scratch);
    scratch.event.message = state.message.wrapping_sub(1);
    scratch.event.captured = captured as u16;
    record::send_message(entry, captured);
    if captured == MAX_CAPTURE as u32 {
        pieces::begin(call, &mut scratch.walk);
        return Next::RestOfHead;
    }
    Next::Turns
}

/// Whether something has gone the other way since the newest request, though no call was seen: the kernel can keep one from the tap. (In a layer of
/// plain text, what goes the other way may be the library's own.)
#[inline(always)]
fn missed_answer(state: &ConnectionState, key: u64, direction: Direction) -> bool {
    state.watched == Watched::REQUEST
        && state.direction == direction
        && key & PLAIN_TEXT == 0
        && sock::progress(key, direction.opposite()) != state.answers
}

/// How far the direction of answers has come, where requests go in this one.
///
/// A global function, as `pieces::walk_pieces`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answers_to(sock: u64, direction: u32) -> u32 {
    sock::progress(sock, Direction(direction as u8).opposite())
}

/// Whether another request starts at this place among the captured bytes.
#[inline(always)]
fn is_request(scratch: &Scratch, at: u32, captured: u32) -> bool {
    if at == 0 || at + 8 > captured {
        return false;
    }
    let at = black_box(at) as usize & (MAX_CAPTURE * 2 - 1);
    // SAFETY: eight bytes from a masked place, in an array of at least that size, and more behind it.
    let (first, second) = unsafe {
        let at = scratch.data.as_ptr().add(at).cast::<u32>();
        (at.read_unaligned(), at.add(1).read_unaligned())
    };
    sniff::look(first, second, 8) == Look::Request
}

/// Whether the captured bytes of a call start with a frame's header, on a connection that has not shown anything yet. What came before may have been
/// the rest of a frame, where the connection was open before.
#[inline(always)]
fn is_frame(captured: u32, bytes: u64, scratch: &Scratch) -> bool {
    let data = scratch.data.as_ptr().cast::<u32>();
    // SAFETY: the scratch holds more than nine bytes, aligned to eight.
    let (first, second, ninth) = unsafe { (*data, *data.add(1), *data.add(2) as u8) };
    sniff::is_frame(first, second, ninth, captured, bytes)
}

/// Sends the rest of a request's head that one record did not hold, as far as it lies in one piece of user memory, where the walk in this entry
/// of the scratch starts. Returns whether the next call may go on with it.
///
/// A global function, as `pieces::walk_pieces`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn long_head(entry: u32) -> u8 {
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return 0;
    };
    // SAFETY: the caller's own entry, which it does not use meanwhile.
    let scratch = unsafe { &mut *scratch };
    for part in 1..MAX_HEADS {
        let offset = part * MAX_CAPTURE as u64;
        let here = scratch.walk.here.get();
        if capture::behind_empty_line(entry, MAX_CAPTURE as u32) != 0 {
            return 0;
        }
        if offset >= here || offset >= u64::from(CAPTURE.load()) {
            break;
        }
        let left = here - offset;
        let bytes = if left < MAX_CAPTURE as u64 {
            left
        } else {
            MAX_CAPTURE as u64
        };
        let captured = capture::copy_bytes(entry, scratch.walk.cursor.get() + offset, bytes as u32);
        scratch.event.kind = MessageKind::MORE;
        scratch.event.offset = offset as u32;
        scratch.event.captured = captured as u16;
        record::send_message(entry, captured);
        if captured != MAX_CAPTURE as u32 {
            return u8::from(captured != 0 && !capture::ends_head(scratch, captured));
        }
    }
    0
}

/// Whether only bytes are counted, as nothing that was known came.
#[inline(always)]
pub fn is_given_up(state: &ConnectionState) -> bool {
    state.gear == Gear::COUNT && state.strangers >= MAX_STRANGERS
}

/// A message that looks like nothing known, on a connection that has not shown anything known yet.
#[inline(always)]
fn stranger(state: &mut ConnectionState, call: &Call, look: Look) {
    state.direction = call.direction;
    state.bytes = call.bytes;
    state.last_ns = call.now;
    if look == Look::Tls {
        state.gear = Gear::TLS;
        return;
    }
    state.strangers = state.strangers.wrapping_add(1);
    if state.strangers >= MAX_STRANGERS {
        state.gear = Gear::COUNT;
        maps::count(NetCounter::GivenUp);
    }
}

/// Copies the call's first bytes into the scratch, at most `room`; returns how many.
#[inline(always)]
fn first_bytes(call: &Call, room: u32, entry: u32) -> u32 {
    if call.buffer.address == 0 {
        maps::count(NetCounter::NoBuffer);
        return 0;
    }
    let mut len = if call.bytes < call.buffer.len {
        call.bytes
    } else {
        call.buffer.len
    };
    if len > u64::from(room) {
        len = u64::from(room);
    }
    if len > MAX_CAPTURE as u64 {
        len = MAX_CAPTURE as u64;
    }
    // At most MAX_CAPTURE.
    capture::copy_bytes(entry, call.buffer.address, len as u32)
}

/// Decides whether the next call of this message may hold more of its head: not when what was captured ends like a head,
/// not when there is no room left, and not without captured bytes.
#[inline(always)]
fn keep_head_open(state: &mut ConnectionState, call: &Call, captured: u32, scratch: &Scratch) {
    state.captured = state.captured.wrapping_add(captured as u16);
    let full = u32::from(state.captured) >= CAPTURE.load();
    // A call that holds more than was captured has its body begun, or its head past the bound; or its head lies in several
    // segments, and the next call of the message is the first chance to see more.
    let cut = u64::from(captured) < call.bytes && call.buffer.len >= call.bytes;
    let open = captured != 0 && !full && !cut && !capture::ends_head(scratch, captured);
    state.head_open = u8::from(open);
}

/// Keeps the table of threads and goroutines, and of the requests that they serve.
#[inline(always)]
fn track(state: &ConnectionState, call: &Call, look: Look) {
    if TRACK_ACTIVE.load() == 0 {
        return;
    }
    if look == Look::Request && state.direction == Direction::RECEIVED {
        let active = ActiveExchange {
            id: ConnectionId {
                sock: call.key,
                born_ns: state.born_ns,
            },
            message: state.message,
            reserved: 0,
        };
        if ACTIVE.insert(worker(call.pid_tgid), &active, 0).is_err() {
            maps::count(NetCounter::ActiveFull);
        }
    } else if look == Look::Response && state.direction == Direction::SENT {
        // Not there when another one took the request: nothing to remove.
        let _ = ACTIVE.remove(worker(call.pid_tgid));
    }
}

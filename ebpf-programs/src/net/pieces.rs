//! The gears in which a connection's bytes travel: all of a pipeline's, and of HTTP/2 all but the payload of larger DATA frames.
//!
//! The tap walks the frames' headers (RFC 9113 section 4.1) only to know which bytes these are, and where the next header
//! lies. It reads no frame but for its length and whether it is data.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_NOEXIST,
    helpers::{bpf_probe_read_user, generated::bpf_probe_read_user as bpf_probe_read_user_bytes},
    maps::ProgramArray,
};
use fathom_abi::{
    Role,
    counters::NetCounter,
    message::{ConnectionState, DATA_HEAD, Direction, Gear, MAX_PIECE, MessageKind, SMALL_DATA},
};

use crate::{
    capture, connection,
    io::Call,
    kernel::read,
    maps::{self, FRAMINGS, Framing, SCRATCH, Scratch, Walk},
    record, sniff,
    straight::{is_less, is_some, min},
    turns,
};

/// Frames that one record can hold. (One I/O call can make 33 of them: as many tail calls does the kernel allow before 5.16, and later.)
const MAX_STEPS: u32 = 8;

/// Bytes of a frame's header.
const HEADER: u64 = 9;

/// Bytes at which a run goes out: the next step adds a header at most.
const MAX_RUN: u64 = MAX_PIECE as u64 - HEADER;

/// How the client's connection preface (RFC 9113 section 3.4) starts, and its bytes. As a header it would be that of a frame of 5 MB, of no known type.
const PREFACE: u32 = u32::from_ne_bytes(*b"PRI ");

/// See [`PREFACE`].
const PREFACE_LEN: u64 = 24;

/// The type of a DATA frame.
const DATA: u8 = 0;

/// Frames were lost track of, and user space was told.
const LOST: u64 = 1;

/// Where frames start was not found yet.
const UNFOUND: u64 = 2;

/// More than any connection moves, and than any segment holds.
const LONGEST: u64 = u64::MAX >> 1;

/// What is known of a connection's streams when it starts to travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Bytes that the tap knows nothing of.
    Bytes,
    /// The preface, then frames; frames alone the other way.
    Preface,
    /// Frames, of which this call starts with one; the client's, behind its preface, may still be to come. On a connection that was open before, where those of the other
    /// direction start is still to be found.
    Frames,
}

/// From now on the connection's bytes travel, starting with those of `call`; returns whether there is room for that.
#[inline(always)]
pub fn start(
    state: &mut ConnectionState,
    call: &Call,
    start: Start,
    scratch: &mut Scratch,
) -> bool {
    let all = if start == Start::Bytes { LONGEST } else { 0 };
    scratch.framings.born_ns = state.born_ns;
    let [received, sent] = &mut scratch.framings.directions;
    received.start(all, state.message);
    sent.start(all, state.message);
    if start == Start::Frames && state.role == Role::UNKNOWN {
        let other = if call.direction == Direction::SENT {
            received
        } else {
            sent
        };
        other.lost.set(UNFOUND);
    }
    let is_new = FRAMINGS
        .insert(call.key, &scratch.framings, u64::from(BPF_NOEXIST))
        .is_ok();
    // Both directions may start at the same time. What else is there is an older connection's.
    if !is_new
        && !has_started(call.key, state.born_ns)
        && FRAMINGS.insert(call.key, &scratch.framings, 0).is_err()
    {
        maps::count(NetCounter::FramingsFull);
        state.gear = Gear::COUNT;
        return false;
    }
    state.gear = if start == Start::Bytes {
        Gear::STREAM
    } else {
        Gear::FRAMES
    };
    true
}

/// Whether another program has had the connection's bytes travel meanwhile.
#[inline(always)]
fn has_started(key: u64, born_ns: u64) -> bool {
    FRAMINGS
        .get_ptr(key)
        // SAFETY: the kernel keeps the entry's memory until this program has ended.
        .is_some_and(|framings| unsafe { (*framings).born_ns } == born_ns)
}

/// Whether a connection's bytes travel.
#[inline(always)]
pub fn travels(state: &ConnectionState) -> bool {
    state.gear == Gear::STREAM || state.gear == Gear::FRAMES
}

/// The numbers of the newest records of each direction, received and sent; zeros where its bytes do not travel any more.
#[inline(always)]
pub fn numbers(key: u64) -> [u32; 2] {
    let Some(framings) = FRAMINGS.get_ptr(key) else {
        return [0; 2];
    };
    // SAFETY: the kernel keeps the entry's memory until this program has ended.
    let [received, sent] = unsafe { &(*framings).directions };
    [received.number.get() as u32, sent.number.get() as u32]
}

/// Notes an I/O call of a connection whose bytes travel in its entry of the scratch, for the walker.
#[inline(always)]
pub fn take(state: &mut ConnectionState, call: &Call, scratch: &mut Scratch) {
    state.direction = call.direction;
    state.last_ns = call.now;
    call.fill(state, MessageKind::PIECE, scratch);
    begin(call, &mut scratch.walk);
}

/// Goes on to the walker with this index, a program of its own that the kernel verifies by itself: with each of the ways to it, it
/// would be too much.
#[inline(always)]
pub fn go_on(ctx: &impl EbpfContext, walkers: &ProgramArray, index: u32) {
    // SAFETY: the loader has put the walkers there before it attached what leads here.
    unsafe { walkers.tail_call(ctx, index) };
    maps::count(NetCounter::FramesLost);
}

/// Sends the next piece of the call that [`take`] has noted in this entry of the scratch, whose number is the walker's index, too.
#[inline(always)]
pub fn walk(ctx: &impl EbpfContext, walkers: &ProgramArray, entry: u32) {
    walk_as(ctx, walkers, entry, entry);
}

/// The same for a walker with another index: it goes on to itself.
#[inline(always)]
pub fn walk_as(ctx: &impl EbpfContext, walkers: &ProgramArray, index: u32, entry: u32) {
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return;
    };
    // SAFETY: as in `io::layer`; it is this call's until this program has ended.
    let scratch = unsafe { &mut *scratch };
    let key = scratch.event.id.sock;
    let Some(state) = connection::find(key) else {
        return;
    };
    let Some(framings) = FRAMINGS.get_ptr_mut(key) else {
        // User space has taken it away, as it can make nothing of the bytes.
        state.gear = Gear::COUNT;
        maps::count(NetCounter::GivenUp);
        return;
    };
    // SAFETY: the kernel keeps the entry's memory until this program has ended.
    let framings = unsafe { &mut *framings };
    if turns::was_interrupted(state) {
        // A call of either direction was missed, just when the bytes began to travel. User space sees the gap.
        framings.directions[0].number.add(1);
        framings.directions[1].number.add(1);
    }
    let framing = if scratch.event.direction == Direction::SENT {
        &mut framings.directions[1]
    } else {
        &mut framings.directions[0]
    };
    // A call that loses track is walked no further: this one is a later one.
    if framing.lost.get() != 0 && starts_frame(framing, &scratch.walk) {
        framing.start_again();
    }
    if framing.lost.get() == 0 {
        let walk = &mut scratch.walk;
        walk.run.set(walk.cursor.get());
        walk.run_len.set(0);
        walk.hole.set(0);
        run(framing, walk);
        let len = walk.run_len.get();
        let length = len.wrapping_add(walk.hole.get());
        let position = framing.position.get();
        framing.position.add(length);
        // Of a payload that is passed over only the end is told, for its time.
        if len | (length & !is_some(framing.skip.get())) != 0 {
            send(framing, position, length, scratch, entry);
        }
        let walk = &mut scratch.walk;
        let rest = walk.here.get().wrapping_add(walk.behind.get());
        if rest == 0 {
            return;
        }
        if length != 0 {
            // SAFETY: as in `go_on`. It does not return but where there were too many.
            unsafe { walkers.tail_call(ctx, index) };
        }
    }
    unread(framing, scratch, entry);
}

/// Stands at the call's first byte.
#[inline(always)]
pub fn begin(call: &Call, walk: &mut Walk) {
    let buffer = &call.buffer;
    walk.behind.set(call.bytes);
    let here = if buffer.address == 0 { 0 } else { buffer.len };
    let here = walk.behind.take(here & LONGEST);
    walk.here.set(here);
    walk.cursor.set(buffer.address);
    walk.next.set(buffer.next);
    walk.more.set(buffer.more);
    walk.in_kernel.set(buffer.in_kernel);
}

/// The rest of a call's bytes can't be had, or are too many: the frames are lost track of, unless all of them are payload.
#[inline(always)]
fn unread(framing: &mut Framing, scratch: &mut Scratch, entry: u32) {
    let walk = &mut scratch.walk;
    let bytes = walk.here.get().wrapping_add(walk.behind.get());
    let position = framing.position.get();
    framing.position.add(bytes);
    let before = framing.lost.get();
    if before == LOST {
        // Told once.
        return;
    }
    let kept = framing.keep.take(bytes);
    let skipped = framing.skip.take(bytes - kept);
    if kept + skipped != bytes {
        framing.lost.set(LOST);
        if before != UNFOUND {
            maps::count(NetCounter::FramesLost);
        }
    }
    walk.run_len.set(0);
    send(framing, position, bytes, scratch, entry);
}

/// Sends a record of the walk's run, which stands for `length` bytes at `position`.
#[inline(always)]
fn send(framing: &mut Framing, position: u64, length: u64, scratch: &mut Scratch, entry: u32) {
    let (run, len) = (scratch.walk.run.get(), scratch.walk.run_len.get());
    // At most MAX_PIECE.
    let captured = capture::copy_bytes(entry, run, len as u32);
    framing.number.add(1);
    let event = &mut scratch.event;
    event.message = framing.number.get() as u32;
    event.previous_bytes = position;
    event.previous_last_ns = length;
    event.captured = captured as u16;
    record::send_message(entry, captured);
}

/// Goes on to the end of what can travel in one record: bytes in one piece of user memory, and a hole behind them. Each turn of the loop
/// takes in one frame.
#[inline(always)]
fn run(framing: &mut Framing, walk: &mut Walk) {
    for _ in 0..MAX_STEPS {
        if walk.here.get() == 0 {
            // What lies in another segment goes into another record.
            let is_there = is_some(walk.behind.get()) & is_some(walk.more.get());
            if is_there & !is_some(walk.run_len.get()) == 0 {
                break;
            }
            next_segment(walk);
        }
        if framing.keep.get() | framing.skip.get() == 0 && !header(framing, walk) {
            break;
        }
        let room = MAX_RUN.wrapping_sub(walk.run_len.get());
        let kept = framing.keep.take(min(room, walk.here.get()));
        walk.run_len.add(kept);
        pass(walk, kept);
        let skipped = framing
            .skip
            .take(walk.here.get() & !is_some(framing.keep.get()));
        walk.hole.set(skipped);
        pass(walk, skipped);
        if is_some(skipped) | !is_less(walk.run_len.get(), MAX_RUN) != 0 {
            break;
        }
    }
}

#[inline(always)]
fn pass(walk: &mut Walk, bytes: u64) {
    walk.cursor.add(bytes);
    walk.here.set(walk.here.get() - bytes);
}

#[inline(always)]
fn next_segment(walk: &mut Walk) {
    let next = walk.next.get();
    let [address, len]: [u64; 2] = if walk.in_kernel.get() != 0 {
        read(next, 0)
    } else {
        // SAFETY: the helper checks the user address.
        unsafe { bpf_probe_read_user(next as *const [u64; 2]) }.unwrap_or([0; 2])
    };
    walk.next.set(next.wrapping_add(16));
    walk.more.take(1);
    walk.cursor.set(address);
    walk.run.set(address);
    let here = walk.behind.take(len & LONGEST);
    walk.here.set(here);
}

/// Whether the call starts with the preface or with what only a frame's header looks like, as the walk stands before its first byte.
#[inline(always)]
fn starts_frame(framing: &mut Framing, walk: &Walk) -> bool {
    let here = walk.here.get();
    if here < HEADER {
        return false;
    }
    let at = framing.header.as_mut_ptr();
    // SAFETY: the header has more room; the helper checks the user address, and writes behind the compiler's back.
    let (failed, first, second, ninth) = unsafe {
        let failed =
            bpf_probe_read_user_bytes(at.cast(), HEADER as u32, walk.cursor.get() as *const _);
        let words = at.cast::<u32>();
        (
            failed,
            words.read_volatile(),
            words.add(1).read_volatile(),
            at.add(8).read_volatile(),
        )
    };
    let bytes = here.wrapping_add(walk.behind.get());
    failed == 0 && (first == PREFACE || sniff::is_frame(first, second, ninth, HEADER as u32, bytes))
}

/// Reads a frame's header, or as much of it as is there; returns whether that was possible.
#[inline(always)]
fn header(framing: &mut Framing, walk: &mut Walk) -> bool {
    let have = framing.have.get();
    let bytes = min(HEADER.wrapping_sub(have), walk.here.get());
    // As in `capture::copy`.
    let len = black_box(bytes as u32) & 15;
    let at = black_box(have as u32) & 15;
    // SAFETY: at most 15 bytes behind at most 15 others, of 32; the helper checks the user address.
    let failed = unsafe {
        let at = framing.header.as_mut_ptr().add(at as usize);
        bpf_probe_read_user_bytes(at.cast(), len, walk.cursor.get() as *const _)
    };
    if failed != 0 {
        maps::count(NetCounter::UnreadableBuffer);
        return false;
    }
    let bytes = u64::from(len);
    walk.run_len.add(bytes);
    pass(walk, bytes);
    let have = have.wrapping_add(bytes);
    let is_whole = !is_less(have, HEADER);
    framing.have.set(have & !is_whole);
    // SAFETY: the helper wrote it, behind the compiler's back.
    let word = unsafe { framing.header.as_ptr().cast::<u32>().read_volatile() };
    let length = u64::from(u32::from_be(word) >> 8);
    let is_data = !is_some(u64::from(word.to_ne_bytes()[3] ^ DATA));
    let is_large = is_data & !is_less(length, SMALL_DATA + 1);
    let skip = (length - DATA_HEAD) & is_large;
    // The server may speak first; then it is not known which way the preface will come.
    let is_preface = !is_some(u64::from(word ^ PREFACE));
    let keep = ((length - skip) & !is_preface) | ((PREFACE_LEN - HEADER) & is_preface);
    framing.keep.set(keep & is_whole);
    framing.skip.set(skip & is_whole);
    true
}

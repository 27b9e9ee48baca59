//! The layer of plain text over a connection: its state lies under the sock's address with [`PLAIN_TEXT`] set.
//!
//! What a library's call moves is taken in by a program of its own, which the calls' programs go on to with a tail call: with each of them, the
//! kernel would verify it once more.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
};
use fathom_abi::{
    counters::NetCounter,
    message::{ConnectionState, Direction, Gear, PLAIN_TEXT},
};

use crate::{
    connection,
    io::{self, Call, Order},
    maps::{self, CONNECTIONS, FRAMINGS, SCRATCH, Scratch, TLS_PROGRAMS},
    pieces,
    syscall::Buffer,
    turns,
};

/// The first entry of `SCRATCH` that is for this.
const FIRST_ENTRY: u32 = 4;

/// Entries behind it: as many calls can be under way on a CPU, where they preempt each other (6.0).
const ENTRIES: u32 = 4;

const _: () = assert!(FIRST_ENTRY + ENTRIES == maps::ENTRIES, "all of SCRATCH");

/// Where in `TLS_PROGRAMS` the program is that takes bytes in.
const TAKE: u32 = 0;

/// Where the one is that walks through their pieces.
const WALK: u32 = 1;

/// Where none is.
const NONE: u32 = 2;

/// Takes in bytes of the layer over a sock.
#[inline(always)]
pub fn take(ctx: &impl EbpfContext, sock: u64, buffer: &Buffer, direction: Direction) {
    maps::count(NetCounter::TlsSeen);
    let Some(state) = plain_text(sock) else {
        maps::count(NetCounter::TlsUnbound);
        return;
    };
    // SAFETY: has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if state.gear == Gear::COUNT
        || state.gear == Gear::OWN
        || turns::goes_on(state, buffer.len, direction, now)
    {
        return;
    }
    let entry = claim();
    let Some(scratch) = scratch(entry) else {
        maps::count(NetCounter::TlsBusy);
        return;
    };
    scratch.event.id.sock = sock | PLAIN_TEXT;
    scratch.event.at_ns = now;
    scratch.event.direction = direction;
    scratch.walk.cursor.set(buffer.address);
    scratch.walk.behind.set(buffer.len);
    // SAFETY: the loader has put the programs there before it attached what leads here.
    unsafe { TLS_PROGRAMS.tail_call(ctx, TAKE) };
    release(entry);
    maps::count(NetCounter::TlsBusy);
}

/// Takes in the bytes that [`take`] has noted.
#[inline(always)]
pub fn taken(ctx: &impl EbpfContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let entry = claimed(pid_tgid);
    let Some(scratch) = scratch(entry) else {
        return;
    };
    let bytes = scratch.walk.behind.get();
    let call = Call {
        key: scratch.event.id.sock,
        bytes,
        direction: scratch.event.direction,
        now: scratch.event.at_ns,
        pid_tgid,
        buffer: Buffer::one(scratch.walk.cursor.get(), bytes),
        // What is sent is taken in before the library sends it.
        order: Order::InTurn,
        sent: 0,
    };
    if let Some(state) = connection::find(call.key)
        && io::take(state, &call, scratch, entry)
    {
        pieces::go_on(ctx, &TLS_PROGRAMS, WALK);
    }
    release(entry);
}

/// Ends a program that is attached to a function and has nothing to go on to: with a tail call that leads nowhere.
///
/// From Linux 6.13 on a program with 64 bytes of variables has them on a stack for each CPU, as two of its kind don't run on one at a time
/// (`bpf_enable_priv_stack` in kernel/bpf/verifier.c). Uprobes' programs do, where tasks preempt each other, and would write over each
/// other's variables. A program with a tail call in it keeps them on the stack of its task.
#[inline(always)]
pub fn nowhere(ctx: &impl EbpfContext) {
    // SAFETY: the index is behind the array's end, which the kernel checks.
    unsafe { TLS_PROGRAMS.tail_call(ctx, NONE) };
}

/// Sends the next piece of what [`taken`] has begun, and goes on.
#[inline(always)]
pub fn walk(ctx: &impl EbpfContext) {
    let entry = claimed(bpf_get_current_pid_tgid());
    pieces::walk_as(ctx, &TLS_PROGRAMS, WALK, entry);
    release(entry);
}

/// The layer over a sock, which is made if need be. One that is there may be of a connection before, of which nobody told that it can go.
#[inline(always)]
fn plain_text(sock: u64) -> Option<&'static mut ConnectionState> {
    let base = connection::find(sock)?;
    if let Some(state) = connection::find(sock | PLAIN_TEXT)
        && state.born_ns == base.born_ns
    {
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
        born_ns: base.born_ns,
        role: base.role,
        owner: base.owner,
        tgid: base.tgid,
        told: base.told,
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

/// The layer over a sock that is closed.
#[inline(always)]
pub fn forget(sock: u64) {
    let key = sock | PLAIN_TEXT;
    let _ = FRAMINGS.remove(key);
    let _ = CONNECTIONS.remove(key);
}

/// An entry of the scratch; none for 0.
#[inline(always)]
fn scratch(entry: u32) -> Option<&'static mut Scratch> {
    if entry == 0 {
        return None;
    }
    // SAFETY: the one who has claimed the entry has it alone.
    SCRATCH
        .get_ptr_mut(entry)
        .map(|scratch| unsafe { &mut *scratch })
}

/// Takes an entry of the scratch for this thread; 0 where all are taken.
///
/// Uprobes' programs can preempt each other (6.0), and the kernel does not keep one from running twice on a CPU. An addition and a
/// look at its result are enough: of those that add, the one who sees 1 is alone, and the others go on to the next entry.
#[inline(always)]
fn claim() -> u32 {
    for entry in FIRST_ENTRY..FIRST_ENTRY + ENTRIES {
        let Some(scratch) = scratch(entry) else {
            return 0;
        };
        let claims = &raw mut scratch.claims;
        maps::add(claims, 1);
        // SAFETY: the entry's own word, read after the addition.
        if unsafe { claims.read_volatile() } == 1 {
            scratch.claimed_by = bpf_get_current_pid_tgid();
            scratch.number = entry;
            return entry;
        }
        maps::add(claims, u64::MAX);
    }
    0
}

/// The entry that this thread has claimed; 0 for none. It is still on the same CPU: programs that go on to each other don't move between.
#[inline(always)]
fn claimed(pid_tgid: u64) -> u32 {
    for entry in FIRST_ENTRY..FIRST_ENTRY + ENTRIES {
        if let Some(scratch) = scratch(entry)
            && scratch.claimed_by == pid_tgid
        {
            // SAFETY: the entry's own word.
            return unsafe { (&raw const scratch.number).read_volatile() };
        }
    }
    0
}

/// Gives an entry back.
#[inline(always)]
fn release(entry: u32) {
    if let Some(scratch) = scratch(entry) {
        scratch.claimed_by = 0;
        maps::add(&raw mut scratch.claims, u64::MAX);
    }
}

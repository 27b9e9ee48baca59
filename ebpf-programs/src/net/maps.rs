//! The object's maps. The loader sets their sizes from the memory budget; the sizes here are for none.
//!
//! Hash maps are preallocated: their memory is declared when they are made, and no program allocates while it stands in
//! the way of a watched one.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use fathom_abi::{
    counters::NetCounter,
    message::{ConnectionState, MAX_CAPTURE, MAX_PIECE, MessageEvent},
    sample::ActiveExchange,
};

use crate::kernel;

/// Records of flows.
#[map]
pub static FLOWS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Records of messages.
#[map]
pub static MESSAGES: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Every connection that was seen and is open, by its sock.
#[map]
pub static CONNECTIONS: HashMap<u64, ConnectionState> = HashMap::with_max_entries(1, 0);

/// The processes that listened last, by [`ListenerKey`]. They stay when they have closed their sockets: what the kernel then resets was never accepted, and theirs.
#[map]
pub static LISTENERS: LruHashMap<ListenerKey, u32> = LruHashMap::with_max_entries(1024, 0);

/// The agent's own outgoing connections, by their ports as the accepting end sees them.
#[map]
pub static OWN_PORTS: HashMap<PortPair, u8> = HashMap::with_max_entries(64, 0);

/// How many entries `OWN_PORTS` has; most often none, which spares the look into it.
#[map]
pub static OWN_OPEN: Array<u64> = Array::with_max_entries(1, 0);

/// Connects that have failed and whose record was sent, by sock: the process in the upper half and the errno in the lower. What connect(2)
/// returns then is no other failure.
#[map]
pub static FAILED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// What programs note for each other, and each for itself.
#[map]
pub static TAKEN: PerCpuArray<Taken> = PerCpuArray::with_max_entries(1, 0);

/// I/O calls between entry and return, by `pid_tgid` (the taps that see the buffer only at entry).
#[map]
pub static INFLIGHT: HashMap<u64, Inflight> = HashMap::with_max_entries(1, 0);

/// The exchange that a thread or goroutine is serving; see `worker.rs`. The profiler reads it.
#[map]
pub static ACTIVE: HashMap<[u64; 2], ActiveExchange> = HashMap::with_max_entries(1, 0);

/// The processes that are Go programs, by tgid: user space says so. The profiler reads it.
#[map]
pub static GO_PROCESSES: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// The connections whose bytes travel, by the keys of `CONNECTIONS`.
#[map]
pub static FRAMINGS: HashMap<u64, Framings> = HashMap::with_max_entries(1, 0);

/// The programs that walk through the pieces of an I/O call, by entry of `SCRATCH`: those of the raw tracepoints, the kprobes or the
/// system calls, of which one kind is loaded.
#[map]
pub static WALKERS: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// The same for fexit. The kernel lets such programs call only those on the same function.
#[map]
pub static SENDMSG_WALKERS: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// See `SENDMSG_WALKERS`.
#[map]
pub static RECVMSG_WALKERS: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// See `SENDMSG_WALKERS`.
#[map]
pub static SENDPAGE_WALKERS: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// By [`NetCounter`].
#[map]
pub static NET_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(NetCounter::ALL.len() as u32, 0);

/// A record under construction, one for each direction and each turn: two programs that use the same one never run on a CPU
/// at the same time.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(ENTRIES, 0);

/// Entries of `SCRATCH`: those of the taps, and behind them those that the programs of TLS libraries share; see `layer::claim`.
pub const ENTRIES: u32 = 8;

/// Calls of TLS libraries that are under way.
#[map]
pub static TLS_CALLS: HashMap<CallKey, TlsCall> = HashMap::with_max_entries(1, 0);

/// The connections of TLS libraries' objects, by process and the object's address.
#[map]
pub static TLS_OBJECTS: LruHashMap<[u64; 2], TlsObject> = LruHashMap::with_max_entries(1, 0);

/// Threads that move bytes between sockets and TLS libraries' objects themselves, by `pid_tgid`; see `bio.rs`.
#[map]
pub static TLS_THREADS: LruHashMap<u64, TlsThread> = LruHashMap::with_max_entries(1, 0);

/// The connection (`*http.persistConn`) that a goroutine writes for, by process and goroutine; see `goroutine.rs`.
#[map]
pub static GO_LOOPS: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(1, 0);

/// Which goroutine has asked last on such a connection, by process and connection.
#[map]
pub static GO_ASKERS: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(1, 0);

/// The programs that the programs of TLS libraries' calls go on to; see `layer.rs`.
#[map]
pub static TLS_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// What programs note on a CPU.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Taken {
    /// The change of state that the first program and the second have taken or passed over last; see `flow.rs`.
    pub changes: [u64; 2],
    /// A word of each program with a typed sock, in which it puts that to take it out again as a number: the verifier lets nobody reckon with a typed pointer. A program
    /// has its word alone: where the kernel runs it on a CPU while it is at work there already, the later one ends first and leaves the word as it was.
    pub words: [u64; FLOW_WORDS + 4],
}

/// The programs on changes of state; behind their words come those of the socket tracepoints, by entry of `SCRATCH`.
pub const FLOW_WORDS: usize = 3;

/// Who makes a call of a TLS library.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallKey {
    /// `pid_tgid`; of a goroutine, which may return on another thread, the process alone in the upper half.
    pub thread: u64,
    /// The goroutine (`*runtime.g`), 0 for none.
    pub goroutine: u64,
}

/// A call of a TLS library that has not returned yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TlsCall {
    /// The library's object (`SSL *`, `gnutls_session_t`, `*tls.Conn`).
    pub object: u64,
    /// Where the plain text lies, or is to lie.
    pub buffer: u64,
    /// Bytes there.
    pub len: u64,
    /// Where the number of bytes will be that were moved; 0 where it is the result.
    pub done: u64,
    /// The sock, once it is known.
    pub sock: u64,
    /// 1 where its bytes were taken in when it began.
    pub taken: u64,
}

/// The connection of a library's object.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TlsObject {
    /// Its sock.
    pub sock: u64,
    /// When fathom first saw that: the address is used again.
    pub born_ns: u64,
    /// Bytes that were taken in when a call began which then did not take them: the next one starts with them.
    pub ahead: u64,
    /// The sock that it was last paired with; see `bio.rs`.
    pub guess: u64,
}

/// A thread that moves bytes between sockets and objects itself.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TlsThread {
    /// The sock that it has received from, while nothing has followed; else 0.
    pub received: u64,
    /// The object that it has called, while nothing has followed; else 0.
    pub called: u64,
}

/// A listening socket's name that its children share.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ListenerKey {
    /// The network namespace (`struct net`'s address).
    pub net: u64,
    /// The port, in host byte order.
    pub port: u32,
    /// Zero.
    pub reserved: u32,
}

/// Two ports in host byte order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PortPair {
    /// Of the accepting end.
    pub local: u16,
    /// Of the agent's end.
    pub remote: u16,
}

/// An I/O call that has not returned yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Inflight {
    /// Its sock.
    pub sock: u64,
    /// Where its first bytes lie in user memory; 0 for nowhere.
    pub buffer: u64,
    /// Bytes there.
    pub len: u64,
    /// Where the `struct iovec` of the next segment lies in kernel memory; 0 for none.
    pub next: u64,
    /// Segments there.
    pub more: u64,
}

/// A number that stays where it is: each use reads or writes memory. The verifier then sees a number that may be anything, and takes
/// the ways through a loop's body for one as soon as they meet; of a number in a register it would remember what each way made of it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Kept(u64);

impl Kept {
    /// The value.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: a reference is valid for reads.
        unsafe { (&raw const self.0).read_volatile() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set(&mut self, value: u64) {
        // SAFETY: a unique reference is valid for writes.
        unsafe { (&raw mut self.0).write_volatile(value) }
    }

    /// Adds to the value.
    #[inline(always)]
    pub fn add(&mut self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Takes `less` from the value, or all of it; returns how much that was. Both are less than 2^63.
    #[inline(always)]
    pub fn take(&mut self, less: u64) -> u64 {
        let value = self.get();
        let taken = crate::straight::min(less, value);
        self.set(value - taken);
        taken
    }
}

/// One direction of a connection whose bytes travel: where it is in its stream, and in its frames.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Framing {
    /// Bytes that went by.
    pub position: Kept,
    /// Bytes that are to travel before the next frame's header.
    pub keep: Kept,
    /// Bytes behind those that are not.
    pub skip: Kept,
    /// Bytes of the next frame's header that are here already.
    pub have: Kept,
    /// Not 0 while it is not known where frames start; see `pieces.rs`.
    pub lost: Kept,
    /// The number of its newest record. Each direction has numbers of its own: both may be at work at the same time.
    pub number: Kept,
    /// That header, and room for what a masked length may add to a masked place.
    pub header: [u8; 32],
}

impl Framing {
    /// Nothing went by yet, and so many bytes come before the first header; its records go on behind this number.
    #[inline(always)]
    pub fn start(&mut self, keep: u64, number: u32) {
        self.position.set(0);
        self.number.set(u64::from(number));
        self.start_again();
        self.keep.set(keep);
    }

    /// The next byte starts a frame.
    #[inline(always)]
    pub fn start_again(&mut self) {
        self.keep.set(0);
        self.skip.set(0);
        self.have.set(0);
        self.lost.set(0);
    }
}

/// Both directions.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Framings {
    /// Received, sent.
    pub directions: [Framing; 2],
    /// Of which connection: its `born_ns`. A sock's address is used again.
    pub born_ns: u64,
}

/// A walk through one I/O call's bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walk {
    /// The next byte to look at, in user memory.
    pub cursor: Kept,
    /// Bytes of the segment from there on.
    pub here: Kept,
    /// Bytes of the call behind those.
    pub behind: Kept,
    /// The next segment's `struct iovec`.
    pub next: Kept,
    /// Segments there.
    pub more: Kept,
    /// Whether they lie in kernel memory.
    pub in_kernel: Kept,
    /// Where the bytes that are to travel next start, in user memory.
    pub run: Kept,
    /// How many they are.
    pub run_len: Kept,
    /// Bytes behind them that are passed over.
    pub hole: Kept,
}

/// A record of `MESSAGES` with room for its bytes.
#[repr(C)]
pub struct Scratch {
    /// The header.
    pub event: MessageEvent,
    /// The bytes. More than a record may carry, so that the verifier sees every masked length fit.
    pub data: [u8; ROOM],
    /// Where the call's bytes are looked through.
    pub walk: Walk,
    /// What a connection starts with whose bytes are to travel.
    pub framings: Framings,
    /// How many want the entry; see `layer::claim`.
    pub claims: u64,
    /// The thread that has it (`pid_tgid`), 0 for none.
    pub claimed_by: u64,
    /// Its own number, while a thread has it. What is read here may be anything to the verifier, which goes on with all entries at once.
    pub number: u32,
}

/// Bytes that a scratch has room for: what masked lengths are masked with, and one.
pub const ROOM: usize = MAX_PIECE + 1;

const _: () = assert!(ROOM.is_power_of_two() && ROOM >= MAX_CAPTURE * 2);

/// Adds to a word of a map's value, in one instruction.
#[inline(always)]
pub fn add(word: *mut u64, value: u64) {
    // SAFETY: callers hand in a field of a map's value.
    unsafe { kernel::add(word, value) };
}

/// Counts one.
#[inline(always)]
pub fn count(counter: NetCounter) {
    counted(counter);
}

/// Counts one; returns how many there are on this CPU.
#[inline(always)]
pub fn counted(counter: NetCounter) -> u64 {
    kernel::count(&NET_COUNTERS, counter as u32)
}

//! The object's maps. The loader sets their sizes from the memory budget; the sizes here are for none.
//!
//! What unwinding reads is the ABI's ([`fathom_abi::unwind`]): user space has the arrays in its memory, and the program only reads them.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use fathom_abi::{
    counters::ProfileCounter,
    sample::{ActiveExchange, MAX_COPY, MAX_FRAMES, SampleEvent, StoppedFrame},
    unwind::{Chunk, Page, Rule, Segment, Space},
};

use crate::{kernel, walk::Walk};

/// The processes that a filter asks for, by tgid.
#[map]
pub static TARGETS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// The exchange that a thread or goroutine is serving; see `worker.rs`. The `net` object fills it; the loader makes both use one map.
#[map]
pub static ACTIVE: HashMap<[u64; 2], ActiveExchange> = HashMap::with_max_entries(1, 0);

/// The processes that are Go programs, by tgid. The loader makes both use one map, as above.
#[map]
pub static GO_PROCESSES: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// The records. The loader sets the size.
#[map]
pub static SAMPLES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What happened to each tick.
#[map]
pub static PROFILE_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(ProfileCounter::ALL.len() as u32, 0);

/// The address spaces of processes, by tgid.
#[map]
pub static SPACES: HashMap<u32, Space> = HashMap::with_max_entries(1, 0);

/// The arrays are in user space's memory. (So they can't be read-only for programs, `BPF_F_RDONLY_PROG`: `bpf_map_mmap` in kernel/bpf/syscall.c.)
const TABLE: u32 = BPF_F_MMAPABLE;

/// Their executable mappings.
#[map]
pub static SEGMENTS: Array<Segment> = Array::with_max_entries(1, TABLE);

/// The files' code, 64 KiB each.
#[map]
pub static PAGES: Array<Page> = Array::with_max_entries(1, TABLE);

/// Where which rule holds there.
#[map]
pub static ROWS: Array<Chunk> = Array::with_max_entries(1, TABLE);

/// The rules.
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(1, TABLE);

/// Where a record is built.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Frames that [`Record`] has room for: a power of two, so that a mask shows the verifier that an index is one.
pub const FRAMES: usize = 256;

const _: () = assert!(2 * MAX_FRAMES < FRAMES, "both stacks fit");

/// A record at its greatest length. What follows the frames lies right behind the last of them.
#[repr(C)]
pub struct Record {
    /// The fixed part.
    pub header: SampleEvent,
    /// The kernel's frames, then the user's.
    pub frames: [u64; FRAMES],
    _stopped: StoppedFrame,
    _stack: [u8; MAX_COPY],
}

/// What the program works on: the CPU's own, as it runs in the clock's interrupt and can't meet itself there.
#[repr(C)]
pub struct Scratch {
    /// The record that is being made.
    pub record: Record,
    /// Where unwinding stands.
    pub walk: Walk,
}

/// This CPU's.
#[inline(always)]
pub fn scratch() -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(0)
}

#[inline(always)]
pub fn count(counter: ProfileCounter) {
    kernel::count(&PROFILE_COUNTERS, counter as u32);
}

//! The `profile` object: one program on one clock event of each CPU, which records what that CPU runs.
//!
//! A record is built in a scratch buffer of the CPU's own (it is larger than a program's stack) and copied into
//! `SAMPLES` at its true length. The program runs in the clock's interrupt, so it can't meet itself on one CPU.

#![no_std]
#![no_main]
// For one atomic addition, which BPF has from its first instruction set on and rustc has no stable name for.
#![feature(asm_experimental_arch)]
#![expect(
    missing_docs,
    reason = "the attribute macros put an undocumented entry point before each program"
)]

#[path = "../kernel.rs"]
#[expect(dead_code, reason = "this object reads no kernel struct")]
mod kernel;

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{BPF_F_USER_STACK, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::{bpf_get_current_comm, bpf_get_stack},
    },
    macros::{map, perf_event},
    maps::{HashMap, PerCpuArray, RingBuf},
    programs::PerfEventContext,
};
use fathom_abi::{
    counters::ProfileCounter,
    sample::{ActiveExchange, MAX_FRAMES, SampleEvent},
};

/// 1: only the processes in `TARGETS` make samples. 0: all do.
#[unsafe(no_mangle)]
static ONLY_TARGETS: Global<u32> = Global::new(0);

/// A process that makes no samples; 0 for none.
#[unsafe(no_mangle)]
static EXCLUDED_TGID: Global<u32> = Global::new(0);

/// The processes that a filter asks for, by tgid.
#[map]
static TARGETS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

/// The exchange that a thread is serving. The `net` object fills it; the loader makes both use one map.
#[map]
static ACTIVE: HashMap<u64, ActiveExchange> = HashMap::with_max_entries(1, 0);

/// The records. The loader sets the size.
#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What happened to each tick.
#[map]
static PROFILE_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(ProfileCounter::ALL.len() as u32, 0);

/// Where a record is built.
#[map]
static SCRATCH: PerCpuArray<Record> = PerCpuArray::with_max_entries(1, 0);

/// A record at its greatest length: the kernel's frames, then the user's.
#[repr(C)]
struct Record {
    header: SampleEvent,
    frames: [u64; 2 * MAX_FRAMES],
}

/// The bytes that one stack takes at most. It is also the mask that shows the verifier so.
const STACK_BYTES: u32 = (MAX_FRAMES * size_of::<u64>()) as u32;
const _: () = assert!(
    STACK_BYTES == 0x3f8,
    "all multiples of 8 up to the greatest must be a mask"
);

/// One tick of one CPU's clock.
#[perf_event]
pub fn sample(ctx: PerfEventContext) -> u32 {
    count(ProfileCounter::Ticks);
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if pid_tgid == 0 {
        count(ProfileCounter::Idle);
        return 0;
    }
    if is_filtered(tgid) {
        count(ProfileCounter::Filtered);
        return 0;
    }
    record(&ctx, pid_tgid);
    0
}

#[inline(always)]
fn is_filtered(tgid: u32) -> bool {
    if tgid == EXCLUDED_TGID.load() {
        return true;
    }
    ONLY_TARGETS.load() != 0 && TARGETS.get_ptr(tgid).is_none()
}

#[inline(always)]
fn record(ctx: &PerfEventContext, pid_tgid: u64) {
    let Some(record) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    count(ProfileCounter::SampleAttempted);

    // SAFETY: the scratch entry is this CPU's own and nothing else runs the program on this CPU meanwhile.
    let header = unsafe { &mut (*record).header };
    // SAFETY: a helper without arguments.
    header.at_ns = unsafe { bpf_ktime_get_ns() };
    header.tgid = (pid_tgid >> 32) as u32;
    header.tid = pid_tgid as u32;
    // SAFETY: a helper without arguments.
    header.cpu = unsafe { bpf_get_smp_processor_id() };
    // The safe wrapper would zero a copy on the stack first, through a call to `memset`.
    // SAFETY: the name is written where it is 16 bytes long; the helper pads it, also when it fails.
    unsafe { bpf_get_current_comm(header.comm.as_mut_ptr().cast(), COMM_BYTES) };
    exchange(ACTIVE.get_ptr(pid_tgid), &mut header.exchange);

    // SAFETY: `frames` follows the header, and two whole stacks fit.
    let frames = unsafe { (&raw mut (*record).frames).cast::<u8>() };
    let (kernel_bytes, kernel_error) = stack(ctx, frames, 0);
    // SAFETY: `kernel_bytes` is at most one whole stack.
    let user_frames = unsafe { frames.add(kernel_bytes as usize) };
    let (user_bytes, user_error) = stack(ctx, user_frames, u64::from(BPF_F_USER_STACK));

    header.kernel_frames = (kernel_bytes / 8) as u16;
    header.kernel_error = kernel_error;
    header.user_frames = (user_bytes / 8) as u16;
    header.user_error = user_error;

    let length = size_of::<SampleEvent>() + kernel_bytes as usize + user_bytes as usize;
    // SAFETY: the header and both stacks lie in `record`, one behind the other.
    let bytes = unsafe { core::slice::from_raw_parts(record.cast::<u8>(), length) };
    if SAMPLES
        .output::<[u8]>(bytes, u64::from(BPF_RB_NO_WAKEUP))
        .is_err()
    {
        count(ProfileCounter::SampleRingFull);
    }
}

const COMM_BYTES: u32 = 16;

/// Copies the exchange that the thread is serving, or zeroes. Word by word and volatile: else it becomes a call to
/// `memset` or `memmove`, which the verifier refuses.
#[inline(always)]
fn exchange(active: Option<*const ActiveExchange>, into: &mut ActiveExchange) {
    const WORDS: usize = size_of::<ActiveExchange>() / size_of::<u64>();
    let into = (&raw mut *into).cast::<u64>();
    for word in 0..WORDS {
        let value = match active {
            // SAFETY: a map's value stays readable for as long as a program runs. Were the entry to change meanwhile,
            // the sample would name an exchange that nobody knows, which user space counts as none.
            Some(from) => unsafe { from.cast::<u64>().add(word).read_volatile() },
            None => 0,
        };
        // SAFETY: `into` has WORDS words, aligned for them.
        unsafe { into.add(word).write_volatile(value) };
    }
}

/// Reads one stack to `into`, which has room for a whole one. Returns its bytes, and the helper's error or 0.
#[inline(always)]
fn stack(ctx: &PerfEventContext, into: *mut u8, flags: u64) -> (u32, i32) {
    // SAFETY: the caller gives room for STACK_BYTES.
    let got = unsafe { bpf_get_stack(ctx.as_ptr(), into.cast(), STACK_BYTES, flags) };
    if got < 0 {
        return (0, got as i32);
    }
    (got as u32 & STACK_BYTES, 0)
}

#[inline(always)]
fn count(counter: ProfileCounter) {
    kernel::count(&PROFILE_COUNTERS, counter as u32);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The program has no panicking path: a check on the built object holds it to that.
    loop {}
}

/// GPL-compatible: most helpers ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

//! One tick of one CPU's clock: who runs, for which exchange, and its stacks.

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_USER_STACK,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        generated::{bpf_get_current_comm, bpf_get_stack},
    },
    macros::perf_event,
    programs::PerfEventContext,
};
use fathom_abi::{
    counters::ProfileCounter,
    sample::{ActiveExchange, MAX_FRAMES, UserEnd},
};

use crate::{
    emit::emit,
    globals::{EXCLUDED_TGID, ONLY_TARGETS, UNWIND},
    kernel::read,
    machine,
    maps::{ACTIVE, Scratch, TARGETS, count, scratch},
    task::offset,
    walk,
    worker::worker,
};

/// The bytes that one stack takes at most. It is also the mask that shows the verifier so.
const STACK_BYTES: u32 = (MAX_FRAMES * size_of::<u64>()) as u32;
const _: () = assert!(
    STACK_BYTES == 0x3f8,
    "all multiples of 8 up to the greatest must be a mask"
);

/// Flags of a task that has no user mode to return to: `PF_KTHREAD`, `PF_IO_WORKER` (include/linux/sched.h).
const NO_USER_MODE: u32 = 0x0020_0010;

/// The program.
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
    let Some(scratch) = scratch() else {
        return 0;
    };
    count(ProfileCounter::SampleAttempted);
    // SAFETY: the scratch entry is this CPU's own and nothing else runs the program on this CPU meanwhile.
    let scratch = unsafe { &mut *scratch };
    header(pid_tgid, scratch);
    // SAFETY: has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let is_user = machine::is_user(&ctx);
    scratch.record.header.space = read(task, offset!(task_mm));
    if !is_user {
        kernel_stack(&ctx, scratch);
    }
    if !is_user && read::<u32>(task, offset!(task_flags)) & NO_USER_MODE != 0 {
        scratch.record.header.user_end = UserEnd::KernelThread.code();
    } else if scratch.record.header.space == 0 {
        scratch.record.header.user_end = UserEnd::Exiting.code();
    } else if UNWIND.load() != 0 {
        walk::user_stack();
    } else {
        by_frame_pointers(&ctx, scratch);
    }
    emit();
    0
}

#[inline(always)]
fn is_filtered(tgid: u32) -> bool {
    if tgid == EXCLUDED_TGID.load() {
        return true;
    }
    ONLY_TARGETS.load() != 0 && TARGETS.get_ptr(tgid).is_none()
}

/// All of the record's fixed part but what the stacks say.
#[inline(always)]
fn header(pid_tgid: u64, scratch: &mut Scratch) {
    let header = &mut scratch.record.header;
    // SAFETY: a helper without arguments.
    header.at_ns = unsafe { bpf_ktime_get_ns() };
    header.tgid = (pid_tgid >> 32) as u32;
    header.tid = pid_tgid as u32;
    // SAFETY: a helper without arguments.
    header.cpu = unsafe { bpf_get_smp_processor_id() };
    // The safe wrapper would zero a copy on the stack first, through a call to `memset`.
    // SAFETY: the name is written where it is 16 bytes long; the helper pads it, also when it fails.
    unsafe { bpf_get_current_comm(header.comm.as_mut_ptr().cast(), COMM_BYTES) };
    exchange(ACTIVE.get_ptr(worker(pid_tgid)), &mut header.exchange);
    header.kernel_frames = 0;
    header.kernel_error = 0;
    header.user_frames = 0;
    header.has_copy = 0;
    header.copied = 0;
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

#[inline(always)]
fn kernel_stack(ctx: &PerfEventContext, scratch: &mut Scratch) {
    let frames = (&raw mut scratch.record.frames).cast::<u8>();
    let (bytes, error) = stack(ctx, frames, 0);
    scratch.record.header.kernel_frames = (bytes / 8) as u16;
    scratch.record.header.kernel_error = error;
}

/// The user stack as the kernel itself walks it.
#[inline(always)]
fn by_frame_pointers(ctx: &PerfEventContext, scratch: &mut Scratch) {
    let kernel_frames = u32::from(scratch.record.header.kernel_frames) & MAX_FRAMES as u32;
    let frames = (&raw mut scratch.record.frames).cast::<u64>();
    // SAFETY: two whole stacks fit.
    let frames = unsafe { frames.add(kernel_frames as usize) };
    let (bytes, _) = stack(ctx, frames.cast(), u64::from(BPF_F_USER_STACK));
    scratch.record.header.user_frames = (bytes / 8) as u16;
    scratch.record.header.user_end = UserEnd::FramePointers.code();
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

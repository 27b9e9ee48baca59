//! The current task, and where the kernel keeps what of it. Shared by the objects.

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
};
use fathom_abi::offsets::Offsets;

use crate::kernel::read;

/// Offsets of kernel struct members.
#[unsafe(no_mangle)]
pub static OFFSETS: Global<Offsets> = Global::new(Offsets::UNKNOWN);

/// 1 where `bpf_task_pt_regs` exists (5.15).
#[unsafe(no_mangle)]
pub static HAS_TASK_PT_REGS: Global<u32> = Global::new(0);

/// Where the saved user registers lie above `task_struct.stack`, for kernels without that helper.
#[unsafe(no_mangle)]
pub static REGS_FROM_STACK: Global<u64> = Global::new(0);

/// One offset of [`OFFSETS`], read by itself: loading the whole table would not fit the stack.
macro_rules! offset {
    ($member:ident) => {{
        let table = (&raw const $crate::task::OFFSETS).cast::<fathom_abi::offsets::Offsets>();
        // SAFETY: `Global` is transparent over its value, which is always initialized; volatile because the
        // loader writes it after the compiler is done.
        unsafe { core::ptr::read_volatile(&raw const (*table).$member) }
    }};
}
pub(crate) use offset;

/// Where the current task's saved registers lie: those that it had in user mode when it entered the kernel, by a system call or an interrupt.
#[inline(always)]
pub fn registers() -> u64 {
    if HAS_TASK_PT_REGS.load() != 0 {
        // SAFETY: both helpers are there (the loader tried), and the current task is a task.
        return unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    }
    // SAFETY: has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    read::<u64>(task, offset!(task_stack)).wrapping_add(REGS_FROM_STACK.load())
}

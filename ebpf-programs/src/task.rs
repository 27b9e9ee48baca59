//! The current task, and where the kernel keeps what of it. Shared by the objects.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_task,
        generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    },
};
use fathom_abi::offsets::Offsets;

use crate::kernel::{Memory, Number, Typed, read};

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

/// The kernel's memory of the current task, or what it leads to: typed where the kernel has the helpers for it (5.15), else by address.
#[derive(Clone, Copy)]
pub struct Current(*const c_void);

/// The current task (`struct task_struct`).
#[inline(always)]
pub fn current() -> Current {
    if HAS_TASK_PT_REGS.load() != 0 {
        // SAFETY: the helper is older (5.11) than the one that the loader has found.
        return Current(unsafe { bpf_get_current_task_btf() }.cast());
    }
    // SAFETY: has no preconditions.
    Current(unsafe { bpf_get_current_task() } as *const c_void)
}

/// The current task's saved registers (`struct pt_regs`): those that it had in user mode when it entered the kernel, by a system call or an interrupt.
#[inline(always)]
pub fn registers() -> Current {
    if HAS_TASK_PT_REGS.load() != 0 {
        // SAFETY: both helpers are there (the loader tried), and the current task is a task.
        return Current(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const c_void);
    }
    let stack: u64 = current().read(offset!(task_stack));
    Current(stack.wrapping_add(REGS_FROM_STACK.load()) as *const c_void)
}

impl Current {
    /// Its address.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }
}

impl Memory for Current {
    // The verifier drops the way that the kernel does not have.
    #[inline(always)]
    fn read<T: Number>(self, offset: u32) -> T {
        if HAS_TASK_PT_REGS.load() != 0 {
            return Typed::new(self.0).read(offset);
        }
        read(self.address(), offset)
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        if HAS_TASK_PT_REGS.load() != 0 {
            return Self(Typed::new(self.0).follow(offset).pointer());
        }
        Self(read::<u64>(self.address(), offset) as *const c_void)
    }
}

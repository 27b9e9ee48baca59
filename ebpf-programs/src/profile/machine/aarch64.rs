//! aarch64: where registers lie, by their DWARF numbers (DWARF for the Arm 64-bit Architecture, section 4.1).

use aya_ebpf::programs::PerfEventContext;
use fathom_abi::signal_frame::aarch64 as signal_frame;

use crate::walk::Walk;

/// sp.
pub const STACK_POINTER: usize = 31;

/// x29.
pub const FRAME_POINTER: usize = 29;

/// A register that may hold the return address: x30.
pub const LINK_REGISTER: Option<usize> = Some(30);

/// By how much the caller's stack pointer is more at least: a function that calls none needs no stack.
pub const LEAST_FRAME: u64 = 0;

/// Words of a `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h), with which the kernel's own begins.
pub const PT_REGS: usize = 34;

/// Where a signal's frame has the registers, from the stack pointer on.
pub const SIGNAL_REGISTERS: u64 = signal_frame::AT;

/// Words there.
pub const SIGNAL_WORDS: usize = signal_frame::WORDS;

/// `PSR_MODE_MASK` and `PSR_MODE32_BIT`; in user mode the others of the mode are 0.
const MODE: u64 = 0x1f;
const MODE_32: u64 = 0x10;

/// The bits of a user address (48 bits of virtual addresses). Above them may be a pointer authentication code.
const ADDRESS: u64 = (1 << 48) - 1;

/// Whether the tick has interrupted user code.
#[inline(always)]
pub fn is_user(ctx: &PerfEventContext) -> bool {
    // SAFETY: the context is the program's own; volatile, as the verifier wants registers to be read whole.
    let state = unsafe { (&raw const (*ctx.ctx).regs.pstate).read_volatile() };
    state & MODE & !MODE_32 == 0
}

/// An address without what is no part of it.
#[inline(always)]
pub fn address(value: u64) -> u64 {
    value & ADDRESS
}

/// Takes the registers over from [`PT_REGS`] words; returns whether they are a 64-bit task's.
#[inline(always)]
pub fn from_pt_regs(walk: &mut Walk) -> bool {
    from_signal(walk);
    walk.raw[33] & MODE_32 == 0
}

/// Takes the registers over from [`SIGNAL_WORDS`] words.
#[inline(always)]
pub fn from_signal(walk: &mut Walk) {
    let Walk { raw, registers, .. } = walk;
    for (to, from) in registers.iter_mut().zip(raw.iter()) {
        *to = *from;
    }
    walk.ip = address(walk.raw[32]);
    walk.known = ALL;
}

/// The registers 0 to 31.
const ALL: u64 = 0xffff_ffff;

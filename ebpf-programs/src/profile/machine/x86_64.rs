//! x86-64: where registers lie, by their DWARF numbers (System V ABI, AMD64 supplement, figure 3.36).

use aya_ebpf::programs::PerfEventContext;
use fathom_abi::signal_frame::x86_64 as signal_frame;

use crate::walk::Walk;

/// rsp.
pub const STACK_POINTER: usize = 7;

/// rbp.
pub const FRAME_POINTER: usize = 6;

/// A register that may hold the return address: none, a call pushes it.
pub const LINK_REGISTER: Option<usize> = None;

/// By how much the caller's stack pointer is more at least.
pub const LEAST_FRAME: u64 = 8;

/// Words of a `struct pt_regs` (arch/x86/include/uapi/asm/ptrace.h; the kernel's own begins the same).
pub const PT_REGS: usize = 21;

/// Where a signal's frame has the registers, from the stack pointer on when the handler has returned.
pub const SIGNAL_REGISTERS: u64 = signal_frame::AT;

/// Words there.
pub const SIGNAL_WORDS: usize = signal_frame::WORDS;

/// `__USER_CS` (arch/x86/include/asm/segment.h).
const USER_CODE_64: u64 = 0x33;

/// Whether the tick has interrupted user code.
#[inline(always)]
pub fn is_user(ctx: &PerfEventContext) -> bool {
    // SAFETY: the context is the program's own; volatile, as the verifier wants registers to be read whole.
    let cs = unsafe { (&raw const (*ctx.ctx).regs.cs).read_volatile() };
    cs & 3 == 3
}

/// An address without what is no part of it.
#[inline(always)]
pub fn address(value: u64) -> u64 {
    value
}

/// Takes the registers over from [`PT_REGS`] words; returns whether they are a 64-bit task's.
#[inline(always)]
pub fn from_pt_regs(walk: &mut Walk) -> bool {
    let raw = &walk.raw;
    let to = &mut walk.registers;
    to[0] = raw[10];
    to[1] = raw[12];
    to[2] = raw[11];
    to[3] = raw[5];
    to[4] = raw[13];
    to[5] = raw[14];
    to[6] = raw[4];
    to[7] = raw[19];
    to[8] = raw[9];
    to[9] = raw[8];
    to[10] = raw[7];
    to[11] = raw[6];
    to[12] = raw[3];
    to[13] = raw[2];
    to[14] = raw[1];
    to[15] = raw[0];
    walk.ip = raw[16];
    walk.known = ALL;
    raw[17] == USER_CODE_64
}

/// Takes the registers over from [`SIGNAL_WORDS`] words.
#[inline(always)]
pub fn from_signal(walk: &mut Walk) {
    let raw = &walk.raw;
    let to = &mut walk.registers;
    // No loop: an index that is read from a table is any number to the verifier.
    macro_rules! take {
        ($($word:literal)*) => {
            $(to[const { signal_frame::REGISTERS[$word] as usize }] = raw[$word];)*
        };
    }
    take!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    walk.ip = raw[16];
    walk.known = ALL;
}

/// The registers 0 to 15.
const ALL: u64 = 0xffff;

//! Who serves a request: the key of `ACTIVE`, for the program that fills it and the one that reads it.

use crate::{kernel::Memory as _, maps::GO_PROCESSES, task};

/// Where Go (1.17, register ABI) keeps the goroutine, `*runtime.g`, as a word of `struct pt_regs` (`arch/x86/include/asm/ptrace.h`): R14.
#[cfg(bpf_target_arch = "x86_64")]
pub const GOROUTINE: usize = 1;

/// The same of `struct user_pt_regs` (`arch/arm64/include/uapi/asm/ptrace.h`): R28.
#[cfg(bpf_target_arch = "aarch64")]
pub const GOROUTINE: usize = 28;

/// The goroutine that the current task runs, if it runs one: what the register held in user mode.
#[inline(always)]
pub fn goroutine() -> u64 {
    task::registers().read((GOROUTINE * 8) as u32)
}

/// The current task: its process and thread, or, in a Go program, its process and goroutine, which goes from thread to thread. A program's kind
/// is part of the key, so that what was noted of a thread before it was known is not taken for a goroutine's.
#[inline(always)]
pub fn worker(pid_tgid: u64) -> [u64; 2] {
    let tgid = pid_tgid >> 32;
    if GO_PROCESSES.get_ptr(tgid as u32).is_none() {
        return [tgid, pid_tgid & 0xffff_ffff];
    }
    [tgid | fathom_abi::sample::OF_GOROUTINE, goroutine()]
}

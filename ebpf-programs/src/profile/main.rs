//! The `profile` object: one program on one clock event of each CPU, which records what that CPU runs.
//!
//! A record is built in a scratch buffer of the CPU's own (it is larger than a program's stack) and copied into
//! `SAMPLES` at its true length. The program runs in the clock's interrupt, so it can't meet itself on one CPU.
//!
//! User stacks are unwound by the tables that user space has put into maps ([`walk`], one frame at a time). Each of the parts is a global function, which the kernel verifies
//! once and by itself (5.6): so the loop over 127 frames is one over calls, and needs neither `bpf_loop` (5.17) nor tail calls.

#![no_std]
#![no_main]
// For one atomic addition, which BPF has from its first instruction set on and rustc has no stable name for.
#![feature(asm_experimental_arch)]

mod emit;
mod find;
mod globals;
#[path = "../kernel.rs"]
#[expect(dead_code, reason = "the other object clears structs, too")]
mod kernel;
#[cfg_attr(bpf_target_arch = "aarch64", path = "machine/aarch64.rs")]
#[cfg_attr(not(bpf_target_arch = "aarch64"), path = "machine/x86_64.rs")]
mod machine;
mod maps;
mod sample;
#[path = "../straight.rs"]
#[expect(dead_code, reason = "the other object needs more of it")]
mod straight;
#[path = "../task.rs"]
mod task;
mod walk;
#[path = "../worker.rs"]
mod worker;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The program has no panicking path: a check on the built object holds it to that.
    loop {}
}

/// GPL-compatible: most helpers ask for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

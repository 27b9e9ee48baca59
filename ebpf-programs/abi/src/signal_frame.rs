//! Where the kernel puts the registers of what a signal interrupts, for the handler to return to (`struct rt_sigframe` of each architecture): as words from
//! an offset on, counted from the stack pointer in the code that the handler returns to. Programs and user space unwind by the same.

/// x86-64: `uc_mcontext` of `struct ucontext` (arch/x86/include/uapi/asm/sigcontext.h, `struct sigcontext_64`).
pub mod x86_64 {
    /// The first word, in bytes.
    pub const AT: u64 = 40;

    /// The DWARF numbers of the registers (System V ABI, AMD64 supplement, figure 3.36), in the order of their words.
    pub const REGISTERS: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7];

    /// Words: the registers, and the instruction's address behind them.
    pub const WORDS: usize = REGISTERS.len() + 1;
}

/// aarch64: `regs` of `uc_mcontext` of `struct ucontext` (arch/arm64/include/uapi/asm/sigcontext.h), which go on as a `struct user_pt_regs` does.
pub mod aarch64 {
    /// The first word, in bytes.
    pub const AT: u64 = 312;

    /// Words: x0 to x30 and the stack pointer, which are the registers 0 to 31, the instruction's address and the state behind them.
    pub const WORDS: usize = 34;
}

//! What a kernel program does to get from a frame to its caller.

/// How a frame is unwound, or why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// No table says anything about this code.
    None,
    /// The frame has no caller: a thread or a program begins here (its return address is undefined).
    End,
    /// No table covers this code, but it is of a kind that keeps frame pointers: the CFA is the frame pointer + 16, the
    /// caller's frame pointer is at CFA-16 and the return address at CFA-8. In a function that has not yet pushed the frame
    /// pointer, or never does, this leaves out one frame.
    FramePointer,
    /// The code that a signal handler returns to. The registers of what was interrupted lie where the kernel put them
    /// (`struct rt_sigframe`), at fixed distances from the stack pointer:
    ///
    /// | register | x86-64 | aarch64 |
    /// |---|---|---|
    /// | program counter | sp+168 | sp+568 |
    /// | stack pointer (the CFA) | sp+160 | sp+560 |
    /// | frame pointer | sp+120 | sp+544 |
    /// | link register | | sp+552 |
    ///
    /// The program counter found is one that was interrupted: the instruction itself, not one behind a call.
    SignalFrame,
    /// An ordinary frame.
    Frame(Frame),
    /// There is a rule, but not one that can be expressed here.
    Unsupported(Unsupported),
}

/// Where an ordinary frame keeps what its caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The canonical frame address: the caller's stack pointer.
    pub cfa: Cfa,
    /// The caller's frame pointer (rbp, x29).
    pub frame_pointer: Saved,
    /// The return address. On aarch64 its upper bits may hold a pointer authentication code, which is no part of an address:
    /// whether one is there is not in the rule.
    pub return_address: Saved,
    /// The table marks it as a signal's frame, of another shape than [`Rule::SignalFrame`]: the return address is one that
    /// was interrupted.
    pub is_signal: bool,
}

/// How the canonical frame address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cfa {
    /// A register's value and an offset.
    Offset(Register, i32),
    /// The eight bytes at a register's value + `at`, and `plus` added to them: code that aligns its stack keeps the CFA there.
    Deref {
        /// The register.
        base: Register,
        /// What is added before the read.
        at: i32,
        /// What is added after it.
        plus: i32,
    },
    /// A lazy stub of x86-64's procedure linkage table, 16 bytes long: the stack pointer + 8, and 8 more from the byte
    /// `pushed_at` of the stub on, where the relocation's index has been pushed.
    Plt {
        /// The first byte behind the push, 1 to 15.
        pushed_at: u8,
    },
}

/// Where a register of the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Saved {
    /// Where it was: the frame has not changed the register. For a return address this is aarch64's link register.
    Same,
    /// It is lost.
    Undefined,
    /// In the eight bytes at CFA + offset.
    AtCfa(i32),
    /// In the eight bytes at a register's value + offset.
    At(Register, i32),
    /// In another register.
    In(Register),
}

/// A register of the frame that is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Register {
    /// rsp, or aarch64's sp.
    StackPointer,
    /// rbp, or aarch64's x29.
    FramePointer,
    /// Another one, by its DWARF number. Its value is known in a thread's innermost frame and in one that a signal
    /// interrupted; who unwinds without keeping it can't follow such a rule anywhere else. Compilers and authors of assembly
    /// use it where no call is made.
    Other(u8),
}

/// What can't be expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unsupported {
    /// An expression for the CFA of no known form.
    CfaExpression,
    /// A register's number over 255 or an offset of more than 32 bits.
    Range,
    /// A rule for the frame pointer of no known form. The row is still a [`Frame`]; its frame pointer is undefined.
    FramePointer,
    /// A rule for the return address of no known form, or none where the machine has no default.
    ReturnAddress,
    /// An instruction that is not known, or that has no meaning where it stands. It counts from there to the end of its FDE.
    Instruction,
    /// More different rules than the table, or a single file, may have.
    RulesFull,
    /// An FDE with an augmentation, a version or a pointer encoding that is not known, so that not even its addresses are: no
    /// row stands for it. Counted by FDE.
    Encoding,
}

impl Unsupported {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::CfaExpression,
        Self::Range,
        Self::FramePointer,
        Self::ReturnAddress,
        Self::Instruction,
        Self::RulesFull,
        Self::Encoding,
    ];

    /// A short name, for a metric's attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::CfaExpression => "cfa_expression",
            Self::Range => "range",
            Self::FramePointer => "frame_pointer",
            Self::ReturnAddress => "return_address",
            Self::Instruction => "instruction",
            Self::RulesFull => "rules_full",
            Self::Encoding => "encoding",
        }
    }
}

/// A machine that unwind tables are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Machine {
    /// x86-64. DWARF numbers: System V ABI, AMD64 supplement, figure 3.36.
    X86_64,
    /// aarch64, little endian. DWARF numbers: DWARF for the Arm 64-bit Architecture, section 4.1.
    Aarch64,
}

impl Machine {
    /// The register of a DWARF number; `None` over 255.
    pub(super) fn register(self, number: gimli::Register) -> Option<Register> {
        let number = u8::try_from(number.0).ok()?;
        let (stack_pointer, frame_pointer) = match self {
            Self::X86_64 => (7, 6),
            Self::Aarch64 => (31, 29),
        };
        Some(match number {
            _ if number == stack_pointer => Register::StackPointer,
            _ if number == frame_pointer => Register::FramePointer,
            _ => Register::Other(number),
        })
    }

    pub(super) fn frame_pointer(self) -> gimli::Register {
        match self {
            Self::X86_64 => gimli::X86_64::RBP,
            Self::Aarch64 => gimli::AArch64::X29,
        }
    }
}

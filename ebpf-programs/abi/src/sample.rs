//! What the profiler says of one moment on one CPU.

use crate::counters::counters;

/// Frames that one stack can hold (the kernel's own default, `kernel.perf_event_max_stack`).
pub const MAX_FRAMES: usize = 127;

/// Bytes of a user stack that one record can carry. (A per-CPU map's value, in which records are made, has 32 KiB at most.)
pub const MAX_COPY: usize = 24 << 10;

/// Registers of a [`StoppedFrame`]: as many as aarch64 has.
pub const REGISTERS: usize = 32;

/// The fixed part of a record of the `SAMPLES` ring buffer. `kernel_frames` and then `user_frames` instruction
/// addresses (`u64`) follow it, leaf first; and behind them, where `has_copy` is 1, a [`StoppedFrame`] and `copied` bytes of the user stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SampleEvent {
    /// When it was taken.
    pub at_ns: u64,
    /// The exchange that the thread was serving, as [`crate::message::ConnectionState`]'s connection and message; 0 for none.
    pub exchange: ActiveExchange,
    /// The kernel's name of the process's address space (its `struct mm_struct`'s address): another one after an exec. 0 where the task has
    /// none, as kernel threads and tasks that are about to end.
    pub space: u64,
    /// The process in the initial pid namespace; 0 is the idle task.
    pub tgid: u32,
    /// The thread in the initial pid namespace.
    pub tid: u32,
    /// The CPU.
    pub cpu: u32,
    /// Kernel frames behind this header.
    pub kernel_frames: u16,
    /// User frames behind the kernel frames. All but the first are addresses behind what runs: return addresses, and where a signal has interrupted a
    /// frame, one more than the instruction's.
    pub user_frames: u16,
    /// The thread's name, padded with zeros.
    pub comm: [u8; 16],
    /// A negative errno where the kernel's own stack could not be read, else 0.
    pub kernel_error: i32,
    /// Why the user frames end where they do: [`UserEnd::code`].
    pub user_end: u8,
    /// 1 where a copy of the user stack is there to go on from.
    pub has_copy: u8,
    /// Bytes of the user stack behind the [`StoppedFrame`], at most [`MAX_COPY`].
    pub copied: u16,
}

/// The frame at which the program stopped for want of knowledge: what whoever has that knowledge goes on with. It is the record's last user frame.
///
/// `SampleEvent::copied` bytes of the stack follow, from the stack pointer on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StoppedFrame {
    /// The instruction's address, or the return address.
    pub ip: u64,
    /// Which registers are known: bit n is register n.
    pub known: u32,
    /// 1 where `ip` is that of an instruction; 0 where it is a return address, whose call lies before it.
    pub is_exact: u32,
    /// The registers by DWARF number (x86-64: System V ABI, AMD64 supplement, figure 3.36: rbp is 6 and rsp 7; aarch64: x29 is 29 and sp 31). Zero where one
    /// is not known.
    pub registers: [u64; REGISTERS],
}

/// In the first word of a key of the `ACTIVE` map, whose lower half is the process: the second word is a goroutine's address, not a thread's id.
pub const OF_GOROUTINE: u64 = 1 << 32;

/// One value of the `ACTIVE` map: the exchange that a thread or goroutine is serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ActiveExchange {
    /// The connection; all zero for none.
    pub id: crate::ConnectionId,
    /// The number of the request's message.
    pub message: u32,
    /// Zero.
    pub reserved: u32,
}

counters! {
    /// Why the user frames of a sample end where they do.
    UserEnd {
        /// There is no user part: a thread of the kernel's own, or one that works in the kernel for a process (io_uring).
        KernelThread = "kernel_thread",
        /// The task is about to end and has given its address space up.
        Exiting = "exiting",
        /// A 32-bit task.
        Compat = "compat",
        /// The last frame is the outermost: its rule says that it has no caller.
        Root = "root",
        /// The last frame's return address is 0 (or its frame pointer, in code that is unwound by it): so do threads begin whose code has no table.
        NullReturn = "null_return",
        /// There are more frames than a record holds.
        Limit = "limit",
        /// The process is not in `SPACES`, or the one that is there executed another program since.
        UnknownProcess = "unknown_process",
        /// The address is in a file whose table is not there.
        WantedTable = "wanted_table",
        /// The address is in no mapping that is known.
        NoMapping = "no_mapping",
        /// The address is in a mapping of which nothing more will be known.
        Opaque = "opaque",
        /// No table says anything about the code.
        NoRule = "no_rule",
        /// There is a rule that can't be followed: not expressible, or not among `RULES`.
        UnsupportedRule = "unsupported_rule",
        /// The rule asks for a register that only a callee could know.
        LostRegister = "lost_register",
        /// The stack can't be read where the rule says.
        BadMemory = "bad_memory",
        /// The caller's frame would not lie above: the stack contradicts the rules, or is one that a program switches by itself.
        StackOrder = "stack_order",
        /// Not by tables, but by frame pointers alone (`bpf_get_stack`), as user space asked for; where they end is unknown.
        FramePointers = "frame_pointers",
    }
}

impl UserEnd {
    /// [`SampleEvent::user_end`].
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason of a code.
    #[must_use]
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the frames reach the outermost one.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Root | Self::NullReturn)
    }

    /// Whether one who knows more could go on, for which a copy of the stack is made.
    #[must_use]
    pub const fn wants_copy(self) -> bool {
        matches!(
            self,
            Self::UnknownProcess | Self::WantedTable | Self::NoMapping
        )
    }
}

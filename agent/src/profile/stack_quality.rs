//! How much of a sample's stack could be read.

use fathom_abi::sample::UserEnd;

/// How much of a sample's stack could be read, and what was in the way. The metric, the profile's label and the command's summary use the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackQuality {
    /// Down to where the thread began.
    Whole,
    /// As [`Self::Whole`], but some of it is code that a compiler made at run time and that no perf map or dump names.
    JitWithoutMap,
    /// It ends in code that a compiler made at run time, which keeps no frame pointers.
    JitWithoutFramePointers,
    /// There is no user part: a thread of the kernel's own, or a task that is about to end or to begin another program.
    KernelOnly,
    /// As deep as a record holds; the root is missing.
    Truncated,
    /// Nothing is known of what the process has mapped: it was gone before it could be asked.
    UnknownProcess,
    /// The stack leads to an address in no executable mapping.
    NoMapping,
    /// The stack leads to a file whose unwind table can't be had: out of reach, no ELF file, too large, or not made in time.
    NoTable,
    /// No table says anything about the code.
    NoRule,
    /// There is a rule that can't be followed.
    UnsupportedRule,
    /// The stack can't be read where the rule says, or contradicts it.
    BadMemory,
    /// The stack goes on behind what was copied of it.
    CopyEnds,
    /// There was no room for a copy of the stack, or no memory to keep it in, so that unwinding could not go on.
    NotCopied,
    /// A 32-bit task.
    Compat,
    /// By frame pointers alone: where they end is unknown.
    FramePointers,
}

impl StackQuality {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Whole,
        Self::JitWithoutMap,
        Self::JitWithoutFramePointers,
        Self::KernelOnly,
        Self::Truncated,
        Self::UnknownProcess,
        Self::NoMapping,
        Self::NoTable,
        Self::NoRule,
        Self::UnsupportedRule,
        Self::BadMemory,
        Self::CopyEnds,
        Self::NotCopied,
        Self::Compat,
        Self::FramePointers,
    ];

    /// Its name in labels, attributes and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::JitWithoutMap => "jit_without_map",
            Self::JitWithoutFramePointers => "jit_without_frame_pointers",
            Self::KernelOnly => "kernel_only",
            Self::Truncated => "truncated",
            Self::UnknownProcess => "unknown_process",
            Self::NoMapping => "no_mapping",
            Self::NoTable => "no_table",
            Self::NoRule => "no_rule",
            Self::UnsupportedRule => "unsupported_rule",
            Self::BadMemory => "bad_memory",
            Self::CopyEnds => "copy_ends",
            Self::NotCopied => "not_copied",
            Self::Compat => "compat",
            Self::FramePointers => "frame_pointers",
        }
    }

    /// What the kernel's program, or who went on from where it stopped, says.
    pub(super) const fn of(end: UserEnd) -> Self {
        match end {
            UserEnd::Root | UserEnd::NullReturn => Self::Whole,
            UserEnd::KernelThread | UserEnd::Exiting => Self::KernelOnly,
            UserEnd::Compat => Self::Compat,
            UserEnd::Limit => Self::Truncated,
            UserEnd::UnknownProcess => Self::UnknownProcess,
            UserEnd::NoMapping => Self::NoMapping,
            UserEnd::WantedTable | UserEnd::Opaque => Self::NoTable,
            UserEnd::NoRule => Self::NoRule,
            UserEnd::UnsupportedRule | UserEnd::LostRegister => Self::UnsupportedRule,
            UserEnd::BadMemory | UserEnd::StackOrder => Self::BadMemory,
            UserEnd::FramePointers => Self::FramePointers,
        }
    }
}

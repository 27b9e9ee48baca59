//! A profile as its exporters read it.

use std::{ops::AddAssign, sync::Arc};

use crate::{identity::Process, l7::exchange::ExchangeKey};

/// What one process (or one kernel thread) was seen doing in one window.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The process.
    pub process: Arc<Process>,
    /// When the window began: `CLOCK_MONOTONIC`, nanoseconds.
    pub start_ns: u64,
    /// How long it lasted, nanoseconds.
    pub duration_ns: u64,
    /// CPU time that one sample stands for, nanoseconds.
    pub period_ns: u64,
    /// What its locations lie in.
    pub mappings: Vec<Mapping>,
    /// What its locations are called.
    pub functions: Vec<Function>,
    /// What its stacks are made of.
    pub locations: Vec<Location>,
    /// Its stacks, each once.
    pub stacks: Vec<Stack>,
    /// How much of it could be read and named.
    pub quality: Quality,
}

/// A part of an address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// Where in the file it starts.
    pub offset: u64,
    /// The file's path as the process sees it, `[vdso]`, `[anon]`, or `[kernel]` with start, end and offset 0.
    pub name: Arc<str>,
    /// The GNU build id.
    pub build_id: Option<Arc<[u8]>>,
    /// Whether functions of it have names here.
    pub has_functions: bool,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its name as its author wrote it.
    pub name: Arc<str>,
    /// Its name in the symbol table.
    pub system_name: Arc<str>,
}

/// An instruction that was running, or the call that had not returned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Its address; for a call the return address less one, which lies in the call. 0 where a stack breaks off.
    pub address: u64,
    /// Whether it is the kernel's.
    pub kernel: bool,
    /// Index of its mapping.
    pub mapping: Option<u32>,
    /// Index of its function.
    pub function: Option<u32>,
}

/// A stack that was seen, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Indices of its locations, leaf first: the kernel's, then the user's.
    pub locations: Vec<u32>,
    /// How many samples had it.
    pub count: u64,
    /// The thread (initial pid namespace).
    pub tid: u32,
    /// The thread's name.
    pub comm: Arc<str>,
    /// The exchange that the thread was serving.
    pub exchange: Option<ExchangeKey>,
}

/// How much of the samples could be read and named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// All samples.
    pub samples: u64,
    /// Of them: the CPU was in user code.
    pub in_user: u64,
    /// Of them: the CPU was in the kernel.
    pub in_kernel: u64,
    /// Of them: neither stack could be read.
    pub no_stack: u64,
    /// Samples in the kernel on behalf of a process whose user stack could not be read.
    pub no_user_stack: u64,
    /// Samples with a stack as deep as a record holds, whose root is missing.
    pub truncated: u64,
    /// Samples whose user stack breaks off at something that is no code, as it does above a function that uses the
    /// frame pointer for something else. What the stack says beyond it is left out.
    pub broken: u64,
    /// Frames of all samples, without those that stand for a break.
    pub frames: u64,
    /// Of them: the address is in a mapping that has no name for it.
    pub unnamed: u64,
}

impl AddAssign for Quality {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.in_user += other.in_user;
        self.in_kernel += other.in_kernel;
        self.no_stack += other.no_stack;
        self.no_user_stack += other.no_user_stack;
        self.truncated += other.truncated;
        self.frames += other.frames;
        self.broken += other.broken;
        self.unnamed += other.unnamed;
    }
}

//! A profile as its exporters read it.

use std::{ops::AddAssign, sync::Arc};

use super::{origin::Origin, stack_quality::StackQuality};
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

impl Profile {
    /// What a frame is called where no function is known: its file's last name in brackets, or `[unknown]`.
    pub fn place(&self, location: &Location) -> String {
        let mapping = location
            .mapping
            .map(|mapping| &self.mappings[mapping as usize]);
        let Some(mapping) = mapping else {
            return "[unknown]".to_owned();
        };
        let name = mapping.name.rsplit('/').next().unwrap_or(&mapping.name);
        format!("[{}]", name.trim_matches(['[', ']']))
    }
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
    /// The file's path as the process sees it, `[vdso]`, `[anon]`, or `[kernel]`, which is the upper half of all addresses.
    pub name: Arc<str>,
    /// The GNU build id.
    pub build_id: Option<Arc<[u8]>>,
    /// What is known of its locations here.
    pub known: Known,
}

/// What is known of a mapping's locations. pprof's mappings say so, as a reader may want to ask elsewhere for what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// Functions have names.
    pub functions: bool,
    /// Functions have source files.
    pub files: bool,
    /// Locations have lines.
    pub lines: bool,
    /// Inlined functions were looked for, where there is debug information.
    pub inlined: bool,
}

/// A function. Two of one name in different source files are two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its name as its author wrote it; empty where only its file is known.
    pub name: Arc<str>,
    /// Its name in the symbol table.
    pub system_name: Arc<str>,
    /// The source file, as the debug information has it.
    pub file: Option<Arc<str>>,
}

/// An instruction that was running, or the call that had not returned yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Its address; for a call the return address less one, which lies in the call. 0 where a stack breaks off.
    pub address: u64,
    /// What kind of code it is.
    pub origin: Origin,
    /// Index of its mapping.
    pub mapping: Option<u32>,
    /// What is there: the innermost inlined function first, the function that the code lies in last. Empty where nothing is known.
    pub lines: Box<[Line]>,
}

/// A function at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Index of the function.
    pub function: u32,
    /// The line in its file that runs, or that calls, from 1 on; 0 where it is not known.
    pub line: u32,
    /// The column in that line, from 1 on; 0 where it is not known.
    pub column: u32,
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
    /// How much of it could be read.
    pub quality: StackQuality,
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
    /// Of them: by how much of the stack could be read, in the order of [`StackQuality::ALL`].
    pub by_stack: [u64; StackQuality::ALL.len()],
    /// Frames of all samples, without those that stand for a break.
    pub frames: u64,
    /// Of them: the address is in a mapping that has no name for it.
    pub unnamed: u64,
}

impl Quality {
    /// Samples with a stack of this quality.
    pub fn of(&self, stack: StackQuality) -> u64 {
        self.by_stack[stack as usize]
    }

    /// Adds samples with a stack of this quality.
    pub fn add(&mut self, stack: StackQuality, samples: u64) {
        self.by_stack[stack as usize] += samples;
    }
}

impl AddAssign for Quality {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.in_user += other.in_user;
        self.in_kernel += other.in_kernel;
        for (sum, other) in self.by_stack.iter_mut().zip(other.by_stack) {
            *sum += other;
        }
        self.frames += other.frames;
        self.unnamed += other.unnamed;
    }
}

//! Samples that wait for a table.

use std::{collections::HashMap, sync::Arc};

use super::{Backtrace, lookup::Lookup};
use crate::profile::{
    files::{Asker, Files},
    record::{Sample, Stopped},
    spaces::{Space, Spaces},
    stack_quality::StackQuality,
    tables::FileTables,
    unwinder::{Registers, STACK_POINTER, StackCopy, Stop, Unwinding},
};

/// A sample that can be gone on with.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) sample: Sample,
    pub(super) space: Arc<Space>,
    /// The process's parent and so on, as far as they are known.
    pub(super) relatives: Vec<u32>,
    unwinding: Unwinding,
    stack_start: u64,
    stack: Box<[u8]>,
}

impl Held {
    /// A sample with a copy of its stack; one without any is given back.
    pub(super) fn new(
        mut sample: Sample,
        space: Arc<Space>,
        spaces: &Spaces,
    ) -> Result<Self, (Sample, Arc<Space>)> {
        let Some(stopped) = sample.stopped.take() else {
            return Err((sample, space));
        };
        let stack_start = stopped.register(STACK_POINTER).unwrap_or(0);
        let Stopped {
            ip,
            is_exact,
            known,
            registers: values,
            stack,
        } = *stopped;
        Ok(Self {
            relatives: spaces.ancestors(sample.tgid),
            unwinding: Unwinding {
                frames: sample.user_frames().to_vec(),
                registers: Registers { ip, known, values },
                is_exact,
            },
            sample,
            space,
            stack_start,
            stack,
        })
    }

    /// Unwinds as far as what is known leads.
    pub(super) fn go_on(&mut self, files: &mut Files, tables: &mut FileTables) -> Stop {
        let mut lookup = Lookup {
            files,
            tables,
            space: &self.space,
            asker: Asker {
                pid: self.sample.tgid,
                relatives: &self.relatives,
                now_ns: self.sample.at_ns,
            },
        };
        let stack = StackCopy {
            start: self.stack_start,
            bytes: &self.stack,
        };
        self.unwinding.run(&stack, |address| lookup.way(address))
    }

    /// What came of it.
    pub(super) fn end(self, quality: StackQuality) -> Backtrace {
        let mut sample = self.sample;
        let kernel = sample.frames.iter().take(sample.kernel_frames);
        sample.frames = kernel.chain(&self.unwinding.frames).copied().collect();
        Backtrace {
            sample,
            space: Some(self.space),
            quality,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.stack.len()
            + self.unwinding.frames.capacity() * 8
            + size_of_val(&*self.sample.frames)
    }
}

/// Samples by the table that they wait for, within a limit of bytes.
#[derive(Debug)]
pub(super) struct Waiting {
    samples: HashMap<u32, Vec<Held>>,
    bytes: usize,
    limit: usize,
}

impl Waiting {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            samples: HashMap::new(),
            bytes: 0,
            limit,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.samples.values().map(Vec::len).sum()
    }

    /// Keeps a sample, or gives it back where there is no room.
    pub(super) fn hold(&mut self, table: u32, held: Held) -> Option<Held> {
        let bytes = held.bytes();
        if self.bytes + bytes > self.limit {
            return Some(held);
        }
        self.bytes += bytes;
        self.samples.entry(table).or_default().push(held);
        None
    }

    /// Those that wait for a table.
    pub(super) fn take(&mut self, table: u32) -> Vec<Held> {
        let taken = self.samples.remove(&table).unwrap_or_default();
        self.bytes -= taken.iter().map(Held::bytes).sum::<usize>();
        taken
    }

    /// All of them.
    pub(super) fn take_all(&mut self) -> Vec<Held> {
        self.bytes = 0;
        self.samples.drain().flat_map(|(_, held)| held).collect()
    }
}

//! Equal stacks once: what a window's samples are kept as.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    objects::{Mapped, Objects},
    record::Sample,
};
use crate::{identity::Process, l7::exchange::ExchangeKey};

/// Times in a window that the mappings of one process are read again because code ran outside of them.
const REREADS: u32 = 8;

/// A window's samples.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    processes: HashMap<u32, Seen>,
    bytes: usize,
    limit: usize,
}

/// What was seen of a process in a window.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) process: Arc<Process>,
    /// Only grows, so that an index stays right.
    pub(super) mapped: Vec<Mapped>,
    pub(super) stacks: HashMap<Key, Counted>,
    rereads: u32,
}

/// What makes two samples the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tid: u32,
    pub(super) comm: [u8; 16],
    pub(super) exchange: Option<ExchangeKey>,
    pub(super) kernel_frames: usize,
    pub(super) frames: Box<[u64]>,
}

/// A stack's count.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) count: u64,
    /// For each user frame the index of its mapping when it was first seen.
    pub(super) mapped: Box<[Option<u32>]>,
}

/// There is no room for another stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Stacks {
    /// An empty window that holds at most `limit` bytes, roughly.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Adds a sample.
    pub(super) fn add(
        &mut self,
        sample: Sample,
        objects: &mut Objects,
        identify: impl FnOnce(u32) -> Arc<Process>,
    ) -> Result<(), Full> {
        let tgid = sample.tgid;
        let full = self.bytes >= self.limit;
        let seen = match self.processes.entry(tgid) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return Err(Full),
            Entry::Vacant(entry) => {
                let seen = Seen::new(tgid, objects, identify);
                self.bytes += seen.bytes();
                entry.insert(seen)
            }
        };
        let key = Key {
            tid: sample.tid,
            comm: sample.comm,
            exchange: sample.exchange,
            kernel_frames: sample.kernel_frames,
            frames: sample.frames,
        };
        if let Some(counted) = seen.stacks.get_mut(&key) {
            counted.count += 1;
            return Ok(());
        }
        if full {
            return Err(Full);
        }
        let before = seen.bytes();
        let mapped = seen.map(tgid, key.user_frames(), objects);
        self.bytes += seen.bytes() - before;
        self.bytes +=
            size_of::<(Key, Counted)>() + size_of_val(&*key.frames) + size_of_val(&*mapped);
        seen.stacks.insert(key, Counted { count: 1, mapped });
        Ok(())
    }

    /// Ends the window: everything that was seen, by process.
    pub(super) fn take(&mut self, objects: &mut Objects) -> Vec<Seen> {
        self.bytes = 0;
        let mut seen: Vec<_> = self.processes.drain().map(|(_, seen)| seen).collect();
        for seen in &mut seen {
            seen.settle(objects);
        }
        seen.sort_by_key(|seen| seen.process.pid);
        seen
    }
}

impl Key {
    pub(super) fn user_frames(&self) -> &[u64] {
        self.frames.get(self.kernel_frames..).unwrap_or_default()
    }
}

impl Seen {
    fn new(tgid: u32, objects: &mut Objects, identify: impl FnOnce(u32) -> Arc<Process>) -> Self {
        // Mappings first: a process that is about to end keeps its names before it is asked for anything else.
        let mapped = objects.of_process(tgid).unwrap_or_default();
        Self {
            process: identify(tgid),
            mapped,
            stacks: HashMap::new(),
            rereads: 0,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.mapped.len() * size_of::<Mapped>()
    }

    /// The mapping of each user frame.
    fn map(&mut self, tgid: u32, frames: &[u64], objects: &mut Objects) -> Box<[Option<u32>]> {
        // The leaf is where the CPU was: if nothing is known to be there, something was mapped since. The frames
        // above it are only what the stack says, which is anything in code without frame pointers.
        if let Some(&leaf) = frames.first()
            && self.find(leaf).is_none()
            && self.rereads < REREADS
        {
            self.rereads += 1;
            self.reread(tgid, objects);
        }
        self.find_all(frames)
    }

    fn reread(&mut self, tgid: u32, objects: &mut Objects) {
        let Ok(now) = objects.of_process(tgid) else {
            return;
        };
        for mapped in now {
            let known = self
                .mapped
                .iter()
                .any(|known| known.mapping == mapped.mapping);
            if !known {
                self.mapped.push(mapped);
            }
        }
    }

    /// Looks once more at frames that were in no mapping: those that still are in none never were code.
    fn settle(&mut self, objects: &mut Objects) {
        let lost = |counted: &Counted| counted.mapped.contains(&None);
        if !self.stacks.values().any(lost) {
            return;
        }
        self.reread(self.process.pid, objects);
        let mut stacks = std::mem::take(&mut self.stacks);
        for (key, counted) in stacks.iter_mut().filter(|(_, counted)| lost(counted)) {
            counted.mapped = self.find_all(key.user_frames());
        }
        self.stacks = stacks;
    }

    fn find_all(&self, frames: &[u64]) -> Box<[Option<u32>]> {
        let depths = 0..frames.len() as u64;
        frames
            .iter()
            .zip(depths)
            // Above the leaf are return addresses: the call is before them.
            .map(|(&frame, depth)| self.find(frame.saturating_sub(depth.min(1))))
            .collect()
    }

    /// The newest mapping that holds an address.
    fn find(&self, address: u64) -> Option<u32> {
        let index = self
            .mapped
            .iter()
            .rposition(|mapped| mapped.mapping.contains(address))?;
        u32::try_from(index).ok()
    }
}

#[cfg(test)]
mod tests;

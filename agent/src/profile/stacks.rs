//! Equal stacks once: what a window's samples are kept as.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use fathom_symbolizer::{Error, Mapped, MappingKind, Module};

use self::room::{Room, entry_bytes};
use super::{
    backtraces::Backtrace,
    files::mapping,
    profiler::Sampled,
    spaces::{Backing, Region, Space},
    stack_quality::StackQuality,
};
use crate::{identity::Process, l7::exchange::ExchangeKey};

mod room;

/// A window's samples.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    /// By process and address space: one that executes another program is another one from then on.
    processes: HashMap<(u32, u64), Seen>,
    /// The address space in which a process was last seen, in this window or the one before. One that is ending has none any more, and is the one that it was.
    last: HashMap<u32, u64>,
    /// Bytes of this window, and of what is left of those before that are being named.
    bytes: Arc<AtomicUsize>,
    limit: usize,
}

/// What was seen of a process in a window.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) process: Arc<Process>,
    /// What the frames lie in. Only grows, so that an index stays right.
    pub(super) mapped: Vec<Mapped>,
    pub(super) stacks: HashMap<Key, Counted>,
    /// Which of `mapped` a region is.
    indices: HashMap<Place, u32>,
    /// Whether code was seen in memory without a file.
    is_compiled: bool,
    room: Room,
}

/// What makes two regions the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    start: u64,
    end: u64,
    offset: u64,
    /// The address of what is known of the file, which `mapped` keeps; 0 without one.
    file: usize,
}

/// What makes two samples the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tid: u32,
    pub(super) comm: [u8; 16],
    pub(super) exchange: Option<ExchangeKey>,
    pub(super) kernel_frames: usize,
    pub(super) frames: Box<[u64]>,
    pub(super) quality: StackQuality,
}

/// A stack's count.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) count: u64,
    /// For each user frame one more than the index of its mapping when it was first seen.
    mapped: Box<[Option<NonZeroU32>]>,
}

/// A sample was taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// Where code of its process was first seen in this window in memory without a file, one such address.
    pub(super) compiled: Option<u64>,
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

    /// Adds a sample. `open` opens what is behind a region of its process.
    pub(super) fn add(
        &mut self,
        backtrace: Backtrace,
        open: impl FnMut(&Region) -> Result<Module, Error>,
        identify: impl FnOnce(Sampled) -> Arc<Process>,
    ) -> Result<Added, Full> {
        let Backtrace {
            sample,
            space,
            quality,
        } = backtrace;
        let full = self.bytes.load(Relaxed) >= self.limit;
        let last = self.last.get(&sample.tgid).copied();
        let own_space = match (sample.space, last) {
            (0, Some(last)) => last,
            (own, _) => own,
        };
        let seen = match self.processes.entry((sample.tgid, own_space)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return Err(Full),
            Entry::Vacant(entry) => {
                let process = identify(Sampled {
                    tgid: sample.tgid,
                    comm: sample.comm,
                    is_another: last.is_some_and(|last| last != own_space),
                });
                entry.insert(Seen::new(process, Arc::clone(&self.bytes)))
            }
        };
        if last != Some(own_space) {
            self.last.insert(sample.tgid, own_space);
        }
        let key = Key {
            tid: sample.tid,
            comm: sample.comm,
            exchange: sample.exchange,
            kernel_frames: sample.kernel_frames,
            frames: sample.frames,
            quality,
        };
        if let Some(counted) = seen.stacks.get_mut(&key) {
            counted.count += 1;
            return Ok(Added { compiled: None });
        }
        if full {
            return Err(Full);
        }
        Ok(seen.add(key, space, open))
    }

    /// Leaves out the stacks whose exchange is not to be kept, and processes without any left.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Option<&ExchangeKey>) -> bool) {
        self.processes.retain(|_, seen| {
            seen.stacks.retain(|key, _| keep(key.exchange.as_ref()));
            !seen.stacks.is_empty()
        });
    }

    /// Ends the window: everything that was seen, by process.
    pub(super) fn take(&mut self) -> Vec<Seen> {
        let processes = &self.processes;
        self.last
            .retain(|&tgid, &mut space| processes.contains_key(&(tgid, space)));
        let mut seen: Vec<_> = self.processes.drain().collect();
        seen.sort_by_key(|&(place, _)| place);
        seen.into_iter().map(|(_, seen)| seen).collect()
    }
}

impl Key {
    pub(super) fn user_frames(&self) -> &[u64] {
        self.frames.get(self.kernel_frames..).unwrap_or_default()
    }
}

impl Counted {
    /// For each user frame the index of its mapping.
    pub(super) fn mapped(&self) -> impl Iterator<Item = Option<u32>> {
        let indices = self.mapped.iter();
        indices.map(|index| index.map(|index| index.get() - 1))
    }
}

impl Seen {
    fn new(process: Arc<Process>, all: Arc<AtomicUsize>) -> Self {
        let mut room = Room::of(all);
        let names = process.service.len() + process.comm.len();
        let entries = entry_bytes::<((u32, u64), Self)>() + entry_bytes::<(u32, u64)>();
        room.grow(entries + size_of::<Process>() + names);
        Self {
            process,
            mapped: Vec::new(),
            stacks: HashMap::new(),
            indices: HashMap::new(),
            is_compiled: false,
            room,
        }
    }

    /// Adds a stack that was not seen before.
    fn add(
        &mut self,
        key: Key,
        space: Option<Arc<Space>>,
        open: impl FnMut(&Region) -> Result<Module, Error>,
    ) -> Added {
        let was_compiled = self.is_compiled;
        let mapped: Box<[_]> = match space {
            Some(space) => self.map(&space, key.user_frames(), open),
            None => key.user_frames().iter().map(|_| None).collect(),
        };
        let compiled = (self.is_compiled && !was_compiled)
            .then(|| self.compiled(key.user_frames(), &mapped))
            .flatten();
        self.room.grow(
            entry_bytes::<(Key, Counted)>() + size_of_val(&*key.frames) + size_of_val(&*mapped),
        );
        self.stacks.insert(key, Counted { count: 1, mapped });
        Added { compiled }
    }

    /// Hands on each user frame that lies in a file, with its address in there; one may come several times.
    pub(super) fn each_in_file(&self, mut each: impl FnMut(&Module, u64)) {
        for (key, counted) in &self.stacks {
            let frames = key.user_frames().iter().zip(counted.mapped()).enumerate();
            // Behind what lies in no mapping is chance.
            for (depth, (&frame, index)) in frames.take_while(|(_, (_, index))| index.is_some()) {
                let address = frame.saturating_sub(u64::from(depth > 0));
                let mapped = index.and_then(|index| self.mapped.get(index as usize));
                let Some((module, mapping)) =
                    mapped.and_then(|m| Some((m.module.as_ref().ok()?, &m.mapping)))
                else {
                    continue;
                };
                if let Some(at) = module.address_of(mapping.file_offset(address)) {
                    each(module, at);
                }
            }
        }
    }

    /// The address of a frame in memory without a file.
    fn compiled(&self, frames: &[u64], mapped: &[Option<NonZeroU32>]) -> Option<u64> {
        let depths = 0..frames.len() as u64;
        let mut compiled = frames
            .iter()
            .zip(mapped)
            .zip(depths)
            .filter(|((_, mapped), _)| {
                mapped
                    .and_then(|index| self.mapped.get(index.get() as usize - 1))
                    .is_some_and(|mapped| is_anonymous(&mapped.mapping.kind))
            });
        let ((frame, _), depth) = compiled.next()?;
        Some(frame.saturating_sub(depth.min(1)))
    }

    /// The mapping of each user frame.
    fn map(
        &mut self,
        space: &Space,
        frames: &[u64],
        mut open: impl FnMut(&Region) -> Result<Module, Error>,
    ) -> Box<[Option<NonZeroU32>]> {
        let depths = 0..frames.len() as u64;
        frames
            .iter()
            .zip(depths)
            // Above the leaf are return addresses: the call is before them.
            .map(|(&frame, depth)| space.find(frame.saturating_sub(depth.min(1))))
            .map(|region| NonZeroU32::new(self.index(region?, &mut open).saturating_add(1)))
            .collect()
    }

    fn index(
        &mut self,
        region: &Region,
        open: impl FnOnce(&Region) -> Result<Module, Error>,
    ) -> u32 {
        let place = Place {
            start: region.start,
            end: region.end,
            offset: region.offset,
            file: match &region.backing {
                Backing::File(file) => Arc::as_ptr(file).addr(),
                Backing::Vdso | Backing::Anonymous => 0,
            },
        };
        // A window's memory is bounded far below this.
        let next = u32::try_from(self.mapped.len()).unwrap_or(u32::MAX);
        *self.indices.entry(place).or_insert_with(|| {
            let bytes = size_of::<Mapped>() + entry_bytes::<(Place, u32)>();
            self.room.grow(bytes + path_bytes(region));
            let mut mapping = mapping(region);
            let module = open(region);
            // What a program has put into a file to run it is as good as memory without one.
            if let Err(Error::NotElf { .. }) = module {
                mapping.kind = MappingKind::Anonymous {
                    label: mapping.name(),
                };
            }
            self.is_compiled |= is_anonymous(&mapping.kind);
            self.mapped.push(Mapped::new(mapping, module));
            next
        })
    }
}

/// Bytes of a mapping's path.
fn path_bytes(region: &Region) -> usize {
    match &region.backing {
        Backing::File(file) => file.path.len(),
        Backing::Vdso | Backing::Anonymous => 0,
    }
}

/// Whether there is no file behind a mapping.
pub(super) fn is_anonymous(kind: &MappingKind) -> bool {
    matches!(kind, MappingKind::Anonymous { .. })
}

#[cfg(test)]
mod tests;

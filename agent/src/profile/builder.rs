//! What was seen of a process, with names, as a [`Profile`].

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fathom_abi::sample::MAX_FRAMES;
use fathom_symbolizer::{Frame, Frames, Gear, Mapped, Source};

use super::{
    model::{Function, Known, Line, Location, Mapping, Profile, Stack},
    origin::Origin,
    stack_quality::StackQuality,
    stacks::{Counted, Key, is_anonymous},
    symbols::Symbols,
};
use crate::l7::exchange::ExchangeKey;

/// The name of the mapping that stands for the kernel.
const KERNEL: &str = "[kernel]";
/// Where the kernel's half of the address space begins, on each architecture that fathom runs on: readers expect an address to lie in its
/// mapping.
const KERNEL_START: u64 = 1 << 63;

/// Makes the profile of one process.
pub(super) struct Builder<'a> {
    symbols: &'a mut Symbols,
    mapped: &'a [Mapped],
    /// What is known of addresses in memory without a file.
    compiled: HashMap<u64, Frames>,
    profile: Profile,
    /// By index in `mapped`; the kernel's by none.
    mappings: HashMap<Option<u32>, u32>,
    /// By name in the symbol table and source file.
    functions: HashMap<(Arc<str>, Option<Arc<str>>), u32>,
    /// By address, space and mapping.
    locations: HashMap<(u64, bool, Option<u32>), u32>,
    /// Those that differ only beyond a break are one.
    stacks: HashMap<Identity, u64>,
    /// Mappings whose files can't be read, by index in `mapped`: each attempt reads as much as the limit allows, and a stack has many
    /// frames in the same file.
    unreadable: HashSet<u32>,
    /// Mappings without a file, by index in the profile.
    anonymous: HashSet<u32>,
}

/// What makes two stacks of a profile the same.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    tid: u32,
    comm: [u8; 16],
    exchange: Option<ExchangeKey>,
    locations: Vec<u32>,
    quality: StackQuality,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        symbols: &'a mut Symbols,
        mapped: &'a [Mapped],
        compiled: HashMap<u64, Frames>,
        profile: Profile,
    ) -> Self {
        Self {
            symbols,
            mapped,
            compiled,
            profile,
            mappings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            stacks: HashMap::new(),
            unreadable: HashSet::new(),
            anonymous: HashSet::new(),
        }
    }

    /// Adds a stack that was seen so many times.
    pub(super) fn add(&mut self, key: &Key, counted: &Counted) {
        let mut locations = Vec::with_capacity(key.frames.len());
        for (depth, &address) in key.frames.iter().take(key.kernel_frames).enumerate() {
            let address = address.saturating_sub(u64::from(depth > 0));
            locations.push(self.location(address, true, None));
        }
        let mut broken = false;
        for (depth, (&address, mapped)) in
            key.user_frames().iter().zip(counted.mapped()).enumerate()
        {
            let address = address.saturating_sub(u64::from(depth > 0));
            if mapped.is_none() {
                // No return address: the chain of frames ended before, and the rest of it is chance.
                locations.push(self.location(0, false, None));
                broken = true;
                break;
            }
            locations.push(self.location(address, false, mapped));
        }
        let quality = self.quality(key, broken, &locations);
        self.count(key, counted.count, &locations, quality);
        let identity = Identity {
            tid: key.tid,
            comm: key.comm,
            exchange: key.exchange,
            locations,
            quality,
        };
        *self.stacks.entry(identity).or_default() += counted.count;
    }

    /// How good a stack is, now that its frames have names or none.
    fn quality(&self, key: &Key, broken: bool, locations: &[u32]) -> StackQuality {
        let all = &self.profile.locations;
        let is_compiled = |location: &Location| {
            let mapping = location.mapping;
            mapping.is_some_and(|mapping| self.anonymous.contains(&mapping))
        };
        let is_jit = |&at: &u32| is_compiled(&all[at as usize]);
        let is_unnamed = |&at: &u32| all[at as usize].lines.is_empty();
        match key.quality {
            // What frame pointers say is known to be wrong only where it leads out of all code.
            StackQuality::FramePointers if broken => StackQuality::NoMapping,
            StackQuality::FramePointers if key.user_frames().len() == MAX_FRAMES => {
                StackQuality::Truncated
            }
            StackQuality::Whole if locations.iter().any(|at| is_jit(at) && is_unnamed(at)) => {
                StackQuality::JitWithoutMap
            }
            // Frame pointers were the guess for it, and led nowhere.
            StackQuality::BadMemory if locations.last().is_some_and(is_jit) => {
                StackQuality::JitWithoutFramePointers
            }
            quality => quality,
        }
    }

    fn count(&mut self, key: &Key, count: u64, locations: &[u32], kind: StackQuality) {
        let quality = &mut self.profile.quality;
        quality.samples += count;
        if key.kernel_frames > 0 {
            quality.in_kernel += count;
        } else if !key.frames.is_empty() {
            quality.in_user += count;
        }
        quality.add(kind, count);
        for &location in locations {
            let location = &self.profile.locations[location as usize];
            if location.mapping.is_some() {
                quality.frames += count;
                quality.unnamed += count * u64::from(location.lines.is_empty());
            }
        }
    }

    /// The profile, its most frequent stacks first: the table that they come from has no order.
    pub(super) fn finish(mut self) -> Profile {
        let stacks = self.stacks.into_iter();
        self.profile.stacks = stacks
            .map(|(identity, count)| Stack {
                locations: identity.locations,
                count,
                tid: identity.tid,
                comm: text(&identity.comm, self.symbols),
                exchange: identity.exchange,
                quality: identity.quality,
            })
            .collect();
        self.profile.stacks.sort_by(|a, b| {
            let key = |stack: &Stack| (stack.count, stack.tid);
            key(b)
                .cmp(&key(a))
                .then_with(|| a.locations.cmp(&b.locations))
                .then_with(|| a.quality.cmp(&b.quality))
        });
        self.profile
    }

    fn location(&mut self, address: u64, kernel: bool, mapped: Option<u32>) -> u32 {
        let key = (address, kernel, mapped);
        if let Some(&location) = self.locations.get(&key) {
            return location;
        }
        let mapping = (kernel || mapped.is_some()).then(|| self.mapping(mapped));
        let (origin, frames) = match (kernel, mapped) {
            (true, _) => (Origin::Kernel, self.symbols.kernel(address)),
            (false, Some(index)) => self.user(address, index),
            (false, None) => (Origin::Native, Frames::default()),
        };
        let lines = self.lines(&frames);
        if let Some(mapping) = mapping {
            self.note(mapping, &lines);
        }
        let location = index(self.profile.locations.len());
        self.profile.locations.push(Location {
            address,
            origin,
            mapping,
            lines,
        });
        self.locations.insert(key, location);
        location
    }

    fn user(&mut self, address: u64, index: u32) -> (Origin, Frames) {
        let Some(mapped) = self.mapped.get(index as usize) else {
            return (Origin::Native, Frames::default());
        };
        if is_anonymous(&mapped.mapping.kind) {
            let frames = self.compiled.get(&address).cloned().unwrap_or_default();
            return (Origin::of_compiled(&frames), frames);
        }
        if self.unreadable.contains(&index) {
            return (Origin::Native, Frames::default());
        }
        let frames = self.symbols.user(address, mapped).unwrap_or_else(|error| {
            tracing::debug!(%error, "a file's functions have no names");
            self.unreadable.insert(index);
            Frames::default()
        });
        (Origin::of_file(&frames), frames)
    }

    fn lines(&mut self, frames: &Frames) -> Box<[Line]> {
        frames
            .iter()
            .map(|frame| Line {
                function: self.function(frame),
                line: frame.line,
                column: frame.column,
            })
            .collect()
    }

    /// Notes what is known of a mapping by what is known of a location in it.
    fn note(&mut self, mapping: u32, lines: &[Line]) {
        let functions = &self.profile.functions;
        let has_file = |line: &Line| functions[line.function as usize].file.is_some();
        let known = &mut self.profile.mappings[mapping as usize].known;
        known.functions |= !lines.is_empty();
        known.files |= lines.iter().any(has_file);
        known.lines |= lines.iter().any(|line| line.line > 0);
        known.inlined = known.lines && self.symbols.gear() == Gear::Lines;
    }

    fn function(&mut self, frame: &Frame) -> u32 {
        let (name, system_name): (&str, Arc<str>) = match &frame.name {
            Some(name) => (name.as_str(), self.symbols.text(name.linkage())),
            None => ("", self.symbols.text("")),
        };
        let next = index(self.profile.functions.len());
        let file = source_file(frame).map(|file| self.symbols.text(file));
        let key = (Arc::clone(&system_name), file.clone());
        let function = *self.functions.entry(key).or_insert(next);
        if function == next {
            let name = if name == &*system_name {
                Arc::clone(&system_name)
            } else {
                self.symbols.text(name)
            };
            self.profile.functions.push(Function {
                name,
                system_name,
                file,
            });
        }
        function
    }

    fn mapping(&mut self, mapped: Option<u32>) -> u32 {
        if let Some(&mapping) = self.mappings.get(&mapped) {
            return mapping;
        }
        let mapping = match mapped.and_then(|mapped| self.mapped.get(mapped as usize)) {
            Some(Mapped {
                mapping, module, ..
            }) => Mapping {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                name: self.symbols.text(&mapping.name()),
                build_id: module
                    .as_ref()
                    .ok()
                    .and_then(|module| module.build_id().map(Into::into)),
                known: Known::default(),
            },
            None => Mapping {
                start: KERNEL_START,
                end: u64::MAX,
                offset: 0,
                name: KERNEL.into(),
                build_id: None,
                known: Known::default(),
            },
        };
        let at = index(self.profile.mappings.len());
        let of = mapped.and_then(|mapped| self.mapped.get(mapped as usize));
        if of.is_some_and(|mapped| is_anonymous(&mapped.mapping.kind)) {
            self.anonymous.insert(at);
        }
        self.profile.mappings.push(mapping);
        self.mappings.insert(mapped, at);
        at
    }
}

/// A symbol table names a file, too, but without its path, and for some compilers one that never was.
fn source_file(frame: &Frame) -> Option<&str> {
    match frame.source {
        Source::Dwarf | Source::Go | Source::JitDump => {
            frame.file.as_ref().map(|file| file.as_str())
        }
        _ => None,
    }
}

/// A window's memory is bounded far below this.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn text(padded: &[u8; 16], symbols: &mut Symbols) -> Arc<str> {
    let end = padded
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(padded.len());
    symbols.text(&String::from_utf8_lossy(&padded[..end]))
}

#[cfg(test)]
mod tests;

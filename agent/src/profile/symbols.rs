//! Addresses of one window to names.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use fathom_abi::sample::MAX_FRAMES;
use fathom_symbolizer::{Cache, Elf, Kernel, demangle};

use super::{
    model::{Function, Location, Mapping, Profile, Quality, Stack},
    objects::{Code, Mapped, Object},
    stacks::{Counted, Key, Seen},
};
use crate::l7::exchange::ExchangeKey;

/// How long the kernel's symbols are taken as they are when an address has no name in them; modules come and go.
const KERNEL_TRUST: Duration = Duration::from_secs(60);

/// The name of the mapping that stands for the kernel.
pub(super) const KERNEL: &str = "[kernel]";

/// Parsed symbols, kept from window to window within a budget.
#[derive(Debug)]
pub(super) struct Symbols {
    files: Cache<u64>,
    /// The largest symbol table that is read.
    file_limit: usize,
    kernel: Option<Kernel>,
    kernel_read: Option<Instant>,
}

impl Symbols {
    /// Symbols of files within `budget` bytes; those of the kernel come on top.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            files: Cache::new(budget),
            file_limit: budget,
            kernel: None,
            kernel_read: None,
        }
    }

    /// Bytes of memory that the symbols take.
    pub(super) fn bytes(&self) -> usize {
        self.files.bytes() + self.kernel.as_ref().map_or(0, Kernel::bytes)
    }

    /// Names everything that was seen of a process.
    pub(super) fn profile(
        &mut self,
        seen: Seen,
        start_ns: u64,
        duration_ns: u64,
        period_ns: u64,
    ) -> Profile {
        let Seen {
            process,
            mapped,
            stacks,
            ..
        } = seen;
        let mut builder = Builder {
            symbols: self,
            mapped: &mapped,
            profile: Profile {
                process,
                start_ns,
                duration_ns,
                period_ns,
                mappings: Vec::new(),
                functions: Vec::new(),
                locations: Vec::new(),
                stacks: Vec::new(),
                quality: Quality::default(),
            },
            mappings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            stacks: HashMap::new(),
        };
        for (key, counted) in &stacks {
            builder.add(key, counted);
        }
        builder.finish()
    }

    fn file(&mut self, object: &Object) -> Option<Arc<Elf>> {
        let file = match &object.code {
            Code::Parsed(elf) => return Some(Arc::clone(elf)),
            Code::File(file) if !object.unreadable.load(Relaxed) => file,
            Code::File(_) | Code::None => return None,
        };
        let limit = self.file_limit;
        let parse = || Elf::from_file(file, &object.name, limit);
        match self.files.get(&object.serial, parse) {
            Ok(elf) => Some(elf),
            Err(error) => {
                tracing::debug!(%error, "a file's functions have no names");
                // Each attempt reads as much as the limit allows, and a stack has many frames in the same file.
                object.unreadable.store(true, Relaxed);
                None
            }
        }
    }

    /// The name of a kernel address. What is not found makes the symbols be read again, but not more often than
    /// [`KERNEL_TRUST`].
    fn kernel(&mut self, address: u64) -> Option<String> {
        let name = |kernel: &Kernel| Some(kernel.symbol(address)?.name.into_owned());
        if let Some(found) = self.kernel.as_ref().and_then(name) {
            return Some(found);
        }
        if self
            .kernel_read
            .is_some_and(|read| read.elapsed() < KERNEL_TRUST)
        {
            return None;
        }
        self.kernel_read = Some(Instant::now());
        match Kernel::read(Path::new("/proc/kallsyms")) {
            Ok(kernel) => self.kernel = Some(kernel),
            Err(error) => tracing::warn!(%error, "kernel functions have no names"),
        }
        self.kernel.as_ref().and_then(name)
    }
}

struct Builder<'a> {
    symbols: &'a mut Symbols,
    mapped: &'a [Mapped],
    profile: Profile,
    /// By index in `mapped`; the kernel's by none.
    mappings: HashMap<Option<u32>, u32>,
    functions: HashMap<Arc<str>, u32>,
    /// By address, space and mapping.
    locations: HashMap<(u64, bool, Option<u32>), u32>,
    /// Those that differ only beyond a break are one.
    stacks: HashMap<Identity, u64>,
}

/// What makes two stacks of a profile the same: thread, its name, exchange, locations.
type Identity = (u32, [u8; 16], Option<ExchangeKey>, Vec<u32>);

impl Builder<'_> {
    fn add(&mut self, key: &Key, counted: &Counted) {
        let mut locations = Vec::with_capacity(key.frames.len());
        for (depth, &address) in key.frames.iter().take(key.kernel_frames).enumerate() {
            let address = address.saturating_sub(u64::from(depth > 0));
            locations.push(self.location(address, true, None));
        }
        let mut broken = false;
        for (depth, (&address, &mapped)) in
            key.user_frames().iter().zip(&counted.mapped).enumerate()
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
        self.count(key, counted.count, &locations, broken);
        let identity = (key.tid, key.comm, key.exchange, locations);
        *self.stacks.entry(identity).or_default() += counted.count;
    }

    fn count(&mut self, key: &Key, count: u64, locations: &[u32], broken: bool) {
        let quality = &mut self.profile.quality;
        let user_frames = key.user_frames().len();
        quality.samples += count;
        if key.kernel_frames > 0 {
            quality.in_kernel += count;
        } else if user_frames > 0 {
            quality.in_user += count;
        } else {
            quality.no_stack += count;
        }
        // A kernel thread has no user stack to read.
        if key.kernel_frames > 0 && user_frames == 0 && !self.mapped.is_empty() {
            quality.no_user_stack += count;
        }
        if broken {
            quality.broken += count;
        } else if key.kernel_frames == MAX_FRAMES || user_frames == MAX_FRAMES {
            quality.truncated += count;
        }
        for &location in locations {
            let location = &self.profile.locations[location as usize];
            if location.mapping.is_some() {
                quality.frames += count;
                quality.unnamed += count * u64::from(location.function.is_none());
            }
        }
    }

    /// The profile, its most frequent stacks first: the table that they come from has no order.
    fn finish(mut self) -> Profile {
        let stacks = self.stacks.into_iter();
        self.profile.stacks = stacks
            .map(|((tid, comm, exchange, locations), count)| Stack {
                locations,
                count,
                tid,
                comm: text(&comm),
                exchange,
            })
            .collect();
        self.profile.stacks.sort_by(|a, b| {
            let key = |stack: &Stack| (stack.count, stack.tid);
            key(b)
                .cmp(&key(a))
                .then_with(|| a.locations.cmp(&b.locations))
        });
        self.profile
    }

    fn location(&mut self, address: u64, kernel: bool, mapped: Option<u32>) -> u32 {
        let key = (address, kernel, mapped);
        if let Some(&location) = self.locations.get(&key) {
            return location;
        }
        let mapping = (kernel || mapped.is_some()).then(|| self.mapping(mapped));
        let name = match (kernel, mapped) {
            (true, _) => self.symbols.kernel(address),
            (false, Some(index)) => self.user(address, index),
            (false, None) => None,
        };
        let function = name.map(|name| self.function(name));
        if let (Some(mapping), Some(_)) = (mapping, function) {
            self.profile.mappings[mapping as usize].has_functions = true;
        }
        let location = index(self.profile.locations.len());
        self.profile.locations.push(Location {
            address,
            kernel,
            mapping,
            function,
        });
        self.locations.insert(key, location);
        location
    }

    fn user(&mut self, address: u64, mapped: u32) -> Option<String> {
        let mapped = self.mapped.get(mapped as usize)?;
        let elf = self.symbols.file(&mapped.object)?;
        let at = elf.address_of(mapped.mapping.file_offset(address))?;
        Some(elf.symbol(at)?.name.into_owned())
    }

    fn function(&mut self, system_name: String) -> u32 {
        if let Some(&function) = self.functions.get(&*system_name) {
            return function;
        }
        let function = index(self.profile.functions.len());
        let name = demangle(&system_name);
        let system_name: Arc<str> = system_name.into();
        let name = if name == *system_name {
            Arc::clone(&system_name)
        } else {
            name.into()
        };
        self.functions.insert(Arc::clone(&system_name), function);
        self.profile.functions.push(Function { name, system_name });
        function
    }

    fn mapping(&mut self, mapped: Option<u32>) -> u32 {
        if let Some(&mapping) = self.mappings.get(&mapped) {
            return mapping;
        }
        let mapping = match mapped.and_then(|mapped| self.mapped.get(mapped as usize)) {
            Some(Mapped { mapping, object }) => Mapping {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                name: Arc::clone(&object.name),
                build_id: object.build_id.clone(),
                has_functions: false,
            },
            None => Mapping {
                start: 0,
                end: 0,
                offset: 0,
                name: KERNEL.into(),
                build_id: None,
                has_functions: false,
            },
        };
        let at = index(self.profile.mappings.len());
        self.profile.mappings.push(mapping);
        self.mappings.insert(mapped, at);
        at
    }
}

/// A window's memory is bounded far below this.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn text(padded: &[u8; 16]) -> Arc<str> {
    let end = padded
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..end]).into()
}

#[cfg(test)]
mod tests;

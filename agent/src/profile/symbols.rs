//! Addresses of one window to names.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fathom_symbolizer::{Error, Frames, Gear, Located, Mapped, Module, Symbolizer};

use super::{
    builder::Builder,
    lookups::{Lookup, LookupCounts},
    model::{Profile, Quality},
    stacks::{Counted, Key, Seen, is_anonymous},
};
use crate::identity::Process;

mod perf_map;

/// Names addresses, within the symbolizer's budget.
#[derive(Debug)]
pub(super) struct Symbols {
    symbolizer: Arc<Symbolizer>,
    gear: Gear,
    /// The kernel's functions of this window, which nearly all its processes have in common.
    kernel: HashMap<u64, Frames>,
    /// What is known of the files of this window, by [`key`].
    files: HashMap<usize, Named>,
    /// Texts that the profiles of a window share.
    texts: HashSet<Arc<str>>,
    lookups: Arc<LookupCounts>,
    /// Whether it was said that the kernel hides its functions.
    kernel_failed: bool,
    /// Files of which it was said that their debug information can't be read.
    without_lines: HashSet<Box<str>>,
    /// Processes of which it was said that their perf map names nothing.
    maps_unused: HashSet<u32>,
}

/// What is known of addresses of a file.
#[derive(Debug)]
struct Named {
    /// Keeps its key from being another file's.
    _module: Module,
    frames: HashMap<u64, Result<Frames, Error>>,
}

/// The most files or processes that are remembered as ones of which something was said. Of more it is said again.
const MAX_SAID: usize = 1024;

impl Symbols {
    /// With [`Gear::Lines`] locations have their inlined functions, files and lines; with [`Gear::Names`] only the functions' names, for a
    /// small part of the memory.
    pub(super) fn new(symbolizer: Arc<Symbolizer>, gear: Gear, lookups: Arc<LookupCounts>) -> Self {
        Self {
            symbolizer,
            gear,
            kernel: HashMap::new(),
            files: HashMap::new(),
            texts: HashSet::new(),
            lookups,
            kernel_failed: false,
            without_lines: HashSet::new(),
            maps_unused: HashSet::new(),
        }
    }

    pub(super) fn gear(&self) -> Gear {
        self.gear
    }

    /// Begins a window: looks up all that its processes have of each file at once. Files are read in turn within the symbolizer's budget, and so each once: in
    /// the order of processes the large ones would take out one another over and over.
    pub(super) fn begin(&mut self, all: &[Seen]) {
        let mut wanted: HashMap<usize, (Module, HashSet<u64>)> = HashMap::new();
        for seen in all {
            seen.each_in_file(|module, at| {
                let (_, addresses) = wanted
                    .entry(key(module))
                    .or_insert_with(|| (module.clone(), HashSet::new()));
                addresses.insert(at);
            });
        }
        for (key, (module, addresses)) in wanted {
            let addresses: Vec<_> = addresses.into_iter().collect();
            let located = self.symbolizer.locate_all(&module, self.gear, &addresses);
            let mut frames = HashMap::with_capacity(addresses.len());
            for (at, located) in addresses.into_iter().zip(located) {
                frames.insert(at, self.found(&module, located));
            }
            let named = Named {
                _module: module,
                frames,
            };
            self.files.insert(key, named);
        }
    }

    /// Ends a window: what was kept for all its profiles is forgotten, and what only they needed is closed.
    pub(super) fn end(&mut self) {
        self.kernel = HashMap::new();
        self.files = HashMap::new();
        self.texts = HashSet::new();
        self.symbolizer.close_unused();
    }

    /// A text, which is in memory once for all profiles of a window.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
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
        let compiled = self.compiled(&process, &compiled_addresses(&mapped, &stacks));
        let profile = Profile {
            process,
            start_ns,
            duration_ns,
            period_ns,
            mappings: Vec::new(),
            functions: Vec::new(),
            locations: Vec::new(),
            stacks: Vec::new(),
            quality: Quality::default(),
        };
        let mut builder = Builder::new(self, &mapped, compiled, profile);
        for (key, counted) in &stacks {
            builder.add(key, counted);
        }
        builder.finish()
    }

    /// Has the kernel's symbols read, if they were not.
    pub(super) fn read_kernel(&self) {
        let _ = self.symbolizer.symbolize_kernel(self.gear, &[]);
    }

    /// What is at an address of the kernel.
    pub(super) fn kernel(&mut self, address: u64) -> Frames {
        if let Some(known) = self.kernel.get(&address) {
            return known.clone();
        }
        let frames = match self.symbolizer.symbolize_kernel(self.gear, &[address]) {
            Ok(located) => {
                self.kernel_failed = false;
                located
                    .first()
                    .map(|located| located.frames.clone())
                    .unwrap_or_default()
            }
            Err(error) => {
                if !std::mem::replace(&mut self.kernel_failed, true) {
                    tracing::warn!(%error, "kernel functions have no names");
                }
                Frames::default()
            }
        };
        self.kernel.insert(address, frames.clone());
        frames
    }

    /// What is at an address of a process's file; nothing where it has none.
    ///
    /// # Errors
    /// When the file can't be read, not even for names.
    pub(super) fn user(&mut self, address: u64, mapped: &Mapped) -> Result<Frames, Error> {
        let Ok(module) = &mapped.module else {
            return Ok(Frames::default());
        };
        let Some(at) = module.address_of(mapped.mapping.file_offset(address)) else {
            return Ok(Frames::default());
        };
        let named = self.files.get(&key(module));
        if let Some(known) = named.and_then(|named| named.frames.get(&at)) {
            return known.clone();
        }
        let located = self.symbolizer.locate(module, self.gear, at);
        self.found(module, located)
    }

    /// An error counts where nothing is known.
    fn found(&mut self, module: &Module, located: Located) -> Result<Frames, Error> {
        match located.error {
            Some(error) if located.frames.is_empty() => Err(error),
            Some(error) => {
                self.say_without_lines(module.name(), &error);
                Ok(located.frames)
            }
            None => Ok(located.frames),
        }
    }

    fn say_without_lines(&mut self, file: &str, error: &Error) {
        if self.without_lines.contains(file) {
            return;
        }
        if self.without_lines.len() >= MAX_SAID {
            self.without_lines.clear();
        }
        self.without_lines.insert(file.into());
        tracing::warn!(%error, "functions of {file} have names, but not all that its debug information could tell");
    }

    /// A perf map that is there and named nothing is most likely an earlier process's with the same number, or another user's, and not taken for that.
    fn say_map_is_unused(&mut self, pid: u32) {
        let Some(map) = perf_map::path(pid) else {
            return;
        };
        self.lookups.add(Lookup::PerfMapUnused);
        if self.maps_unused.len() >= MAX_SAID {
            self.maps_unused.clear();
        }
        if self.maps_unused.insert(pid) {
            tracing::warn!(
                pid,
                "{map} names nothing of what runs: it is older than its process, not its user's, or does not have the code yet"
            );
        }
    }

    /// What a process's own compilers say of addresses in memory without a file. All at once: each question looks at the compilers'
    /// files again. A process that is gone says nothing, unless it was asked before.
    fn compiled(&mut self, process: &Process, addresses: &[u64]) -> HashMap<u64, Frames> {
        if addresses.is_empty() || process.is_replaced() {
            return HashMap::new();
        }
        match self
            .symbolizer
            .symbolize_process(process.pid, self.gear, addresses)
        {
            Ok(located) => {
                let frames = located.into_iter().map(|located| located.frames);
                let named: HashMap<_, _> = addresses
                    .iter()
                    .copied()
                    .zip(frames)
                    .filter(|(_, frames)| !frames.is_empty())
                    .collect();
                if named.is_empty() {
                    self.say_map_is_unused(process.pid);
                }
                named
            }
            Err(error) => {
                tracing::debug!(pid = process.pid, %error, "compiled functions have no names");
                HashMap::new()
            }
        }
    }
}

/// What tells open files apart as long as they are.
fn key(module: &Module) -> usize {
    module
        .file()
        .map_or(0, |file| std::ptr::from_ref(file).addr())
}

/// Addresses of user frames in memory without a file, each once.
fn compiled_addresses(mapped: &[Mapped], stacks: &HashMap<Key, Counted>) -> Vec<u64> {
    let is_compiled = |index: u32| {
        mapped
            .get(index as usize)
            .is_some_and(|mapped| is_anonymous(&mapped.mapping.kind))
    };
    if !mapped
        .iter()
        .any(|mapped| is_anonymous(&mapped.mapping.kind))
    {
        return Vec::new();
    }
    let mut addresses: Vec<u64> = stacks
        .iter()
        .flat_map(|(key, counted)| key.user_frames().iter().zip(counted.mapped()).enumerate())
        .filter(|&(_, (_, mapped))| mapped.is_some_and(is_compiled))
        .map(|(depth, (&address, _))| address.saturating_sub(u64::from(depth > 0)))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

//! What is held in memory, and what goes when it is too much.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::MetadataExt as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::Memory;
use crate::{Error, FileId, Module};

/// The modules of a symbolizer, by the file that each is of.
#[derive(Debug)]
pub(super) struct Held {
    budget: usize,
    files: usize,
    modules: Mutex<Modules>,
    /// Bytes of all modules, as each was when it was last settled.
    bytes: AtomicUsize,
    /// Bytes of what is no module's: processes with the functions that compilers made in them, and the kernel's functions.
    processes: AtomicUsize,
    kernel: AtomicUsize,
    /// Counts uses; it orders them.
    clock: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Modules {
    by_file: HashMap<Identity, Module>,
    /// As `/proc/PID/maps` has files, which some file systems number in another way than stat(2).
    by_mapping: HashMap<FileId, Module>,
    /// By whether it is of 64 bits.
    vdsos: HashMap<bool, Module>,
    /// Those that hold anything.
    loaded: Vec<Module>,
}

/// What makes a file the same file with the same contents. Its inode can't be another file's while the module keeps it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Held {
    pub(super) fn new(budget: usize, files: usize) -> Self {
        Self {
            budget,
            files,
            modules: Mutex::default(),
            bytes: AtomicUsize::new(0),
            processes: AtomicUsize::new(0),
            kernel: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// The module of a file, made if there is none.
    pub(super) fn module(
        &self,
        file: &Arc<File>,
        make: impl FnOnce(&Arc<File>) -> Result<Module, Error>,
    ) -> Result<Module, Error> {
        let Ok(identity) = Identity::of(file) else {
            return make(file);
        };
        if let Some(module) = self.lock().by_file.get(&identity) {
            module.set_used(self.tick());
            return Ok(module.clone());
        }
        // Headers are read without the lock: of two threads that open a file at the same time one makes a module in vain.
        let module = make(file)?;
        module.set_used(self.tick());
        let mut modules = self.lock();
        if modules.by_file.len() >= self.files && !self.close_one(&mut modules) {
            return Err(Error::TooManyFiles {
                file: module.name().to_owned(),
                limit: self.files,
            });
        }
        Ok(modules.by_file.entry(identity).or_insert(module).clone())
    }

    /// The module of a mapped file that is open already and was not changed since.
    pub(super) fn mapped(&self, id: FileId) -> Option<Module> {
        let module = self.lock().by_mapping.get(&id)?.clone();
        let identity = Identity::of(module.file()?).ok()?;
        let is_same = self.lock().by_file.get(&identity)?.is(&module);
        is_same.then_some(module)
    }

    /// Notes which mapped file a module is of.
    pub(super) fn note(&self, id: FileId, module: &Module) {
        self.lock().by_mapping.insert(id, module.clone());
    }

    /// The vDSO's module.
    pub(super) fn vdso(
        &self,
        is_wide: bool,
        make: impl FnOnce() -> Result<Module, Error>,
    ) -> Result<Module, Error> {
        if let Some(module) = self.lock().vdsos.get(&is_wide) {
            return Ok(module.clone());
        }
        let module = make()?;
        Ok(self.lock().vdsos.entry(is_wide).or_insert(module).clone())
    }

    /// Closes the file that nobody outside has a module of and that was not used the longest.
    fn close_one(&self, modules: &mut Modules) -> bool {
        let unused = modules.by_file.iter();
        let unused = unused.filter(|(_, module)| modules.holders(module) == 0);
        let Some(oldest) = unused.min_by_key(|(_, module)| module.used()) else {
            return false;
        };
        let module = oldest.1.clone();
        self.close(modules, &module);
        true
    }

    fn close(&self, modules: &mut Modules, module: &Module) {
        self.unload(module);
        modules.by_file.retain(|_, other| !other.is(module));
        modules.by_mapping.retain(|_, other| !other.is(module));
        modules.loaded.retain(|other| !other.is(module));
    }

    /// Takes note of what a module takes after something was read of it, and makes room where it is too much.
    pub(super) fn settle(&self, module: &Module) {
        module.set_used(self.tick());
        let (before, now) = self.charge(module);
        if before == 0 && now > 0 {
            let mut modules = self.lock();
            if !modules.loaded.iter().any(|loaded| loaded.is(module)) {
                modules.loaded.push(module.clone());
            }
        }
        if self.all_bytes() > self.budget {
            self.make_room(Some(module));
        }
    }

    /// Takes note of what all processes take.
    pub(super) fn set_processes(&self, bytes: usize) {
        self.processes.store(bytes, Relaxed);
        self.settle_others();
    }

    /// Takes note of what the kernel's functions take.
    pub(super) fn set_kernel(&self, bytes: usize) {
        self.kernel.store(bytes, Relaxed);
        self.settle_others();
    }

    fn settle_others(&self) {
        if self.all_bytes() > self.budget {
            self.make_room(None);
        }
    }

    fn all_bytes(&self) -> usize {
        self.bytes.load(Relaxed) + self.processes.load(Relaxed) + self.kernel.load(Relaxed)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory {
            bytes: self.all_bytes(),
            budget: self.budget,
            files: self.lock().loaded.len(),
            evicted: self.evicted.load(Relaxed),
        }
    }

    /// The files that were not used the longest go, and the one that is in use last.
    fn make_room(&self, in_use: Option<&Module>) {
        let is_in_use = |module: &Module| in_use.is_some_and(|in_use| in_use.is(module));
        let mut modules = self.lock();
        modules.loaded.sort_by_key(|module| module.used());
        modules.loaded.retain(|module| {
            if is_in_use(module) || self.all_bytes() <= self.budget {
                return true;
            }
            self.unload(module);
            false
        });
        drop(modules);
        let bytes = self.all_bytes();
        if let Some(in_use) = in_use
            && bytes > self.budget
        {
            let others = bytes.saturating_sub(in_use.bytes());
            in_use.shrink(self.budget.saturating_sub(others));
            self.evicted.fetch_add(1, Relaxed);
            self.charge(in_use);
        }
    }

    fn unload(&self, module: &Module) {
        module.unload();
        let before = module.charge(0);
        self.bytes.fetch_sub(before, Relaxed);
        self.evicted.fetch_add(u64::from(before > 0), Relaxed);
    }

    /// Closes the files that nobody outside has a module of.
    pub(super) fn close_unused(&self) {
        let mut modules = self.lock();
        let all = modules.by_file.values().chain(&modules.loaded);
        let unused = all.filter(|module| modules.holders(module) == 0);
        let unused: Vec<_> = unused.cloned().collect();
        for module in &unused {
            self.close(&mut modules, module);
        }
    }

    /// What the module took when it was last asked, and what it takes now.
    fn charge(&self, module: &Module) -> (usize, usize) {
        let now = module.bytes();
        let before = module.charge(now);
        self.bytes.fetch_add(now, Relaxed);
        self.bytes.fetch_sub(before, Relaxed);
        (before, now)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Modules> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Modules {
    /// How many clones of a module there are outside.
    fn holders(&self, module: &Module) -> usize {
        let here = |all: &mut dyn Iterator<Item = &Module>| all.filter(|m| m.is(module)).count();
        let here = here(&mut self.by_file.values())
            + here(&mut self.by_mapping.values())
            + here(&mut self.vdsos.values())
            + here(&mut self.loaded.iter());
        module.holders().saturating_sub(here)
    }
}

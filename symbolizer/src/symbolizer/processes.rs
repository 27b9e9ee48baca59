//! Processes: what each has mapped, kept from when it was first seen.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Gear, Symbolizer};
use crate::{
    Error, FileId, Frames, Mapping, MappingKind, Module,
    elf::Image,
    jit::{JitCode, JitFormat},
    mappings,
    module::Whereabouts,
    open_mapped,
    process::status::{own_pid, started, time_of_start},
    read_vdso,
    root::open_in,
};

/// A mapping with the file behind it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mapped {
    /// Where it is.
    pub mapping: Mapping,
    /// What is behind it, or why that can't be had. Memory without a file is [`Error::NotRegular`].
    pub module: Result<Module, Error>,
}

impl Mapped {
    /// A mapping that the caller knows of, and what is behind it: see [`Symbolizer::open_mapping`].
    pub fn new(mapping: Mapping, module: Result<Module, Error>) -> Self {
        Self { mapping, module }
    }
}

/// What is at an address of a process.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Located {
    /// The frames; empty where nothing is known.
    pub frames: Frames,
    /// The file that the address is in; none for memory without one.
    pub module: Option<Module>,
    /// The module of the kernel that the address is in; `bpf` for a BPF program. None for the kernel itself, and for processes.
    pub kernel_module: Option<Arc<str>>,
    /// The address as the file has it; that of the process where there is no file.
    pub address: u64,
    /// What could not be read, where a file or a part of it could have told more.
    pub error: Option<Error>,
}

/// A process as it was seen.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    started: u64,
    mapped: Mutex<Arc<[Mapped]>>,
    jit: Mutex<JitCode>,
}

/// The processes that were seen.
#[derive(Debug, Default)]
pub(super) struct Processes {
    seen: Mutex<HashMap<u32, Arc<Process>>>,
}

/// The most processes that are remembered; those that are gone go first.
const MAX_PROCESSES: usize = 1024;
/// What part of all memory the compiled functions of all processes may take.
const JIT_SHARE: usize = 4;
/// How much later than a file a process may seem to have started that wrote it: the time of day is set now and then.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

impl Symbolizer {
    /// What is at addresses of a process. One that is gone by now is answered from what it had mapped when it was first seen: by this,
    /// or by [`Self::capture`].
    ///
    /// An address that a call returns to is behind the call, and may be another line's or another function's: take one off it.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at, and was never seen before. A file that can't be read is told in
    /// [`Located::error`].
    pub fn symbolize_process(
        &self,
        pid: u32,
        gear: Gear,
        addresses: &[u64],
    ) -> Result<Vec<Located>, Error> {
        let process = self.process(pid)?;
        let is_mapped = |mapped: &[Mapped], address| {
            mapped.iter().any(|mapped| mapped.mapping.contains(address))
        };
        let mut mapped = process.mapped();
        // Something may have been mapped since, if it is still the same process that can be asked.
        if !addresses.iter().all(|&address| is_mapped(&mapped, address))
            && started(pid) == Some(process.started)
        {
            self.look_again(&process);
            mapped = process.mapped();
        }
        let mut jit_is_fresh = false;
        let locate = |&address: &u64| {
            let mut located = self.locate_in(&mapped, gear, address);
            if located.frames.is_empty() && is_mapped(&mapped, address) {
                match process.compiled(address, &mut jit_is_fresh) {
                    Ok(frames) => located.frames = frames,
                    Err(error) => drop(located.error.get_or_insert(error)),
                }
            }
            located
        };
        let located = addresses.iter().map(locate).collect();
        if jit_is_fresh {
            self.settle_processes(&process);
        }
        Ok(located)
    }

    /// Looks at a process and remembers what it has mapped, with its files open, so that it is answered when it is gone.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn capture(&self, pid: u32) -> Result<(), Error> {
        self.process(pid).map(drop)
    }

    /// The code that a process has mapped now, in the order of addresses, with its files opened. A file that is open already is not opened
    /// again.
    ///
    /// # Errors
    /// When the process is gone or may not be looked at.
    pub fn mapped(&self, pid: u32) -> Result<Vec<Mapped>, Error> {
        let code = mappings(pid)?.into_iter();
        let code = code.filter(|mapping| mapping.executable);
        Ok(code
            .map(|mapping| Mapped {
                module: self.open_mapping(pid, &mapping),
                mapping,
            })
            .collect())
    }

    /// What is behind a mapping of a process. A file that is open already is not opened again.
    ///
    /// # Errors
    /// [`Error::NotRegular`] for memory without a file. When the process is gone, or the file is no ELF file, or another one by now.
    pub fn open_mapping(&self, pid: u32, mapping: &Mapping) -> Result<Module, Error> {
        match &mapping.kind {
            MappingKind::File { id, path, .. } => {
                if let Some(module) = self.held.mapped(*id) {
                    return Ok(module);
                }
                self.keep_mapping(*id, open_mapped(pid, mapping)?, pid, path)
            }
            // The kernel has one image for all 64-bit processes and one for those of 32 bits.
            MappingKind::Vdso => {
                let is_wide = mapping.end > u64::from(u32::MAX);
                self.held.vdso(is_wide, || {
                    let image = Image::Memory(read_vdso(pid, mapping)?.into());
                    Module::new(image, "[vdso]".into(), None, self.options.memory)
                })
            }
            MappingKind::Anonymous { .. } => Err(Error::NotRegular {
                file: mapping.name(),
            }),
        }
    }

    /// As [`Self::open_mapping`], of a file that was mapped and is open: what is left when the process is gone. `pid` is a process in whose
    /// mount namespace `path` leads to it.
    ///
    /// # Errors
    /// When the file is no ELF file.
    pub fn keep_mapping(
        &self,
        id: FileId,
        file: File,
        pid: u32,
        path: &str,
    ) -> Result<Module, Error> {
        let file = Arc::new(file);
        let whereabouts = Whereabouts {
            root: PathBuf::from(format!("/proc/{pid}/root")),
            path: PathBuf::from(path),
        };
        let open = || {
            self.held.module(&file, |file| {
                self.make(file, path, Some(whereabouts.clone()))
            })
        };
        let module = open().or_else(|error| match error {
            // Those that are gone keep theirs open as long as there is room.
            Error::TooManyFiles { .. } => {
                self.processes.forget_ended();
                open()
            }
            error => Err(error),
        })?;
        self.held.note(id, &module);
        Ok(module)
    }

    fn locate_in(&self, mapped: &[Mapped], gear: Gear, address: u64) -> Located {
        let behind = mapped.partition_point(|mapped| mapped.mapping.start <= address);
        let mapped = behind.checked_sub(1).map(|index| &mapped[index]);
        let mapped = mapped.filter(|mapped| mapped.mapping.contains(address));
        let nowhere = Located {
            address,
            ..Located::default()
        };
        let Some(Mapped { mapping, module }) = mapped else {
            return nowhere;
        };
        match module {
            Ok(module) => match module.address_of(mapping.file_offset(address)) {
                Some(at) => self.locate(module, gear, at),
                None => nowhere,
            },
            // There is no file.
            Err(Error::NotRegular { .. }) => nowhere,
            Err(error) => Located {
                error: Some(error.clone()),
                ..nowhere
            },
        }
    }

    /// A process that is there, or that was.
    fn process(&self, pid: u32) -> Result<Arc<Process>, Error> {
        let started = started(pid);
        let known = self.processes.lock().get(&pid).cloned();
        if let Some(known) = known
            && started.is_none_or(|started| started == known.started)
        {
            return Ok(known);
        }
        let process = Arc::new(Process {
            pid,
            mapped: Mutex::new(self.mapped(pid)?.into()),
            // If it was gone before, there were no mappings to read.
            started: started.unwrap_or(0),
            jit: Mutex::new(JitCode::new(self.jit_limit())),
        });
        process.find_jit();
        let mut seen = self.processes.lock();
        if seen.len() >= MAX_PROCESSES {
            seen.retain(|&pid, process| self::started(pid) == Some(process.started));
        }
        if seen.len() >= MAX_PROCESSES {
            seen.clear();
        }
        seen.insert(pid, Arc::clone(&process));
        drop(seen);
        self.settle_processes(&process);
        Ok(process)
    }

    fn settle_processes(&self, in_use: &Process) {
        let bytes = self.processes.keep_within(self.jit_limit(), in_use);
        self.held.set_processes(bytes);
    }

    fn jit_limit(&self) -> usize {
        self.options.memory / JIT_SHARE
    }

    /// Adds what was mapped since. What was unmapped goes, as something else may be in its place.
    fn look_again(&self, process: &Process) {
        if let Ok(mapped) = self.mapped(process.pid) {
            *process
                .mapped
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = mapped.into();
            process.find_jit();
        }
    }
}

impl Process {
    fn mapped(&self) -> Arc<[Mapped]> {
        Arc::clone(&self.mapped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens what the process's compilers write, as long as its files are in reach. A dump is mapped, to be found.
    fn find_jit(&self) {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        let mapped = self.mapped();
        let mut jit = self.jit();
        for Mapped { mapping, .. } in mapped.iter() {
            let name = mapping.name();
            let file = name.rsplit('/').next().unwrap_or_default();
            if !file.starts_with("jit-") || !file.ends_with(".dump") || jit.has(&name) {
                continue;
            }
            if let Ok(file) = open_mapped(self.pid, mapping) {
                jit.add(JitFormat::Dump, file, name);
            }
        }
        let map = format!("/tmp/perf-{}.map", own_pid(self.pid));
        if !jit.has(&map)
            && let Ok(file) = open_in(&root, Path::new(&map))
            && self.may_have_written(&file)
        {
            jit.add(JitFormat::PerfMap, file, map);
        }
    }

    /// Whether a file in a folder that all may write to is the process's user's, or root's, and was written since the process started: one
    /// that was not is of an earlier process with the same number.
    fn may_have_written(&self, file: &File) -> bool {
        let user = fs::metadata(format!("/proc/{}", self.pid)).map(|process| process.uid());
        let (Ok(user), Ok(file)) = (user, file.metadata()) else {
            return false;
        };
        let is_older = || {
            let started = time_of_start(self.started)?.checked_sub(CLOCKS_DIFFER)?;
            Some(file.modified().ok()? < started)
        };
        (file.uid() == 0 || file.uid() == user) && !is_older().unwrap_or(false)
    }

    /// What a compiler says of an address.
    fn compiled(&self, address: u64, is_fresh: &mut bool) -> Result<Frames, Error> {
        if !std::mem::replace(is_fresh, true) {
            self.find_jit();
            self.jit().read_on()?;
        }
        self.jit().frames(address)
    }

    /// Bytes of memory: of its mappings, and of what its compilers say.
    fn bytes(&self) -> usize {
        let mapped = self.mapped();
        let names = mapped.iter().map(|mapped| match &mapped.mapping.kind {
            MappingKind::File { path, .. } => path.len(),
            MappingKind::Anonymous { label } => label.len(),
            MappingKind::Vdso => 0,
        });
        size_of::<Self>() + size_of_val(&*mapped) + names.sum::<usize>() + self.jit().bytes()
    }

    fn jit(&self) -> MutexGuard<'_, JitCode> {
        self.jit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Processes {
    /// Forgets what was read of other processes' compiled functions where all processes take more than `limit`, and returns what they
    /// take.
    fn keep_within(&self, limit: usize, in_use: &Process) -> usize {
        let seen = self.lock();
        let bytes = || seen.values().map(|process| process.bytes()).sum();
        if bytes() > limit {
            for process in seen.values().filter(|process| process.pid != in_use.pid) {
                process.jit().forget();
            }
        }
        bytes()
    }

    /// Forgets processes that are gone.
    pub(super) fn forget_ended(&self) {
        self.lock()
            .retain(|&pid, process| started(pid) == Some(process.started));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Process>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

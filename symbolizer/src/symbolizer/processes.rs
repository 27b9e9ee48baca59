//! Processes: what each has mapped, kept from when it was first seen.

use std::{fs::File, path::PathBuf, sync::Arc, time::Instant};

use self::remembered::Process;
pub(super) use self::remembered::Processes;
use super::{Gear, Symbolizer};
use crate::{
    Error, FileId, Frames, Mapping, MappingKind, Module, elf::Image, mappings, module::Whereabouts,
    open_mapped, process::status::Identity, read_vdso,
};

mod remembered;

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

/// What part of all memory the compiled functions of all processes may take, and what part their mappings.
const SHARE: usize = 4;

impl Symbolizer {
    /// What is at addresses of a process. One that is gone by now is answered from what it had mapped when it was first seen: by this,
    /// or by [`Self::capture`].
    ///
    /// An address that a call returns to is behind the call, and may be another line's or another function's: take one off it.
    ///
    /// For an address that is in none of its mappings the process is looked at again, but not within a tenth of a second of a look in vain; and in
    /// any case when that was a second ago, or a hundred times as long as the look took.
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
        let mut mapped = process.mapped();
        let are_mapped = |mapped: &[Mapped]| {
            let mut addresses = addresses.iter();
            addresses.all(|&address| mapping_at(mapped, address).is_some())
        };
        // Something may have been mapped since, if it is still the same process that can be asked.
        if !are_mapped(&mapped) && process.may_have_more() {
            self.look_again(&process);
            mapped = process.mapped();
            process.note_look(are_mapped(&mapped));
        }
        let mut located = self.locate_in(&mapped, gear, addresses);
        let is_compiled = |&place: &usize| {
            located[place].frames.is_empty() && mapping_at(&mapped, addresses[place]).is_some()
        };
        let places: Vec<usize> = (0..addresses.len()).filter(is_compiled).collect();
        if !places.is_empty() {
            let compiled = process.compiled(places.iter().map(|&place| addresses[place]));
            for (place, found) in places.into_iter().zip(compiled) {
                match found {
                    Ok(frames) => located[place].frames = frames,
                    Err(error) => drop(located[place].error.get_or_insert(error)),
                }
            }
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

    /// What the files that are mapped say: an answer for each address, in their order. All addresses of a file are looked up together.
    fn locate_in(&self, mapped: &[Mapped], gear: Gear, addresses: &[u64]) -> Vec<Located> {
        let nowhere = |&address: &u64| Located {
            address,
            ..Located::default()
        };
        let mut located: Vec<_> = addresses.iter().map(nowhere).collect();
        let mut in_files: Vec<(&Module, u64, usize)> = Vec::new();
        for (place, &address) in addresses.iter().enumerate() {
            let Some(Mapped { mapping, module }) = mapping_at(mapped, address) else {
                continue;
            };
            match module {
                Ok(module) => {
                    let at = module.address_of(mapping.file_offset(address));
                    in_files.extend(at.map(|at| (module, at, place)));
                }
                // There is no file.
                Err(Error::NotRegular { .. }) => {}
                Err(error) => located[place].error = Some(error.clone()),
            }
        }
        in_files.sort_unstable_by_key(|&(module, at, _)| (module.key(), at));
        for of_one in in_files.chunk_by(|(module, ..), (next, ..)| module.is(next)) {
            let (module, ..) = of_one[0];
            let asked: Vec<u64> = of_one.iter().map(|&(_, at, _)| at).collect();
            let found = self.locate_all(module, gear, &asked);
            for (&(_, _, place), found) in of_one.iter().zip(found) {
                located[place] = found;
            }
        }
        located
    }

    /// A process that is there, or that was.
    fn process(&self, pid: u32) -> Result<Arc<Process>, Error> {
        // It is asked for before the mappings are: were it another by then, that is seen the next time.
        let identity = Identity::of(pid);
        if let Some(known) = self.processes.get(pid)
            && identity.is_none_or(|now| known.identity.is_still(&now))
        {
            if identity.is_some() && known.is_due() {
                self.look_again(&known);
            }
            return Ok(known);
        }
        // If it was gone before, there were no mappings to read.
        let mapped = self.mapped(pid)?;
        let process = Process::new(pid, identity.unwrap_or_default(), mapped, self.share());
        process.find_jit();
        let process = Arc::new(process);
        self.processes.insert(&process);
        self.settle_processes(&process);
        Ok(process)
    }

    fn settle_processes(&self, in_use: &Arc<Process>) {
        let bytes = self.processes.keep_within(self.share(), in_use);
        self.held.set_processes(bytes);
    }

    fn share(&self) -> usize {
        self.options.memory / SHARE
    }

    /// Adds what was mapped since. What was unmapped goes, as something else may be in its place.
    fn look_again(&self, process: &Process) {
        let began = Instant::now();
        let mapped = self.mapped(process.pid);
        process.note_time(began);
        // Of one that ended meanwhile nothing may have been left to read, or a part: what it had stays.
        if let Ok(mapped) = mapped
            && process.still_runs()
        {
            process.set_mapped(mapped);
            process.find_jit();
        }
    }
}

/// The mapping that an address is in.
fn mapping_at(mapped: &[Mapped], address: u64) -> Option<&Mapped> {
    let behind = mapped.partition_point(|mapped| mapped.mapping.start <= address);
    let before = mapped[..behind].last()?;
    before.mapping.contains(address).then_some(before)
}

#[cfg(test)]
mod tests;

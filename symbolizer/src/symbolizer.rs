//! The way in: files and processes, within a budget of memory.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::processes::{Located, Mapped};
use self::{held::Held, kernel_space::KernelSpace, processes::Processes};
use crate::{
    Error, Frames, Module,
    debug_files::{DebugFiles, Finder},
    elf::Image,
    module::Whereabouts,
    process::open_regular,
    root::open_in,
};

mod held;
mod kernel_space;
mod processes;

/// How much is to be known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gear {
    /// The function's name alone, from symbol tables: small and fast enough to be always on.
    #[default]
    Names,
    /// Inlined functions, files and lines too, from full debug information.
    Lines,
}

/// What a [`Symbolizer`] may take, and where it looks. Begin with [`Options::default`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The most bytes of memory that are kept from one call to the next. What has to go is read again when it is needed.
    pub memory: usize,
    /// The most files that are kept open.
    pub files: usize,
    /// Where separate debug files are, in each root that is searched.
    pub debug_directories: Vec<PathBuf>,
    /// Who is asked for debug files that are not here: nobody, unless the caller says so.
    pub debug_files: Option<Arc<dyn DebugFiles>>,
    /// Where the kernel says which symbols it has.
    pub kallsyms: PathBuf,
    /// The running kernel's file with its debug information, if it is at hand.
    pub vmlinux: Option<PathBuf>,
}

impl Default for Options {
    /// 256 MiB, 512 files, `/usr/lib/debug`, `/proc/kallsyms`.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            files: 512,
            debug_directories: vec![PathBuf::from("/usr/lib/debug")],
            debug_files: None,
            kallsyms: PathBuf::from("/proc/kallsyms"),
            vmlinux: None,
        }
    }
}

/// What a [`Symbolizer`] has in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes that are held now.
    pub bytes: usize,
    /// Bytes that may be held.
    pub budget: usize,
    /// Files of which something is held.
    pub files: usize,
    /// How often what was read of a file had to go.
    pub evicted: u64,
}

/// Answers what is at an address. One is enough for a program: threads share it, and a file that takes long to read keeps only those waiting
/// that ask for the same file.
#[derive(Debug)]
pub struct Symbolizer {
    options: Options,
    finder: Arc<Finder>,
    held: Held,
    processes: Processes,
    kernel: KernelSpace,
}

/// What is known of an address, and what could not be read where something else could answer.
type Found = Result<(Frames, Option<Error>), Error>;

/// How many addresses are looked up between two looks at how much memory is held.
const AT_ONCE: usize = 1 << 12;

impl Symbolizer {
    /// A symbolizer that holds nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            finder: Arc::new(Finder::new(
                options.debug_directories.clone(),
                options.debug_files.clone(),
                options.memory,
            )),
            held: Held::new(options.memory, options.files),
            processes: Processes::default(),
            kernel: KernelSpace::default(),
            options,
        }
    }

    /// What is at addresses of a file: addresses of its own, as its symbols have them, not offsets into it. There is an answer for each
    /// address, empty where nothing is known.
    ///
    /// # Errors
    /// When the path leads to no regular file, the file is no ELF file, or a part of it that an answer needs can't be read.
    pub fn symbolize_file(
        &self,
        path: impl AsRef<Path>,
        gear: Gear,
        addresses: &[u64],
    ) -> Result<Vec<Frames>, Error> {
        self.symbolize_all(&self.open(path)?, gear, addresses)
    }

    /// What is at an address of a module. Of an answer that was given before it costs less than a file's being opened by far.
    ///
    /// # Errors
    /// When a part of the file that the answer needs can't be read.
    pub fn symbolize(&self, module: &Module, gear: Gear, address: u64) -> Result<Frames, Error> {
        let mut answer = Ok(Frames::default());
        self.find(module, gear, &[address], |_, found| answer = strict(found));
        answer
    }

    /// What is at addresses of a module: an answer for each, in their order. They are looked up in the order of the addresses, so that each
    /// part of the file is gone through once: of many at once each costs a fraction.
    ///
    /// # Errors
    /// As [`Self::symbolize`], for the first of the addresses that has one.
    pub fn symbolize_all(
        &self,
        module: &Module,
        gear: Gear,
        addresses: &[u64],
    ) -> Result<Vec<Frames>, Error> {
        let mut answers = vec![Frames::default(); addresses.len()];
        let mut failed: Option<(usize, Error)> = None;
        self.find(module, gear, addresses, |place, found| {
            match strict(found) {
                Ok(frames) => answers[place] = frames,
                Err(error) => {
                    if failed.as_ref().is_none_or(|(first, _)| place < *first) {
                        failed = Some((place, error));
                    }
                }
            }
        });
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(answers),
        }
    }

    /// As [`Self::symbolize`], with the module in the answer; and with what could not be read, too, where something else could answer in its place.
    pub fn locate(&self, module: &Module, gear: Gear, address: u64) -> Located {
        let mut located = Located::default();
        self.find(module, gear, &[address], |_, found| {
            located = locate(module, address, found);
        });
        located
    }

    /// As [`Self::locate`], for many addresses: an answer for each, in their order. They are looked up as by [`Self::symbolize_all`].
    pub fn locate_all(&self, module: &Module, gear: Gear, addresses: &[u64]) -> Vec<Located> {
        let mut answers = vec![Located::default(); addresses.len()];
        self.find(module, gear, addresses, |place, found| {
            answers[place] = locate(module, addresses[place], found);
        });
        answers
    }

    /// Answers all addresses, with the place of each among them: those that were answered before, and then the others in their order.
    fn find(
        &self,
        module: &Module,
        gear: Gear,
        addresses: &[u64],
        mut each: impl FnMut(usize, Found),
    ) {
        let mut asked = module.known(gear, addresses, |place, frames| {
            each(place, Ok((frames, None)));
        });
        asked.sort_unstable();
        // What was read is counted from time to time, so that there is never much more of it than may be.
        for part in asked.chunks(AT_ONCE) {
            module.find(gear, part, &self.finder, &mut each);
            self.held.settle(module);
        }
    }

    /// The module of a file by its path. A file that was opened before, and was not changed since, is the same module.
    ///
    /// # Errors
    /// When the path leads to no regular file, or the file is no ELF file.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Module, Error> {
        let path = path.as_ref();
        let name = path.to_string_lossy();
        let file = open_regular(&name)?;
        self.held.module(&Arc::new(file), |file| {
            self.make(file, &name, Some(Whereabouts::here(path)))
        })
    }

    /// The module of a file by its path as a process sees it: in its container, where it is in one.
    ///
    /// # Errors
    /// As [`Self::open`], and when the process is gone.
    pub fn open_in_process(&self, pid: u32, path: impl AsRef<Path>) -> Result<Module, Error> {
        let whereabouts = Whereabouts {
            root: PathBuf::from(format!("/proc/{pid}/root")),
            path: path.as_ref().to_owned(),
        };
        let file = Arc::new(open_in(&whereabouts.root, &whereabouts.path)?);
        let name = path.as_ref().to_string_lossy();
        self.held
            .module(&file, |file| self.make(file, &name, Some(whereabouts)))
    }

    /// The module of a file that is open already. `name` is what it is called in errors and answers.
    ///
    /// # Errors
    /// When the file can't be read or is no ELF file.
    pub fn open_file(&self, file: File, name: &str) -> Result<Module, Error> {
        self.held
            .module(&Arc::new(file), |file| self.make(file, name, None))
    }

    /// The module of an image in memory: a vDSO, or a file that was read whole.
    ///
    /// # Errors
    /// When it is no ELF file.
    pub fn open_image(&self, image: impl Into<Arc<[u8]>>, name: &str) -> Result<Module, Error> {
        let bytes = Image::Memory(image.into());
        Module::new(bytes, name.into(), None, self.options.memory)
    }

    /// Closes the files that no [`Module`] outside is of, and forgets what was read of them. An open file keeps the disk space of one that
    /// was deleted.
    pub fn close_unused(&self) {
        self.processes.forget_ended();
        self.held.close_unused();
    }

    /// What is in memory now.
    pub fn memory(&self) -> Memory {
        self.held.memory()
    }

    fn make(
        &self,
        file: &Arc<File>,
        name: &str,
        whereabouts: Option<Whereabouts>,
    ) -> Result<Module, Error> {
        let bytes = Image::File(Arc::clone(file));
        Module::new(bytes, name.into(), whereabouts, self.options.memory)
    }
}

/// An error counts where nothing could answer.
fn strict(found: Found) -> Result<Frames, Error> {
    match found? {
        (frames, Some(error)) if frames.is_empty() => Err(error),
        (frames, _) => Ok(frames),
    }
}

fn locate(module: &Module, address: u64, found: Found) -> Located {
    let (frames, error) = found.unwrap_or_else(|error| (Frames::default(), Some(error)));
    Located {
        frames,
        module: Some(module.clone()),
        address,
        error,
        ..Located::default()
    }
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

#[cfg(test)]
mod tests;

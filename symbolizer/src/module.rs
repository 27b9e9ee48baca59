//! One file with all that can be known of its addresses.

use std::{
    fmt,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use self::{
    answers::Answers,
    look::{Look, Shared},
    sources::Sources,
};
use crate::{
    Error, Frames, Gear,
    debug_files::Finder,
    elf::{Elf, Image, Input, Segment},
};

mod answers;
mod lazy;
mod look;
mod memo;
mod packed;
mod pool;
mod sources;
mod symbols;

/// A file, or the vDSO: its place in memory, its build id, and the way to what it says of its addresses. Clones are the same module.
///
/// It keeps the file open, so that it can be read when its path leads elsewhere by now. What is read of it is held by the
/// [`Symbolizer`](crate::Symbolizer) that made the module, within that one's budget.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    input: Input,
    whereabouts: Option<Whereabouts>,
    segments: Box<[Segment]>,
    build_id: Option<Box<[u8]>>,
    /// Held while headers and single names are read, never while symbol tables or debug information are.
    state: Mutex<State>,
    /// When it was last used, by the symbolizer's clock.
    used: AtomicU64,
    /// What the symbolizer has it down for, in bytes.
    charged: AtomicUsize,
}

/// Where a file's path leads from.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    /// The root of the mount namespace in which the path is.
    pub(crate) root: PathBuf,
    pub(crate) path: PathBuf,
}

#[derive(Default)]
struct State {
    sources: Option<Arc<Sources>>,
    answers: Answers,
}

impl Module {
    pub(crate) fn new(
        bytes: Image,
        name: Arc<str>,
        whereabouts: Option<Whereabouts>,
        limit: usize,
    ) -> Result<Self, Error> {
        let input = Input::new(bytes, name, limit);
        let elf = Elf::read(&input.source()?)?;
        Ok(Self(Arc::new(Inner {
            input,
            whereabouts,
            segments: elf.segments.into(),
            build_id: elf.build_id.map(Into::into),
            state: Mutex::default(),
            used: AtomicU64::new(0),
            charged: AtomicUsize::new(0),
        })))
    }

    /// The file's path as whoever mapped it has it, or `[vdso]`.
    pub fn name(&self) -> &str {
        self.0.input.name()
    }

    /// The GNU build id.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.0.build_id.as_deref()
    }

    /// The address in the file's own address space, which symbols and debug information are in, that an offset in the file is
    /// loaded at. With the offset that a mapping gives, this is the run-time address less the load bias.
    pub fn address_of(&self, file_offset: u64) -> Option<u64> {
        // Where two segments share a page of the file, code counts.
        let holding = |code: bool| {
            self.0
                .segments
                .iter()
                .find(|segment| segment.executable == code && segment.file.contains(&file_offset))
        };
        let segment = holding(true).or_else(|| holding(false))?;
        Some(
            segment
                .address
                .wrapping_add(file_offset - segment.file.start),
        )
    }

    /// The address in the file's own address space that a mapping of code starts at, which has `length` bytes from `file_offset` on. With the address that
    /// it is mapped at, this gives the load bias. None where no code is loaded from there.
    ///
    /// A mapping starts with a whole page of the file, so that its start may lie before that of the segment: addresses go round below 0.
    pub fn code_address_of(&self, file_offset: u64, length: u64) -> Option<u64> {
        let end = file_offset.saturating_add(length);
        let is_in =
            |file: &Range<u64>| file.start < end && file_offset < file.end && !file.is_empty();
        let mut segments = self.0.segments.iter();
        let segment = segments.find(|segment| segment.executable && is_in(&segment.file))?;
        let before = segment.file.start.wrapping_sub(file_offset);
        Some(segment.address.wrapping_sub(before))
    }

    /// The open file; none for an image in memory.
    pub fn file(&self) -> Option<&File> {
        match self.0.input.image() {
            Image::File(file) => Some(file),
            Image::Memory(_) => None,
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other module has as long as there is this one.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// How many clones there are.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Hands out answers that were given before, with the place of each among the addresses. The others are returned, with theirs.
    pub(crate) fn known(
        &self,
        gear: Gear,
        addresses: &[u64],
        mut each: impl FnMut(usize, Frames),
    ) -> Vec<(u64, usize)> {
        let mut others = Vec::new();
        let mut state = self.state();
        for (place, &address) in addresses.iter().enumerate() {
            match state.answers.known(gear, address) {
                Some(frames) => each(place, frames),
                None => others.push((address, place)),
            }
        }
        others
    }

    /// Answers from the file, and keeps the answers. With each comes what could not be read, where something else had to answer. What is
    /// returned has the place of each address in `asked` with it; it is in the order of addresses.
    pub(crate) fn find(
        &self,
        gear: Gear,
        asked: &[(u64, usize)],
        finder: &Arc<Finder>,
        mut each: impl FnMut(usize, Result<(Frames, Option<Error>), Error>),
    ) {
        let sources = match self.sources() {
            Ok(sources) => sources,
            Err(error) => {
                return asked
                    .iter()
                    .for_each(|&(_, place)| each(place, Err(error.clone())));
            }
        };
        let mut look = Look::new(Shared {
            module: self,
            finder,
        });
        let mut found: Vec<(u64, Frames)> = Vec::with_capacity(asked.len());
        for &(address, place) in asked {
            if let Some((last, frames)) = found.last()
                && *last == address
            {
                each(place, Ok((frames.clone(), None)));
                continue;
            }
            let answer = sources.frames(gear, address, &mut look);
            if let Ok((frames, _)) = &answer {
                found.push((address, frames.clone()));
            }
            each(place, answer);
        }
        let mut state = self.state();
        state.answers.expect(gear, found.len());
        for (address, frames) in &found {
            state.answers.keep(gear, *address, frames);
        }
    }

    /// Where the function of a name begins, by the symbol table.
    pub(crate) fn symbol_address(&self, name: &str) -> Result<Option<u64>, Error> {
        self.sources()?.symbol_address(name)
    }

    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    pub(crate) fn set_used(&self, clock: u64) {
        self.0.used.store(clock, Relaxed);
    }

    /// Notes what it takes by now, and returns what it took before.
    pub(crate) fn charge(&self, bytes: usize) -> usize {
        self.0.charged.swap(bytes, Relaxed)
    }

    /// Bytes of memory, those of the answers included.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state();
        let sources = state.sources.as_ref().map_or(0, |sources| sources.bytes());
        sources + state.answers.bytes()
    }

    /// Gives memory back until what is left takes no more than `to` bytes, the cheapest to make anew first.
    pub(crate) fn shrink(&self, to: usize) {
        let mut state = self.state();
        state.answers.clear();
        let Some(sources) = state.sources.clone() else {
            return;
        };
        drop(state);
        sources.shrink(to);
        if sources.bytes() > to {
            self.unload();
        }
    }

    /// Gives all memory back. Whoever is looking something up in it just now still gets the answer.
    pub(crate) fn unload(&self) {
        let mut state = self.state();
        state.sources = None;
        state.answers.clear();
    }

    fn sources(&self) -> Result<Arc<Sources>, Error> {
        let mut state = self.state();
        if let Some(sources) = &state.sources {
            return Ok(Arc::clone(sources));
        }
        let sources = Arc::new(Sources::open(self.0.input.clone())?);
        state.sources = Some(Arc::clone(&sources));
        Ok(sources)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Module").field(&self.name()).finish()
    }
}

impl Whereabouts {
    /// A path of our own mount namespace.
    pub(crate) fn here(path: &Path) -> Self {
        Self {
            root: PathBuf::from("/"),
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        }
    }
}

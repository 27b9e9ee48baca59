//! What is remembered of processes, and what is forgotten when it is too much.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::Mapped;
use crate::{
    Error, Frames, MappingKind,
    jit::{JitCode, JitFormat},
    open_mapped,
    process::status::{Identity, own_pid, started, time_of_start},
    root::{find_in, open_in},
};

/// A process as it was seen.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) pid: u32,
    pub(super) identity: Identity,
    mapped: Mutex<Arc<[Mapped]>>,
    /// Held while what compilers wrote is read, which can take long.
    jit: Mutex<JitCode>,
    /// What the two take, in bytes, as it was when they last changed: to count it, nobody waits for a file.
    pub(super) mapped_bytes: AtomicUsize,
    pub(super) jit_bytes: AtomicUsize,
    /// When it was last asked, by the clock of all processes.
    used: AtomicU64,
    /// When it was last looked at in vain, for an address that it had not mapped.
    missed: Mutex<Option<Instant>>,
    /// When the last look at its mappings began, and how long it took. Not so the first, which opens every file: it says nothing of the next.
    looked: Mutex<(Instant, Duration)>,
}

/// The processes that were seen.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    seen: Mutex<HashMap<u32, Arc<Process>>>,
    /// Counts uses; it orders them.
    clock: AtomicU64,
}

/// The most processes that are remembered; those that were not asked the longest go first.
pub(super) const MAX_PROCESSES: usize = 1024;
/// How long a process is not looked at again when a look did not find what was asked for: stacks that are broken are full of such addresses.
pub(super) const LOOKS_APART: Duration = Duration::from_millis(100);
/// How long the mappings of a process that runs are taken as they are: a library may be where another one was.
pub(super) const TRUST: Duration = Duration::from_secs(1);
/// How many times as long as a look took, too: where there is much to see, it is looked at for a hundredth of the time.
const REST: u32 = 100;
/// How much later than a file a process may seem to have started that wrote it: the time of day is set now and then.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

impl Process {
    /// Of compiled functions there are `limit` bytes at most.
    pub(super) fn new(pid: u32, identity: Identity, mapped: Vec<Mapped>, limit: usize) -> Self {
        let process = Self {
            pid,
            identity,
            mapped: Mutex::new([].into()),
            jit: Mutex::new(JitCode::new(limit)),
            mapped_bytes: AtomicUsize::new(0),
            jit_bytes: AtomicUsize::new(0),
            used: AtomicU64::new(0),
            missed: Mutex::new(None),
            looked: Mutex::new((Instant::now(), Duration::ZERO)),
        };
        process.set_mapped(mapped);
        process
    }

    pub(super) fn mapped(&self) -> Arc<[Mapped]> {
        Arc::clone(&self.mapped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_mapped(&self, mapped: Vec<Mapped>) {
        let names = mapped.iter().map(|mapped| match &mapped.mapping.kind {
            MappingKind::File { path, .. } => path.len(),
            MappingKind::Anonymous { label } => label.len(),
            MappingKind::Vdso => 0,
        });
        let bytes = size_of::<Self>() + size_of_val(&*mapped) + names.sum::<usize>();
        self.mapped_bytes.store(bytes, Relaxed);
        *self.mapped.lock().unwrap_or_else(PoisonError::into_inner) = mapped.into();
    }

    /// Whether it is worth while to look again for an address that it had not mapped.
    pub(super) fn may_have_more(&self) -> bool {
        let missed = *self.missed();
        missed.is_none_or(|missed| missed.elapsed() >= LOOKS_APART) && self.still_runs()
    }

    /// Whether its mappings are to be looked at again, though nothing was missed in them. Who is told so looks; others go on meanwhile.
    pub(super) fn is_due(&self) -> bool {
        let mut looked = self.looked();
        let (at, took) = *looked;
        let is_due = at.elapsed() >= TRUST.max(took * REST);
        if is_due {
            *looked = (Instant::now(), took);
        }
        is_due
    }

    /// Notes a look at its mappings that began then.
    pub(super) fn note_time(&self, began: Instant) {
        *self.looked() = (began, began.elapsed());
    }

    /// Whether its mappings can be read, and are those of the program that it ran when it was seen.
    pub(super) fn still_runs(&self) -> bool {
        Identity::of(self.pid).is_some_and(|now| self.identity.still_runs(&now))
    }

    pub(super) fn looked(&self) -> MutexGuard<'_, (Instant, Duration)> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a look found all that was asked for.
    pub(super) fn note_look(&self, found: bool) {
        *self.missed() = (!found).then(Instant::now);
    }

    pub(super) fn missed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what the process's compilers write, as long as its files are in reach.
    pub(super) fn find_jit(&self) {
        // Where it is read just now, it was opened before; what came since is opened when it is asked next.
        if let Some(mut jit) = self.try_jit() {
            self.open_jit(&mut jit);
        }
    }

    /// A dump is mapped, to be found.
    fn open_jit(&self, jit: &mut JitCode) {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        for Mapped { mapping, .. } in self.mapped().iter() {
            let name = mapping.name();
            let file = name.rsplit('/').next().unwrap_or_default();
            let is_dump = file.starts_with("jit-") && file.ends_with(".dump");
            if !is_dump || jit.has(&name) || !jit.has_room_for(&name) {
                continue;
            }
            if let Ok(file) = open_mapped(self.pid, mapping) {
                jit.add(JitFormat::Dump, file, name);
            }
        }
        self.open_map(jit, &root);
    }

    /// A map is at a known path: the file that is there now, as a compiler may write each map beside that place and move it there.
    fn open_map(&self, jit: &mut JitCode, root: &Path) {
        let map = format!("/tmp/perf-{}.map", own_pid(self.pid));
        let path = Path::new(&map);
        let is_open = jit.file(&map).and_then(|open| open.metadata().ok());
        if let Some(open) = &is_open {
            let is_another = find_in(root, path)
                .is_ok_and(|(_, there)| (there.dev(), there.ino()) != (open.dev(), open.ino()));
            if !is_another {
                return;
            }
        }
        let Ok(file) = open_in(root, path) else {
            return;
        };
        if !self.may_have_written(&file) {
            return;
        }
        if is_open.is_some() {
            jit.replace(&map, file);
        } else {
            jit.add(JitFormat::PerfMap, file, map);
        }
    }

    /// Whether a file in a folder that all may write to is the process's user's, or root's, and was written since the process started: one
    /// that was not is of an earlier process with the same number.
    pub(super) fn may_have_written(&self, file: &File) -> bool {
        let user = fs::metadata(format!("/proc/{}", self.pid)).map(|process| process.uid());
        let (Ok(user), Ok(file)) = (user, file.metadata()) else {
            return false;
        };
        let is_older = || {
            let started = time_of_start(self.identity.started)?.checked_sub(CLOCKS_DIFFER)?;
            Some(file.modified().ok()? < started)
        };
        (file.uid() == 0 || file.uid() == user) && !is_older().unwrap_or(false)
    }

    /// What compilers say of addresses, after a look at what they wrote since.
    pub(super) fn compiled(
        &self,
        addresses: impl Iterator<Item = u64>,
    ) -> Vec<Result<Frames, Error>> {
        let mut jit = self.jit();
        self.open_jit(&mut jit);
        let read = jit.read_on();
        self.jit_bytes.store(jit.bytes(), Relaxed);
        let find = |address| match jit.frames(address) {
            Ok(frames) if frames.is_empty() => read.clone().map(|()| frames),
            found => found,
        };
        addresses.map(find).collect()
    }

    /// Forgets what was read of its compiled functions, and returns how many bytes they took: none where they are in use just now.
    fn forget_compiled(&self) -> usize {
        let Some(mut jit) = self.try_jit() else {
            return 0;
        };
        jit.forget();
        self.jit_bytes.swap(jit.bytes(), Relaxed)
    }

    pub(super) fn jit(&self) -> MutexGuard<'_, JitCode> {
        self.jit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Self::jit`], but not where that had to wait.
    fn try_jit(&self) -> Option<MutexGuard<'_, JitCode>> {
        match self.jit.try_lock() {
            Ok(jit) => Some(jit),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Processes {
    pub(super) fn get(&self, pid: u32) -> Option<Arc<Process>> {
        let process = Arc::clone(self.lock().get(&pid)?);
        self.note_use(&process);
        Some(process)
    }

    pub(super) fn insert(&self, process: &Arc<Process>) {
        self.note_use(process);
        let before = self.lock().insert(process.pid, Arc::clone(process));
        // Its files are closed without the lock.
        drop(before);
    }

    fn note_use(&self, process: &Process) {
        let now = self.clock.fetch_add(1, Relaxed);
        process.used.store(now, Relaxed);
    }

    /// Keeps the compiled functions of all processes within `limit` bytes, and their mappings within as many more, and returns what both
    /// take. Of the processes that are not in use those that were not asked the longest are forgotten, or only their functions
    /// where that is enough.
    ///
    /// It waits for no file that is being read: a process of which one is keeps its functions.
    pub(super) fn keep_within(&self, limit: usize, in_use: &Arc<Process>) -> usize {
        let mut all = self.all();
        let sum = |bytes: fn(&Process) -> &AtomicUsize| -> usize {
            all.iter().map(|process| bytes(process).load(Relaxed)).sum()
        };
        let mut mapped = sum(|process| &process.mapped_bytes);
        let mut compiled = sum(|process| &process.jit_bytes);
        let mut count = all.len();
        if mapped <= limit && compiled <= limit && count <= MAX_PROCESSES {
            return mapped + compiled;
        }
        all.sort_by_cached_key(|process| process.used.load(Relaxed));
        for process in &all {
            if Arc::ptr_eq(process, in_use) {
                continue;
            }
            if mapped > limit || count > MAX_PROCESSES {
                self.forget(process);
                mapped = mapped.saturating_sub(process.mapped_bytes.load(Relaxed));
                compiled = compiled.saturating_sub(process.jit_bytes.load(Relaxed));
                count -= 1;
            } else if compiled > limit {
                compiled = compiled.saturating_sub(process.forget_compiled());
            } else {
                break;
            }
        }
        mapped + compiled
    }

    /// Forgets processes that are gone.
    pub(crate) fn forget_ended(&self) {
        let mut ended = self.all();
        ended.retain(|process| started(process.pid) != Some(process.identity.started));
        for process in &ended {
            self.forget(process);
        }
    }

    /// Forgets a process. Its files are closed when the last one who has it lets go of it.
    fn forget(&self, process: &Arc<Process>) {
        let mut seen = self.lock();
        if let Some(known) = seen.get(&process.pid)
            && Arc::ptr_eq(known, process)
        {
            seen.remove(&process.pid);
        }
    }

    fn all(&self) -> Vec<Arc<Process>> {
        self.lock().values().cloned().collect()
    }

    /// Never held while anything is read.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Process>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Opening what was mapped, once for each file.

use std::{
    fs::{File, Metadata},
    io,
    num::NonZeroUsize,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lru::LruCache;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, open, openat, openat2};

use super::Mapped;

/// After so long a file that was seen is looked at again: what was written over, or has the inode number of one that is gone, is a new file.
const RECHECK: Duration = Duration::from_secs(60);

/// Why a mapped file could not be opened. It is not remembered, and so tried again when another process maps it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither by the mapping nor by the path: most often the process has ended.
    #[error(
        "opening {path} as process {pid} has it mapped: {error}; the process may have ended, or CAP_SYS_PTRACE and CAP_SYS_ADMIN (CAP_CHECKPOINT_RESTORE from 5.9 on) are wanting"
    )]
    Open {
        /// Which process.
        pid: u32,
        /// Its path there.
        path: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// What is there now is another file, or none that has bytes to read.
    #[error("{path}, as process {pid} has it mapped, is another file by now")]
    Changed {
        /// Which process.
        pid: u32,
        /// Its path there.
        path: String,
    },
}

/// Which files were seen. A file is known by what the kernel says of a mapping, and by what stat(2) says of the file itself; these may differ:
///
/// - On btrfs, each subvolume has a device number of its own for stat(2), and the mapping has the file system's.
/// - On overlayfs, a mapping names the file of the layer below or the overlay's own, by the kernel's version, and /proc/PID/maps may differ in this from the perf events; stat(2) says the overlay's
///   device, another for each container, and the lower file's inode number. So there a file is known by its inode number, size, times and build id, without the device: containers of one image share
///   it, as they share the inode that a probe belongs to. A copy that a container has made its own has another time of change.
///
/// One file can still be given out twice: when it was forgotten (see [`Files::new`]), or when its owner or link count changed. What is done with it then has to bear that: a probe that
/// files what it notes under a thread, and takes it away at the return, counts a call once however many probes there are.
#[derive(Debug)]
pub struct Files {
    mapped: LruCache<Key, Seen>,
    files: LruCache<Arc<Identity>, ()>,
}

/// What a mapping says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: (u32, u32),
    inode: u64,
}

#[derive(Debug)]
struct Seen {
    generation: Option<u64>,
    checked: Instant,
    identity: Arc<Identity>,
}

/// What stat(2) says of a file. The time of its last change, which nobody can set, tells an inode from the one that had its number before, and a file
/// from what is written over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: Option<u64>,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    build_id: Option<Vec<u8>>,
}

impl Files {
    /// Remembers up to `capacity` files, about 400 bytes each; the one that was not mapped for the longest time is forgotten first.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            mapped: LruCache::new(capacity),
            files: LruCache::new(capacity),
        }
    }

    /// The file of a mapping if it was not seen before, open for reading. It is a regular file; for a probe its name is `/proc/self/fd/N`, wherever it is.
    ///
    /// To be called on a thread that may wait: a file system in user space or on the net answers when it likes.
    ///
    /// # Errors
    /// When it can't be opened. It counts as not seen then.
    pub fn first_sight(&mut self, mapped: &Mapped<'_>) -> Result<Option<File>, OpenError> {
        self.first_sight_at(mapped, Instant::now())
    }

    fn first_sight_at(
        &mut self,
        mapped: &Mapped<'_>,
        now: Instant,
    ) -> Result<Option<File>, OpenError> {
        let key = Key {
            device: mapped.device,
            inode: mapped.inode,
        };
        let known = self.mapped.get(&key).filter(|seen| {
            let same = match (seen.generation, mapped.generation) {
                (Some(before), Some(now)) => before == now,
                _ => true,
            };
            same && now.saturating_duration_since(seen.checked) < RECHECK
        });
        // What is mapped again and again is remembered, also by its name for stat(2).
        if let Some(seen) = known
            && self.files.get(&seen.identity).is_some()
        {
            return Ok(None);
        }
        let (file, identity) = opened(mapped)?;
        let identity = Arc::new(identity);
        let seen = Seen {
            generation: mapped.generation,
            checked: now,
            identity: Arc::clone(&identity),
        };
        self.mapped.put(key, seen);
        let is_new = self.files.put(identity, ()).is_none();
        Ok(is_new.then_some(file))
    }
}

/// Opens the file of a mapping: by the mapping itself, which also finds what was deleted, or what is on a mount that is hidden by another; else by its path.
fn opened(mapped: &Mapped<'_>) -> Result<(File, Identity), OpenError> {
    let pid = mapped.pid;
    let path = || String::from_utf8_lossy(mapped.path).into_owned();
    let io_error = |error: io::Error| OpenError::Open {
        pid,
        path: path(),
        error,
    };
    let open_error = |error: rustix::io::Errno| io_error(error.into());
    let end = mapped.address.saturating_add(mapped.length);
    let range = format!("/proc/{pid}/map_files/{:x}-{end:x}", mapped.address);
    // O_PATH opens nothing yet: a device would take notice of being opened.
    let place = openat(CWD, range, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .or_else(|_| in_root(Path::new(&format!("/proc/{pid}/root")), mapped.path))
        .map_err(open_error)?;
    let place = File::from(place);
    let stat = place.metadata().map_err(io_error)?;
    if !stat.is_file() {
        return Err(OpenError::Changed { pid, path: path() });
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open(
        format!("/proc/self/fd/{}", place.as_raw_fd()),
        flags,
        Mode::empty(),
    )
    .map_err(open_error)?;
    let file = File::from(file);
    let on_overlay = is_overlay(&place);
    // An overlay may number its inodes anew; all others keep the number, if perhaps not the device.
    if !on_overlay && stat.ino() != mapped.inode {
        return Err(OpenError::Changed { pid, path: path() });
    }
    let identity = identity(&file, &stat, on_overlay);
    Ok((file, identity))
}

/// A path as seen from a root: no symbolic link leads out of it.
fn in_root(root: &Path, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let root = open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    openat2(
        &root,
        Path::new(std::ffi::OsStr::from_bytes(path)),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )
}

fn is_overlay(file: &File) -> bool {
    /// `OVERLAYFS_SUPER_MAGIC`.
    const OVERLAY: u32 = 0x794c_7630;
    fstatfs(file.as_fd()).is_ok_and(|stat| u32::try_from(stat.f_type) == Ok(OVERLAY))
}

fn identity(file: &File, stat: &Metadata, on_overlay: bool) -> Identity {
    let build_id = if on_overlay {
        // Images that are made reproducibly have the same times for all files.
        fathom_symbolizer::build_id(file, "").ok().flatten()
    } else {
        None
    };
    Identity {
        device: (!on_overlay).then_some(stat.dev()),
        inode: stat.ino(),
        size: stat.size(),
        modified: (stat.mtime(), stat.mtime_nsec()),
        changed: (stat.ctime(), stat.ctime_nsec()),
        build_id,
    }
}

#[cfg(test)]
mod tests;

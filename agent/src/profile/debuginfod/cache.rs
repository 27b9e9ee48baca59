//! Debug files on disk: `FOLDER/BUILDID/debuginfo`, as elfutils' client keeps them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use anyhow::Context as _;

const NAME: &str = "debuginfo";

/// A folder of debug files.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    /// Tells files apart that are still being written.
    next: AtomicU64,
}

impl Cache {
    pub(super) fn new(folder: PathBuf, limit: u64) -> Self {
        Self {
            folder,
            limit,
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn open(&self, build_id: &str) -> Option<File> {
        let file = File::open(self.folder.join(build_id).join(NAME)).ok()?;
        // An empty file is how elfutils notes that there is none.
        if file.metadata().ok()?.len() == 0 {
            return None;
        }
        // Its time says that it was used; where it can't be set, the file goes sooner.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// Removes what was not used the longest until the rest is within the limit.
    fn prune(&self, keep: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path().join(NAME);
            if let Ok(metadata) = fs::metadata(&path) {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if bytes <= self.limit || path == keep {
                continue;
            }
            fs::remove_file(&path)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// A file that is being fetched. What is not completed is removed.
pub(super) struct Incomplete<'a> {
    cache: &'a Cache,
    file: File,
    path: PathBuf,
    place: PathBuf,
}

impl<'a> Incomplete<'a> {
    pub(super) fn new(cache: &'a Cache, build_id: &str) -> anyhow::Result<Self> {
        let folder = cache.folder.join(build_id);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let number = cache.next.fetch_add(1, Relaxed);
        let path = folder.join(format!(".{NAME}.{}.{number}", process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            cache,
            file,
            path,
            place: folder.join(NAME),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Puts it in its place, whole.
    pub(super) fn complete(self) -> anyhow::Result<File> {
        fs::rename(&self.path, &self.place)
            .with_context(|| format!("cannot write {}", self.place.display()))?;
        self.cache
            .prune(&self.place)
            .with_context(|| format!("cannot tidy {}", self.cache.folder.display()))?;
        Ok(self.file.try_clone()?)
    }
}

impl Drop for Incomplete<'_> {
    fn drop(&mut self) {
        // Of a completed one nothing has this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

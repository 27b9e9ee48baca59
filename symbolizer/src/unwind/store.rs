//! Tables on disk, so that a file is converted once on a machine and not once in each process's life.
//!
//! A stored table is found by the file's build id, and taken only for a file that also has the same length and the same first
//! bytes: tools that edit a file leave its build id as it is. What is read is not trusted: the entry belongs to this process's
//! user or to root and nobody else may write it, its checksum is right, it was written by this version, and every page, row and
//! rule in it is one that a conversion could have made. Anything else is as good as no entry, and is written anew.
//!
//! Several processes may share a folder: an entry is written beside its place and then moved there.

mod format;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use super::{Conversion, Page, Rules, Table, convert_file};
use crate::{
    Error,
    elf::{build_id, source::Source},
    process::O_NONBLOCK,
};

/// The most bytes of one entry: a row for each byte of 64 MiB of text.
const MAX_ENTRY: u64 = 256 << 20;
/// What is compared of a file beside its build id and its length: the ELF header and, where linkers put them, the program
/// headers.
const HEAD: u64 = 4096;
/// How old what is written beside its place must be to be left over.
const LEFT_OVER: Duration = Duration::from_secs(600);
/// Who may write an entry: its owner alone.
const OTHERS_WRITE: u32 = 0o022;

/// A folder of stored tables.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    limit: u64,
    user: u32,
    written: AtomicU64,
}

/// Where a table came from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Origin {
    /// From the store.
    Stored,
    /// From the file, and it is in the store now.
    Converted,
    /// From the file, which has no build id to find it by.
    Nameless,
    /// From the file; the store could not take it.
    NotStored(Error),
}

impl Store {
    /// Opens a folder, and makes it where it is not there. `limit` is the most bytes that its entries may have all together: the
    /// ones that were not used for longest make room.
    ///
    /// # Errors
    /// When it can't be made or looked at, or when others than its owner may write to it.
    pub fn open(folder: impl Into<PathBuf>, limit: u64) -> Result<Self, Error> {
        let folder = folder.into();
        let name = folder.to_string_lossy().into_owned();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(Error::read(&name, "the folder of unwind tables"))?;
        let metadata = fs::metadata(&folder).map_err(Error::read(&name, "its owner"))?;
        // proc(5): the files of a process belong to its effective user.
        let own = fs::metadata("/proc/self").map_err(Error::read("/proc/self", "its owner"))?;
        let store = Self {
            folder,
            limit,
            user: own.uid(),
            written: AtomicU64::new(0),
        };
        if !store.is_safe(&metadata) {
            return Err(Error::Unsafe { file: name });
        }
        Ok(store)
    }

    /// As [`convert_file`], with the table out of the store where it is there, and into it where it is not.
    ///
    /// # Errors
    /// As [`convert_file`]. What is wrong with the store is none of this file: see [`Origin::NotStored`].
    pub fn convert_file(
        &self,
        file: &File,
        name: &str,
        limit: usize,
        rules: &mut Rules,
        mut sink: impl FnMut(Page<'_>),
    ) -> Result<(Conversion, Origin), Error> {
        let Some(key) = Key::of(file, name)? else {
            let conversion = convert_file(file, name, limit, rules, sink)?;
            return Ok((conversion, Origin::Nameless));
        };
        if let Some(conversion) = self.load(&key, rules, &mut sink) {
            return Ok((conversion, Origin::Stored));
        }
        let mut table = Table::default();
        let conversion = convert_file(file, name, limit, rules, |page| {
            table.push(page);
            sink(page);
        })?;
        let origin = match self.save(&key, &conversion, &table, rules) {
            Ok(()) => Origin::Converted,
            Err(error) => Origin::NotStored(error),
        };
        Ok((conversion, origin))
    }

    /// Hands on the pages of an entry, if there is one that may be trusted. None of them before all are looked through.
    fn load(
        &self,
        key: &Key,
        rules: &mut Rules,
        sink: &mut impl FnMut(Page<'_>),
    ) -> Option<Conversion> {
        let path = self.path(key);
        // Were a pipe put in its place, this does not wait for its other end.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK | O_NOFOLLOW)
            .open(&path)
            .ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || !self.is_safe(&metadata) || metadata.len() > MAX_ENTRY {
            return None;
        }
        let mut bytes = Vec::new();
        (&file).take(MAX_ENTRY).read_to_end(&mut bytes).ok()?;
        let entry = format::Entry::read(&bytes, key)?;
        let table = entry.table(rules);
        for page in table.pages() {
            sink(page);
        }
        // When it was used last. It may be another's.
        let _ = file.set_modified(SystemTime::now());
        Some(entry.conversion)
    }

    fn save(
        &self,
        key: &Key,
        conversion: &Conversion,
        table: &Table,
        rules: &Rules,
    ) -> Result<(), Error> {
        let bytes = format::write(key, conversion, table, rules);
        let size = bytes.len() as u64;
        let path = self.path(key);
        let shown = path.to_string_lossy().into_owned();
        if size > self.limit.min(MAX_ENTRY) {
            return Err(Error::TooLarge {
                file: shown,
                what: "its unwind table",
                size,
                limit: usize::try_from(self.limit.min(MAX_ENTRY)).unwrap_or(usize::MAX),
            });
        }
        self.make_room(size)
            .map_err(Error::read(&shown, "what else is stored"))?;
        let number = self.written.fetch_add(1, Relaxed);
        let beside = path.with_extension(format!("{}-{number}.new", process::id()));
        let written = write(&beside, &bytes).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|cause| {
            let _ = fs::remove_file(&beside);
            Error::Write {
                file: shown,
                cause: Arc::new(cause),
            }
        })
    }

    /// Removes the entries that were not used for longest until there is room for another.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Another process may remove it meanwhile.
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let used = metadata.modified()?;
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_old = now.duration_since(used).is_ok_and(|age| age > LEFT_OVER);
            match extension {
                Some(EXTENSION) => entries.push((used, metadata.len(), path)),
                Some("new") if is_old => fs::remove_file(&path)?,
                _ => {}
            }
        }
        entries.sort_unstable();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, freed, path) in entries {
            if total.saturating_add(size) <= self.limit {
                break;
            }
            fs::remove_file(&path)?;
            total -= freed;
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex: String = key
            .build_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.folder.join(hex).with_extension(EXTENSION)
    }

    /// Whether only this process's user or root can have written it.
    fn is_safe(&self, metadata: &fs::Metadata) -> bool {
        let owner = metadata.uid();
        (owner == self.user || owner == 0) && metadata.mode() & OTHERS_WRITE == 0
    }
}

/// What entries are called.
const EXTENSION: &str = "unwind";

/// `O_NOFOLLOW`, which aarch64 has another number for.
const O_NOFOLLOW: i32 = if cfg!(target_arch = "aarch64") {
    0o100_000
} else {
    0o400_000
};

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)
}

/// What a stored table must be of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    build_id: Vec<u8>,
    length: u64,
    /// The checksum of its first bytes.
    head: u32,
}

impl Key {
    /// A file's; none where it has no build id.
    fn of(file: &File, name: &str) -> Result<Option<Self>, Error> {
        let Some(build_id) = build_id(file, name)? else {
            return Ok(None);
        };
        let source = Source::file(file, name, HEAD as usize)?;
        let length = source.len();
        let head = source.read("the ELF header", 0, length.min(HEAD))?;
        Ok(Some(Self {
            build_id,
            length,
            head: format::checksum(&head),
        }))
    }
}

#[cfg(test)]
mod tests;

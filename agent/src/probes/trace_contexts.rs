//! The map in which other profilers of the node find which span a thread is at work for.
//!
//! Its form is OpenTelemetry's ("Correlating Profiles to OBI Traces", `devdocs/trace-profile-correlation.md` of opentelemetry-ebpf-instrumentation): an LRU hash of at most
//! 16,384 threads, `u64` (tgid in the upper half, tid in the lower) to 16 bytes of trace id and 8 of span id, pinned as `otel/traces_ctx_v1` in a BPF file system. Whoever
//! comes first makes it. It stays when fathom ends, as others may have it open; what fathom has written does not.
//!
//! *Minimum kernel version*: 4.10 (`BPF_MAP_TYPE_LRU_HASH`).

use std::{
    fs, io,
    num::NonZeroUsize,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use aya::{
    maps::{HashMap, Map, MapData, MapError, MapType},
    pin::PinError,
};
use lru::LruCache;
use rustix::fs::statfs;

use super::fdinfo;

/// Where it lies in a BPF file system.
const FOLDER: &str = "otel";
const NAME: &str = "traces_ctx_v1";

/// How many threads it holds.
const THREADS: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();

/// A trace id, and a span id behind it.
type Value = [u8; 24];

/// Why the map can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can be pinned there.
    #[error(
        "{0} is no BPF file system: mount one there (mount -t bpf bpf {0}), or name the place where the profiler looks"
    )]
    NotBpffs(PathBuf),
    /// A file system call failed.
    #[error("{path}: {error}")]
    Io {
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The map that is there is another one.
    #[error(
        "{path} is a map of another form ({found}), not an LRU hash of 8 to 24 bytes; whoever made it speaks another version"
    )]
    OtherForm {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The kernel refused the map.
    #[error("the map {path}: {error}")]
    Map {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        error: Box<MapError>,
    },
    /// The kernel refused to keep it there.
    #[error("pinning {path}: {error}")]
    Pin {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        error: Box<PinError>,
    },
}

/// The map, and what of it is ours.
#[derive(Debug)]
pub struct TraceContexts {
    map: HashMap<MapData, u64, Value>,
    /// The span that a thread was written with.
    written: LruCache<u64, [u8; 8]>,
    bytes: u64,
}

impl TraceContexts {
    /// Opens the map in the BPF file system that is mounted at `root`, or makes it. To be called before fathom enters a mount namespace of its own, where another file
    /// system is at that place.
    ///
    /// # Errors
    /// When there is no BPF file system, what is there has another form, or the kernel refuses.
    pub fn open(root: &Path) -> Result<Self, Error> {
        if !is_bpffs(root)? {
            return Err(Error::NotBpffs(root.to_owned()));
        }
        let folder = root.join(FOLDER);
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder);
        made.map_err(io_error(&folder))?;
        let path = folder.join(NAME);
        let data = match pinned(&path)? {
            Some(data) => data,
            None => make(&path)?,
        };
        let bytes = fdinfo(data.fd().as_fd().as_raw_fd(), "memlock:");
        let map = Map::from_map_data(data).map_err(map_error(&path))?;
        let Map::LruHashMap(_) = map else {
            return Err(Error::OtherForm {
                path,
                found: "another type".to_owned(),
            });
        };
        let map = HashMap::try_from(map).map_err(map_error(&path))?;
        Ok(Self {
            map,
            written: LruCache::new(THREADS),
            bytes: bytes.unwrap_or(0),
        })
    }

    /// Bytes that it takes in the kernel.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A thread (`pid_tgid`) is at work for a span now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set(
        &mut self,
        thread: u64,
        trace_id: [u8; 16],
        span_id: [u8; 8],
    ) -> Result<(), MapError> {
        let mut value = Value::default();
        value[..16].copy_from_slice(&trace_id);
        value[16..].copy_from_slice(&span_id);
        self.map.insert(thread, value, 0)?;
        if let Some((forgotten, _)) = self.written.push(thread, span_id)
            && forgotten != thread
        {
            // Not there where the kernel has dropped it, too.
            let _ = self.map.remove(&forgotten);
        }
        Ok(())
    }

    /// A thread is at work for this span no longer. Where it is at another one by now, nothing changes.
    pub fn clear(&mut self, thread: u64, span_id: [u8; 8]) {
        if self.written.peek(&thread) == Some(&span_id) {
            self.written.pop(&thread);
            let _ = self.map.remove(&thread);
        }
    }
}

impl Drop for TraceContexts {
    fn drop(&mut self) {
        for (thread, _) in &self.written {
            let _ = self.map.remove(thread);
        }
    }
}

fn is_bpffs(path: &Path) -> Result<bool, Error> {
    /// `BPF_FS_MAGIC` of linux/magic.h.
    const BPF_FS: u32 = 0xcafe_4a11;
    let stat = statfs(path).map_err(|error| io_error(path)(error.into()))?;
    // The field's type differs by machine; the magic has 32 bits.
    Ok(stat.f_type as u32 == BPF_FS)
}

/// The map that is pinned there, if one is.
fn pinned(path: &Path) -> Result<Option<MapData>, Error> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(io_error(path)(error)),
    }
    let data = MapData::from_pin(path).map_err(map_error(path))?;
    let info = data.info().map_err(map_error(path))?;
    let kind = info.map_type().map_err(map_error(path))?;
    let form = (kind, info.key_size(), info.value_size());
    if form != (MapType::LruHash, 8, size_of::<Value>() as u32) {
        return Err(Error::OtherForm {
            path: path.to_owned(),
            found: format!("{kind:?} of {} to {} bytes", form.1, form.2),
        });
    }
    Ok(Some(data))
}

fn make(path: &Path) -> Result<MapData, Error> {
    let form = aya_obj::Map::new_from_params(
        MapType::LruHash as u32,
        8,
        size_of::<Value>() as u32,
        THREADS.get() as u32,
        0,
    );
    let data = MapData::create(form, NAME, None).map_err(map_error(path))?;
    match data.pin(path) {
        Ok(()) => Ok(data),
        Err(error) => match pinned(path)? {
            // Somebody was quicker.
            Some(theirs) => Ok(theirs),
            None => Err(Error::Pin {
                path: path.to_owned(),
                error: Box::new(error),
            }),
        },
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { path, error }
}

fn map_error(path: &Path) -> impl FnOnce(MapError) -> Error {
    let path = path.to_owned();
    move |error| Error::Map {
        path,
        error: Box::new(error),
    }
}

#[cfg(test)]
mod tests;

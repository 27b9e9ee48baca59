//! What a process has mapped, and the way to the very files that it mapped.
//!
//! `/proc/PID/maps` is described in proc_pid_maps(5); its paths belong to the process's own mount namespace.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
};

use crate::Error;

/// Names a file's inode on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The device's major and minor number.
    pub device: (u32, u32),
    /// The inode.
    pub inode: u64,
}

/// What is behind a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MappingKind {
    /// A file.
    File {
        /// Which one.
        id: FileId,
        /// Its path in the process's mount namespace.
        path: String,
        /// Whether the path was unlinked since.
        deleted: bool,
    },
    /// The kernel's code in user space (vdso(7)).
    Vdso,
    /// Memory without a file: a heap, a stack, the output of a JIT compiler.
    Anonymous {
        /// What the kernel calls it (`[heap]`, `[anon:…]`), mostly empty.
        label: String,
    },
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// Where in the file it starts.
    pub offset: u64,
    /// Whether code in it can run.
    pub executable: bool,
    /// What is behind it.
    pub kind: MappingKind,
}

impl Mapping {
    /// Whether an address lies in it.
    pub fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The offset in the file of an address that lies in it.
    pub fn file_offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.offset)
    }

    /// The file's path, `[vdso]`, or what the kernel calls it.
    pub fn name(&self) -> String {
        match &self.kind {
            MappingKind::File { path, .. } => path.clone(),
            MappingKind::Vdso => "[vdso]".to_owned(),
            MappingKind::Anonymous { label } if label.is_empty() => "[anon]".to_owned(),
            MappingKind::Anonymous { label } => label.clone(),
        }
    }
}

/// The most bytes of a maps file that are read: 65,530 lines (`vm.max_map_count`) of a usual length.
const MAX_MAPS: u64 = 16 << 20;
/// The most bytes of a vDSO.
const MAX_VDSO: u64 = 1 << 20;

/// A process's mappings, in the order of their addresses.
///
/// # Errors
/// When the process is gone or may not be looked at.
pub fn mappings(pid: u32) -> Result<Vec<Mapping>, Error> {
    let path = format!("/proc/{pid}/maps");
    let file = File::open(&path).map_err(Error::read(&path, "the file"))?;
    let mut text = Vec::new();
    file.take(MAX_MAPS)
        .read_to_end(&mut text)
        .map_err(Error::read(&path, "the file"))?;
    Ok(parse_mappings(&text))
}

/// Parses text of the form of `/proc/PID/maps`. Lines of another form are left out.
pub fn parse_mappings(text: &[u8]) -> Vec<Mapping> {
    text.split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (device, rest) = rest.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let mapping = Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        kind: kind(
            FileId {
                device: (
                    u32::try_from(hex(major)?).ok()?,
                    u32::try_from(hex(minor)?).ok()?,
                ),
                inode: inode.parse().ok()?,
            },
            path.trim_start_matches(' '),
        ),
    };
    (mapping.start < mapping.end).then_some(mapping)
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn kind(id: FileId, path: &str) -> MappingKind {
    if path == "[vdso]" {
        return MappingKind::Vdso;
    }
    // Shared anonymous memory has an inode of a file system that no path leads to (`/dev/zero (deleted)`, memfds):
    // it is a file all the same, which /proc/PID/map_files reaches.
    if id.inode == 0 || !path.starts_with('/') {
        return MappingKind::Anonymous {
            label: path.to_owned(),
        };
    }
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    MappingKind::File {
        id,
        // The kernel escapes a newline as `\012`; nothing else (seq_path with "\n").
        path: path.replace("\\012", "\n"),
        deleted,
    }
}

/// Opens the very file that a process mapped: through `/proc/PID/map_files`, which also leads to a file that was
/// unlinked or replaced, and without the right to that (`CAP_CHECKPOINT_RESTORE`) through `/proc/PID/root`.
///
/// # Errors
/// When nothing regular is behind the mapping, when the process is gone or out of reach, or when the path leads to
/// another file by now.
pub fn open_mapped(pid: u32, mapping: &Mapping) -> Result<File, Error> {
    let MappingKind::File { id, path, deleted } = &mapping.kind else {
        return Err(Error::NotRegular {
            file: mapping.name(),
        });
    };
    let exact = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    );
    match open_regular(&exact) {
        Ok(file) => return Ok(file),
        Err(error @ Error::NotRegular { .. }) => return Err(error),
        Err(error) if *deleted => return Err(error),
        Err(_) => {}
    }
    let by_path = format!("/proc/{pid}/root{path}");
    let file = open_regular(&by_path)?;
    let metadata = file
        .metadata()
        .map_err(Error::read(&by_path, "its inode"))?;
    // On overlayfs and btrfs the device that stat(2) gives is another than the one in maps; the inode is the same.
    if metadata.ino() != id.inode {
        return Err(Error::Replaced { file: by_path });
    }
    Ok(file)
}

/// Opens a regular file. Anything else is looked at only with stat(2): to open a device can do things.
pub(crate) fn open_regular(path: &str) -> Result<File, Error> {
    let not_regular = || Error::NotRegular {
        file: path.to_owned(),
    };
    if !fs::metadata(path)
        .map_err(Error::read(path, "its kind"))?
        .is_file()
    {
        return Err(not_regular());
    }
    // Were a pipe put in its place meanwhile, this does not wait for its other end.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .map_err(Error::read(path, "the file"))?;
    if !file
        .metadata()
        .map_err(Error::read(path, "its kind"))?
        .is_file()
    {
        return Err(not_regular());
    }
    Ok(file)
}

/// `O_NONBLOCK` of asm-generic/fcntl.h: the same on x86-64, aarch64 and riscv64.
pub(crate) const O_NONBLOCK: i32 = 0o4000;

/// The image of a process's vDSO, for [`crate::Symbolizer::open_image`].
///
/// # Errors
/// When the process is gone or its memory may not be read.
pub fn read_vdso(pid: u32, mapping: &Mapping) -> Result<Vec<u8>, Error> {
    let path = format!("/proc/{pid}/mem");
    let size = mapping.end.saturating_sub(mapping.start).min(MAX_VDSO);
    let mut image = vec![0; usize::try_from(size).unwrap_or(0)];
    let file = File::open(&path).map_err(Error::read(&path, "the vDSO"))?;
    file.read_exact_at(&mut image, mapping.start)
        .map_err(Error::read(&path, "the vDSO"))?;
    Ok(image)
}

pub(crate) mod status;

#[cfg(test)]
mod tests;

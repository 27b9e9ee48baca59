//! A file whose process is gone, by its path.

use std::{
    fs::File,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use fathom_symbolizer::open_in;
use rustix::fs::{fstatfs, major, minor};

use crate::profile::spaces::MappedFile;

/// `OVERLAYFS_SUPER_MAGIC` and `BTRFS_SUPER_MAGIC` (include/uapi/linux/magic.h): on these the device that stat(2) says is another than the one that the
/// kernel says of a mapping, and the inode's number the same.
const DEVICE_DIFFERS: [u32; 2] = [0x794c_7630, 0x9123_683e];

/// `FS_IOC_GETVERSION` (include/uapi/linux/fs.h), `_IOR('v', 1, long)`: an inode's generation, as an int all the same.
const GET_GENERATION: libc::c_ulong = 0x8008_7601;

/// Looks for a file in the mount namespaces of `relatives`, in its own, and in that of the first process. Returns it with the process in whose root it
/// was found. Only the very file that was mapped will do.
pub(super) fn open(wanted: &MappedFile, relatives: &[u32]) -> Option<(File, u32)> {
    if wanted.is_deleted {
        return None;
    }
    let own = std::process::id();
    let roots = relatives.iter().copied().chain([own, 1]);
    for pid in roots {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        if let Ok(file) = open_in(&root, Path::new(&*wanted.path))
            && is_the_one(&file, wanted)
        {
            return Some((file, pid));
        }
    }
    None
}

fn is_the_one(file: &File, wanted: &MappedFile) -> bool {
    let Ok(metadata) = file.metadata() else {
        return false;
    };
    if metadata.ino() != wanted.id.inode {
        return false;
    }
    let device = (major(metadata.dev()), minor(metadata.dev()));
    if device != wanted.id.device {
        let kind = fstatfs(file.as_fd()).ok();
        let kind = kind.and_then(|stat| u32::try_from(stat.f_type).ok());
        return kind.is_some_and(|kind| DEVICE_DIFFERS.contains(&kind));
    }
    match (wanted.generation, generation(file)) {
        // The kernel says 64 bits of a mapping, and as many as the file system has here.
        (Some(mapped), Some(here)) => mapped as u32 == here,
        _ => true,
    }
}

/// An inode's generation; not every file system says it.
fn generation(file: &File) -> Option<u32> {
    // As wide as the number of the call says, though file systems write an int.
    let mut generation: libc::c_long = 0;
    // SAFETY: the descriptor is open, and the kernel writes at most a long there.
    let said = unsafe { libc::ioctl(file.as_raw_fd(), GET_GENERATION as _, &raw mut generation) };
    (said == 0).then_some(generation as u32)
}

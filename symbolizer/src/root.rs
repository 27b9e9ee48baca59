//! Files as a process sees them: no symbolic link leads out of its root.

use std::{
    fs::{File, Metadata},
    os::fd::AsRawFd as _,
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::Error;

/// Opens a regular file by its path in the mount namespace that `root` is the root of: `/`, or `/proc/PID/root`.
///
/// A symbolic link of a container leads to where it leads there (`openat2(2)`, `RESOLVE_IN_ROOT`, Linux 5.6). Anything but a
/// regular file is only looked at: to open a device can do things.
///
/// # Errors
/// When nothing is there, it may not be read, or it is no regular file.
pub fn open_in(root: &Path, path: &Path) -> Result<File, Error> {
    let (place, metadata) = find_in(root, path)?;
    if !metadata.is_file() {
        return Err(Error::NotRegular {
            file: shown(root, path),
        });
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let again = format!("/proc/self/fd/{}", place.as_raw_fd());
    open(again, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| Error::read(&shown(root, path), "the file")(error.into()))
}

/// What is at a path that is found as [`open_in`] finds it, which is looked at and not opened.
///
/// # Errors
/// When nothing is there, or it is out of reach.
pub(crate) fn find_in(root: &Path, path: &Path) -> Result<(File, Metadata), Error> {
    let failed =
        |error: rustix::io::Errno| Error::read(&shown(root, path), "the file")(error.into());
    let directory = open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let place = openat2(
        &directory,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )
    .map_err(failed)?;
    let place = File::from(place);
    let metadata = place
        .metadata()
        .map_err(Error::read(&shown(root, path), "its kind"))?;
    Ok((place, metadata))
}

/// The path as it is from here.
fn shown(root: &Path, path: &Path) -> String {
    let path = root.join(path.strip_prefix("/").unwrap_or(path));
    path.to_string_lossy().into_owned()
}

//! A mount namespace of fathom's own.
//!
//! The syscall tap needs tracefs and objects share maps through bpffs; neither is mounted everywhere. In a namespace of
//! its own fathom mounts what it needs, and everything vanishes with the process, also after a SIGKILL.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::UnshareFlags,
};

/// Where the objects' shared maps are pinned.
const PINS: &str = "/sys/fs/bpf";

const TRACEFS: &str = "/sys/kernel/tracing";

/// What could not be made; what needs it is off.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what}: {error}; it needs CAP_SYS_ADMIN, and in a container a profile that allows mount(2)"
)]
pub struct Error {
    what: &'static str,
    error: rustix::io::Errno,
}

/// Moves this thread, and all that it will start, into a mount namespace of its own with tracefs and bpffs in it.
/// To be called before any other thread exists.
///
/// # Errors
/// Without the privileges that it takes.
pub fn enter() -> Result<(), Error> {
    let failed = |what| move |error| Error { what, error };
    // SAFETY: only the mount namespace is unshared, no memory or descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(failed("making a mount namespace"))?;
    // Not private: what the host unmounts later has to go here, too, or fathom would keep the file system busy.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(failed("keeping the mounts from the host"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if !has_entries(TRACEFS) {
        mount("tracefs", TRACEFS, "tracefs", flags, None).map_err(failed("mounting tracefs"))?;
    }
    mount("bpf", PINS, "bpf", flags, None).map_err(failed("mounting bpffs"))
}

/// The maps that the `net` object fills for samplers: who serves which exchange, and which processes are Go programs.
pub const SHARED: [&str; 2] = ["ACTIVE", "GO_PROCESSES"];

/// Where such a map is pinned.
pub fn pin(map: &str) -> PathBuf {
    Path::new(PINS).join(map)
}

fn has_entries(folder: &str) -> bool {
    fs::read_dir(Path::new(folder)).is_ok_and(|mut entries| entries.next().is_some())
}

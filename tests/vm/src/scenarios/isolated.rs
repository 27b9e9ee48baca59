//! A network and a resolver's configuration of a test's own.

use std::{fs, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::UnshareFlags,
};

/// Moves this process into a network namespace with nothing but a loopback device that is up, and into a mount namespace whose /etc says how names
/// are looked up, and nothing else. To be called before any other thread exists.
pub fn enter(resolv_conf: &str) -> Result<()> {
    // SAFETY: namespaces are unshared, no memory or descriptor.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }
        .context("cannot make namespaces")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .or_else(|error| match error {
        // A guest's first root is no mount that can be private; nobody shares it.
        rustix::io::Errno::INVAL => Ok(()),
        other => Err(other),
    })?;
    mount("tmpfs", "/etc", "tmpfs", MountFlags::NOSUID, None).context("cannot hide /etc")?;
    fs::write("/etc/resolv.conf", resolv_conf)?;
    fs::write("/etc/nsswitch.conf", "hosts: dns\n")?;
    loopback_up()
}

fn loopback_up() -> Result<()> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: a request of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = libc::c_char::try_from(b'l')?;
    request.ifr_name[1] = libc::c_char::try_from(b'o')?;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP)?;
    // SAFETY: SIOCSIFFLAGS reads a `struct ifreq`, which this is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot set the loopback up");
    }
    Ok(())
}

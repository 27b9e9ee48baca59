//! A TUN device: what is routed to it is read from its file as IP packets, and what is written arrives from it
//! (Documentation/networking/tuntap.rst).

use std::{fs::File, os::fd::AsFd as _};

use anyhow::{Context as _, Result};
use rustix::ioctl::{Setter, ioctl, opcode};

/// `TUNSETIFF` (include/uapi/linux/if_tun.h).
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);

/// `IFF_TUN | IFF_NO_PI`: packets of layer 3, and nothing before them.
const PACKETS: u16 = 0x0001 | 0x1000;

/// `IFF_TAP | IFF_NO_PI`: frames of layer 2.
const FRAMES: u16 = 0x0002 | 0x1000;

/// `sizeof(struct ifreq)`, and where its flags are, behind the name.
const REQUEST: usize = 40;
const FLAGS: usize = 16;

/// What a device carries.
#[derive(Clone, Copy, Debug)]
pub enum Carries {
    /// IP packets.
    Packets,
    /// Ethernet frames.
    Frames,
}

/// Why there can be no such device here; none when there can.
pub fn missing() -> Option<String> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .err()
        .map(|error| format!("no /dev/net/tun (CONFIG_TUN): {error}"))
}

/// Makes the device `name` in the calling thread's network namespace; it goes with the file.
pub fn create(name: &str, carries: Carries) -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun (CONFIG_TUN)")?;
    let mut request = [0_u8; REQUEST];
    // The name's last byte stays 0.
    for (to, from) in request[..FLAGS - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let flags = match carries {
        Carries::Packets => PACKETS,
        Carries::Frames => FRAMES,
    };
    request[FLAGS..FLAGS + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads, and may write, one struct ifreq, of which `request` has the size; it is plain bytes of any value.
    unsafe {
        ioctl(
            file.as_fd(),
            Setter::<TUNSETIFF, [u8; REQUEST]>::new(request),
        )
    }
    .with_context(|| format!("cannot make the TUN device {name}"))?;
    Ok(file)
}

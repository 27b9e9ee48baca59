//! What a scenario is given: the agent to test, how much to do, a folder of its own, and a place for what it finds.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, socket_with},
};
use tempfile::TempDir;

/// What every scenario is given.
pub struct Context {
    /// The binary under test.
    pub fathom: PathBuf,
    /// The tap that the agent is told to use.
    pub tap: Option<String>,
    /// How much of the full amount of work is done: 1 natively, less in an emulated guest.
    pub scale: f64,
    /// How much longer than natively things may take.
    pub patience: u32,
    /// Where the compiled test programs lie.
    pub programs: PathBuf,
    /// Whether a scenario that makes a part of the documentation writes it.
    pub write_docs: bool,
    dir: TempDir,
    facts: BTreeMap<String, serde_json::Value>,
}

impl Context {
    /// A context with an empty folder of its own.
    pub fn new(
        fathom: PathBuf,
        tap: Option<String>,
        scale: f64,
        patience: u32,
        programs: PathBuf,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("fathom-scenario-")
            .tempdir()
            .context("cannot create a temporary folder")?;
        Ok(Self {
            fathom,
            tap,
            scale,
            patience,
            programs,
            write_docs: false,
            dir,
            facts: BTreeMap::new(),
        })
    }

    /// The folder of this scenario; it goes with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `full` scaled down, and never below `least`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an amount of work, at most some hundred thousand and never negative"
    )]
    pub fn scaled(&self, full: u64, least: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(least)
    }

    /// Notes something that was counted or measured.
    pub fn fact(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// All that was noted.
    pub fn into_facts(self) -> BTreeMap<String, serde_json::Value> {
        self.facts
    }
}

/// Ports from which no outgoing connection takes one (`net.ipv4.ip_local_port_range` is 32768 to 60999), and few programs listen on.
const PORTS: std::ops::Range<u32> = 15_000..30_000;

/// Binds a socket that does not ask for a port that may still be in TIME_WAIT (SO_REUSEADDR), as the standard library's listeners do.
fn bind_alone(address: SocketAddr) -> rustix::io::Result<()> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address)
}

/// A TCP port that is free at this moment on both loopback addresses, another one each time.
pub fn free_port() -> Result<u16> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // Scenarios that run at the same time start at different places.
    let start = std::process::id().wrapping_mul(97);
    let count = PORTS.end - PORTS.start;
    for _ in 0..count {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(PORTS.start + start.wrapping_add(asked) % count)?;
        let is_free = |address: IpAddr| match bind_alone((address, port).into()) {
            Ok(()) => true,
            // No IPv6 here.
            Err(error) => matches!(error, Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT),
        };
        if is_free(Ipv4Addr::LOCALHOST.into()) && is_free(Ipv6Addr::LOCALHOST.into()) {
            return Ok(port);
        }
    }
    bail!("no free port from {} to {}", PORTS.start, PORTS.end)
}

//! Two network namespaces, and a relay between them that takes its time and loses what it is told to.
//!
//! netem is not in every kernel; TUN devices and a thread that copies packets are. Which address of the server's side is spoken to says what the relay does.

mod packet;
pub mod tun;

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    time::Timespec,
};

use self::{packet::Packet, tun::Carries};
use crate::namespace::{Namespace, ip, set};

/// The client's side.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
/// The client's side, IPv6.
pub const CLIENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1));

/// The server's side: everything arrives, late.
pub const PLAIN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
/// The same, IPv6.
pub const PLAIN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));
/// In each direction every seventh segment with data is lost.
pub const LOSSY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3));
/// Nothing arrives, and nobody says so.
pub const SILENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 4));
/// Nothing arrives, and the answer is that the host can't be reached.
pub const UNREACHABLE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 5));
/// Nothing arrives while the relay is told to stall.
pub const STALLING: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 6));

/// One of so many segments is lost on the way to and from [`LOSSY`].
const LOST: u32 = 7;

/// How often a quiet relay looks whether it is to end.
const IDLE: Duration = Duration::from_millis(50);

/// A running relay.
pub struct Relay {
    /// The side with the addresses [`CLIENT`] and [`CLIENT_V6`].
    pub client: Namespace,
    /// The other side.
    pub server: Namespace,
    state: Arc<State>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct State {
    stalled: AtomicBool,
    ended: AtomicBool,
}

impl Relay {
    /// Starts one by which each packet is on its way for `delay`.
    pub fn start(delay: Duration) -> Result<Self> {
        let (client, server) = (Namespace::create()?, Namespace::create()?);
        let far = [PLAIN, LOSSY, SILENT, UNREACHABLE, STALLING, PLAIN_V6];
        let ends = [
            client.within(|| device(&[CLIENT, CLIENT_V6]))?,
            server.within(|| device(&far))?,
        ];
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || Line::new(ends, delay).carry(&shared))?;
        Ok(Self {
            client,
            server,
            state,
            thread: Some(thread),
        })
    }

    /// Lets nothing more through to and from [`STALLING`], or lets it through again.
    pub fn stall(&self, stalled: bool) {
        self.state.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Ends it; an error where it could not go on before.
    pub fn stop(mut self) -> Result<()> {
        self.state.ended.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended.context("the relay"),
            Some(Err(_)) => anyhow::bail!("the relay panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it could not do is said by `stop`; here there is an error already.
            let _ = thread.join();
        }
    }
}

/// The device of a side, in the calling thread's namespace, with its addresses, up.
fn device(addresses: &[IpAddr]) -> Result<File> {
    let file = tun::create("tun0", Carries::Packets)?;
    rustix::io::ioctl_fionbio(&file, true)?;
    for address in addresses {
        match address {
            IpAddr::V4(_) => ip(&format!("addr add {address}/24 dev tun0"))?,
            IpAddr::V6(_) => ip(&format!("-6 addr add {address}/64 dev tun0"))?,
        }
    }
    ip("link set tun0 up")?;
    // Two tries, so that a connect which nobody answers ends within seconds.
    set("ipv4/tcp_syn_retries", "1")?;
    Ok(file)
}

/// What is under way, and the two devices.
struct Line {
    ends: [File; 2],
    delay: Duration,
    /// The same delay for all: first in, first out.
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
    /// Segments with data to and from [`LOSSY`], in each direction.
    segments: [u32; 2],
}

impl Line {
    fn new(ends: [File; 2], delay: Duration) -> Self {
        Self {
            ends,
            delay,
            under_way: VecDeque::new(),
            segments: [0; 2],
        }
    }

    fn carry(mut self, state: &State) -> Result<()> {
        let mut packet = vec![0; 1 << 16];
        while !state.ended.load(Ordering::Relaxed) {
            self.wait()?;
            for from in 0..2 {
                while let Some(length) = read(&mut self.ends[from], &mut packet)? {
                    self.take(from, &packet[..length], state);
                }
            }
            self.deliver()?;
        }
        Ok(())
    }

    /// Until a packet comes, or the next one is due.
    fn wait(&self) -> Result<()> {
        let due = self.under_way.front().map_or(IDLE, |(due, ..)| {
            due.saturating_duration_since(Instant::now()).min(IDLE)
        });
        let mut files = [&self.ends[0], &self.ends[1]].map(|end| PollFd::new(end, PollFlags::IN));
        match poll(&mut files, Some(&Timespec::try_from(due)?)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a packet in from one end, or loses it.
    fn take(&mut self, from: usize, bytes: &[u8], state: &State) {
        let Some(packet) = packet::read(bytes) else {
            return;
        };
        let due = Instant::now() + self.delay;
        match self.fate(from, &packet, state) {
            Fate::Arrives => self.under_way.push_back((due, 1 - from, bytes.to_vec())),
            Fate::Lost => {}
            Fate::Unreachable => {
                if let Some(answer) = packet::host_unreachable(bytes) {
                    self.under_way.push_back((due, from, answer));
                }
            }
        }
    }

    fn fate(&mut self, from: usize, packet: &Packet, state: &State) -> Fate {
        // What goes to the client comes from one of the server's addresses.
        let far = if from == 0 { packet.to } else { packet.from };
        if far == SILENT || (far == STALLING && state.stalled.load(Ordering::Relaxed)) {
            return Fate::Lost;
        }
        if far == UNREACHABLE {
            return Fate::Unreachable;
        }
        if far == LOSSY && packet.data > 0 {
            self.segments[from] += 1;
            if self.segments[from].is_multiple_of(LOST) {
                return Fate::Lost;
            }
        }
        Fate::Arrives
    }

    /// Hands on what is due.
    fn deliver(&mut self) -> Result<()> {
        while self
            .under_way
            .front()
            .is_some_and(|(due, ..)| *due <= Instant::now())
        {
            if let Some((_, to, bytes)) = self.under_way.pop_front() {
                self.ends[to]
                    .write_all(&bytes)
                    .context("cannot hand a packet on")?;
            }
        }
        Ok(())
    }
}

/// What becomes of a packet.
enum Fate {
    Arrives,
    Lost,
    Unreachable,
}

/// The next packet, if one is there.
fn read(end: &mut File, packet: &mut [u8]) -> Result<Option<usize>> {
    match end.read(packet) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("cannot read a packet"),
    }
}

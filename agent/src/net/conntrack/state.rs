//! Whether conntrack can be asked here.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tracing::{info, warn};

use super::link::Link;

/// From one try to the next, where the last one has failed.
const RETRY: Duration = Duration::from_secs(60);

/// Whether it can be asked; for `fathom doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum State {
    /// It can.
    #[error("destinations behind NAT are looked up in conntrack")]
    Works,
    /// The kernel has no conntrack, or its module is not loaded: nothing is translated in this network namespace.
    #[error(
        "there is no conntrack in this network namespace (nf_conntrack is not loaded), so that no destination is translated"
    )]
    Absent,
    /// There is one, and it may not be asked.
    #[error(
        "conntrack may not be asked ({0}), so that services are not followed to what is behind them: it takes CAP_NET_ADMIN in the node's network namespace"
    )]
    Denied(Errno),
    /// There is one, and it can't be asked.
    #[error(
        "conntrack can't be asked ({0}), so that services are not followed to what is behind them: it takes nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)"
    )]
    Unsupported(Errno),
}

impl State {
    /// In the network namespace of this thread, as far as it shows without a question.
    pub fn here(proc: &Path) -> Self {
        open(proc).0
    }
}

/// How full its table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections in it, those that have ended a short while ago among them.
    pub entries: u64,
    /// How many there may be; beyond that the kernel drops packets that would make one.
    pub limit: u64,
}

impl Usage {
    /// Reads it for the network namespace of this thread; none without conntrack.
    pub fn read(proc: &Path) -> Option<Self> {
        let number = |name| -> Option<u64> {
            let path = folder(proc).join(name);
            fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        Some(Self {
            entries: number("nf_conntrack_count")?,
            limit: number("nf_conntrack_max")?,
        })
    }
}

fn folder(proc: &Path) -> PathBuf {
    proc.join("sys/net/netfilter")
}

/// The way to it, which is tried again now and then where there is none.
#[derive(Debug)]
pub(super) struct Access {
    proc: PathBuf,
    link: Option<Link>,
    state: State,
    retry: Instant,
}

impl Access {
    pub(super) fn new(proc: &Path, now: Instant) -> Self {
        let (state, link) = open(proc);
        say(state);
        Self {
            proc: proc.to_path_buf(),
            link,
            state,
            retry: now + RETRY,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// Whether it can be asked now.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        if self.link.is_none() && now >= self.retry {
            self.retry = now + RETRY;
            let (state, link) = open(&self.proc);
            self.link = link;
            // What was refused shows with the next question only.
            if self.state == State::Absent || state == State::Absent {
                self.change(state);
            }
        }
        self.link.is_some()
    }

    /// The kernel has answered.
    pub(super) fn answered(&mut self) {
        self.change(State::Works);
    }

    /// The kernel refuses to answer.
    pub(super) fn refused(&mut self, errno: Errno, now: Instant) {
        match errno {
            Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => return,
            Errno::PERM | Errno::ACCESS => self.change(State::Denied(errno)),
            _ => self.change(State::Unsupported(errno)),
        }
        self.link = None;
        self.retry = now + RETRY;
    }

    /// Says once what is so from now on.
    fn change(&mut self, state: State) {
        if std::mem::replace(&mut self.state, state) != state {
            say(state);
        }
    }
}

fn say(state: State) {
    match state {
        State::Works | State::Absent => info!("{state}"),
        State::Denied(_) | State::Unsupported(_) => warn!("{state}"),
    }
}

fn open(proc: &Path) -> (State, Option<Link>) {
    // Looked at first: to open the socket would have the kernel load what it is for.
    if !folder(proc).join("nf_conntrack_count").exists() {
        return (State::Absent, None);
    }
    match Link::open() {
        Ok(link) => (State::Works, Some(link)),
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => (State::Denied(errno), None),
        Err(errno) => (State::Unsupported(errno), None),
    }
}

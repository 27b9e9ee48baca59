//! The truth: what a program at one end of a connection did and saw itself.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It connected.
    Client,
    /// It was connected to.
    Server,
    /// Nobody knows: only fathom may say so.
    Unknown,
}

/// How a connection ended, or how it failed to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In order.
    Closed,
    /// The other end sent a RST.
    Reset,
    /// This end sent one.
    Aborted,
    /// Nobody answered any more, or ever.
    TimedOut,
    /// The process died of a signal.
    Killed,
    /// Somebody else destroyed the socket (`ss -K`).
    Destroyed,
    /// Nobody listens there.
    Refused,
    /// There is no way to there.
    Unreachable,
    /// The process closed the socket before there was an answer.
    Abandoned,
    /// Anything else.
    Failed,
}

/// One of the two ends, as seen from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// This one.
    Local,
    /// The other one.
    Remote,
}

/// A number of which the program knows between what it lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The field of the JSON line.
    pub field: String,
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
}

/// One end of one connection, as the program at that end saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// What it is an example of.
    pub case: String,
    /// The number of its network namespace.
    pub netns: u64,
    /// Which end.
    pub role: Role,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Bytes that were handed to the kernel and were sent at least once.
    pub sent: u64,
    /// Bytes that arrived, whether they were read or not.
    pub received: u64,
    /// It came to be a connection.
    pub began: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The error that the program was told, by its name.
    pub error: Option<String>,
    /// Who said first that no more would come; none where a RST did.
    pub closed_by: Option<Side>,
    /// The process that connected or accepted.
    pub pid: u32,
    /// At least so many times it is to be reported while it is open.
    pub alive: usize,
    /// It was open before fathom was started.
    pub existing: bool,
    /// What else is known.
    pub bounds: Vec<Bound>,
}

impl Note {
    /// A connection that this process has, over in order when nothing else is said.
    pub fn new(case: &str, role: Role, local: SocketAddr, remote: SocketAddr) -> Result<Self> {
        Ok(Self {
            case: case.to_owned(),
            netns: crate::namespace::own()?,
            role,
            local: canonical(local),
            remote: canonical(remote),
            sent: 0,
            received: 0,
            began: true,
            outcome: Outcome::Closed,
            error: None,
            closed_by: None,
            pid: std::process::id(),
            alive: 0,
            existing: false,
            bounds: Vec::new(),
        })
    }

    /// One that failed to begin.
    pub fn failed(
        case: &str,
        local: SocketAddr,
        remote: SocketAddr,
        outcome: Outcome,
        error: Option<&str>,
    ) -> Result<Self> {
        Ok(Self {
            began: false,
            outcome,
            error: error.map(str::to_owned),
            ..Self::new(case, Role::Client, local, remote)?
        })
    }

    /// Adds what is known of a number.
    pub fn bound(&mut self, field: &str, least: u64, most: u64) {
        self.bounds.push(Bound {
            field: field.to_owned(),
            least,
            most,
        });
    }
}

/// An IPv4 address as such, where a socket of IPv6 shows it as a mapped one.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A file of notes, which all connections of a program share.
#[derive(Clone, Debug)]
pub struct Notes(Arc<Mutex<File>>);

impl Notes {
    /// An empty one.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Adds a note.
    pub fn write(&self, note: &Note) -> Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("cannot write a note")
    }

    /// All notes of a file.
    pub fn read(path: &Path) -> Result<Vec<Note>> {
        fs::read_to_string(path)
            .with_context(|| format!("no notes in {}", path.display()))?
            .lines()
            .map(|line| serde_json::from_str(line).context("not a note"))
            .collect()
    }
}

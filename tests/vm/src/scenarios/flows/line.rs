//! The lines of `fathom flows --json`.

use std::{fmt, net::SocketAddr};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::note::{Outcome, Role, Side, canonical};

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It came to be.
    Established,
    /// It was there before fathom was.
    Existing,
    /// It is still there.
    Alive,
    /// It is over.
    Closed,
    /// It did not come to be.
    Failed,
    /// It is not there any more, and how it ended was not seen.
    Lost,
}

impl What {
    /// Nothing comes behind this.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Closed | Self::Failed | Self::Lost)
    }
}

/// A line.
#[derive(Clone, Deserialize)]
pub struct Line {
    /// One for each end of a connection.
    pub id: String,
    /// What happened.
    pub what: What,
    /// Which end.
    pub role: Role,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Bytes of payload, each counted once; not known of what the kernel has only listed.
    pub bytes_sent: Option<u64>,
    /// The same.
    pub bytes_received: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Who said first that no more would come.
    pub closed_by: Option<Side>,
    /// An errno's name.
    pub error: Option<String>,
    /// Whose it is.
    pub pid: Option<u32>,
    /// The number of its network namespace.
    pub netns: Option<u64>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The two addresses of a connection, as one of its ends names them, and the network in which they mean something. The kernel is free to give a pair again
/// to the next connect when the one before was refused or reset, so there may be several connections of one pair.
pub type Ends = (u64, SocketAddr, SocketAddr);

impl Line {
    /// Which ends it is about.
    pub fn ends(&self) -> Ends {
        (self.netns.unwrap_or(0), self.local, self.remote)
    }

    /// Whether both addresses are written as they are meant: no IPv4 address as a mapped one.
    pub fn is_canonical(&self) -> bool {
        canonical(self.local) == self.local && canonical(self.remote) == self.remote
    }

    /// A number of the line, by its name.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.rest.get(field)?.as_u64()
    }
}

/// What is compared; the other fields would hide it.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} {} > {} sent {:?} received {:?} {:?} {:?} {:?} {:?} {:?}",
            self.what,
            self.role,
            self.local,
            self.remote,
            self.bytes_sent,
            self.bytes_received,
            self.outcome,
            self.closed_by,
            self.error,
            self.pid,
            self.netns
        )
    }
}

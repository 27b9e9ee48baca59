//! What a connection is known by where nobody names its sock.

use std::net::SocketAddr;

use super::Flow;

/// The network namespace in which the two ends mean something, and the ends, this node's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    netns: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Ends {
    /// Those of a namespace's inode and two ends, as records or lists of sockets show them.
    pub fn new(netns: u32, local: SocketAddr, remote: SocketAddr) -> Self {
        // Records have neither flow labels nor scopes.
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self {
            netns,
            local: plain(local),
            remote: plain(remote),
        }
    }

    /// The namespace's inode.
    pub fn netns(&self) -> u32 {
        self.netns
    }

    /// Those of a flow. Of one whose end was not seen, they say nothing.
    pub fn of(flow: &Flow) -> Self {
        Self::new(flow.netns, flow.local, flow.remote)
    }
}

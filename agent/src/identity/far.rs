//! The other end of a connection: whose it is, and where it really is.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

use fathom_abi::Role;

use super::{Identity, Peer, Peers};
use crate::net::{Conntrack, Flow, Names, conntrack, flows::Change};

/// What tells whose the other end is: who has what address on this node, what processes have looked up, and where the kernel sends what is sent to a
/// service's address.
pub struct FarEnds {
    peers: Peers,
    names: Arc<Names>,
    conntrack: Conntrack,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarEnd {
    /// Whose it is.
    pub peer: Peer,
    /// Where the connection goes, where its destination is translated on the way.
    pub destination: Option<SocketAddr>,
}

impl FarEnds {
    /// Of the network namespaces that processes in `proc` are in.
    pub fn new(names: Arc<Names>, proc: &Path) -> Self {
        Self {
            peers: Peers::default(),
            names,
            conntrack: Conntrack::new(proc),
        }
    }

    /// Notes whose the ends are of those connections that have just begun. Within the node each end names the other, and the one that opened the connection
    /// is told of first: to be called with all that was taken out of the ring before any of it is told.
    pub fn learn_begun(&mut self, taken: &[Flow], identity: &mut Identity, now_ns: u64) {
        let begun = taken
            .iter()
            .filter(|flow| flow.change == Change::Established && flow.tgid != 0);
        for flow in begun {
            identity.name_alive(flow.tgid, flow.comm, flow.id.born_ns);
            if let Some(process) = identity.known(flow.tgid, now_ns) {
                self.learn(flow, &process.service);
            }
        }
    }

    /// Notes whose this end of a connection is.
    pub fn learn(&mut self, flow: &Flow, service: &Arc<str>) {
        self.peers.learn(flow, service);
    }

    /// The other end of a connection, of which this end is a process's of `service`, if that is known.
    pub fn of(&mut self, flow: &Flow, service: Option<&Arc<str>>) -> FarEnd {
        if let Some(service) = service {
            self.learn(flow, service);
        }
        let is_opened_here = flow.role == Role::CLIENT;
        let name = if is_opened_here {
            let looked_up_ns = flow.connect_ns.unwrap_or(flow.at_ns);
            self.names.name(flow.tgid, flow.remote.ip(), looked_up_ns)
        } else {
            None
        };
        let destination = self.conntrack.translated(flow, Instant::now());
        FarEnd {
            peer: self.peers.of(flow, name, destination),
            destination,
        }
    }

    /// What came of the look for translations.
    pub fn conntrack(&self) -> Arc<conntrack::Counts> {
        self.conntrack.counts()
    }
}

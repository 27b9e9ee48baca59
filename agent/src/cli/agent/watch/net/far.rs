//! Whose the other end of a connection is.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use fathom_abi::Role;

use super::out::PROC;
use crate::{
    identity::{Peer, Peers, Process},
    net::{
        Conntrack, Flow, Names,
        conntrack::{Destination, Protocol},
        flows::Change,
    },
};

/// What tells whose the other end is: who has what address on this node, what processes have looked up, and where the kernel sends what is sent to a
/// service's address.
pub(super) struct FarEnds {
    peers: Peers,
    names: Arc<Names>,
    conntrack: Conntrack,
}

impl FarEnds {
    /// In the network namespace that this thread is in.
    pub(super) fn new(names: Arc<Names>, conntrack: Conntrack) -> Self {
        Self {
            peers: Peers::default(),
            names,
            conntrack,
        }
    }

    /// Conntrack as the agent starts it.
    pub(super) fn conntrack() -> Conntrack {
        Conntrack::new(PROC.as_ref())
    }

    /// Whose the other end of a process's connection is.
    pub(super) fn of(&mut self, flow: &Flow, process: &Process) -> Peer {
        self.peers.learn(flow, &process.service);
        let is_opened_here = flow.role == Role::CLIENT;
        let name = if is_opened_here {
            let looked_up_ns = flow.connect_ns.unwrap_or(flow.at_ns);
            self.names.name(flow.tgid, flow.remote.ip(), looked_up_ns)
        } else {
            None
        };
        let real = if is_opened_here {
            self.real(flow)
        } else {
            None
        };
        self.peers.of(flow, name, real)
    }

    /// Where a connection goes whose destination is translated on its way. What never came to be a connection goes nowhere.
    fn real(&mut self, flow: &Flow) -> Option<SocketAddr> {
        if flow.change == Change::ConnectFailed {
            return None;
        }
        let (local, remote) = (flow.local, flow.remote);
        match self
            .conntrack
            .destination(Protocol::TCP, local, remote, Instant::now())
        {
            Destination::Translated(real) => Some(real),
            Destination::Plain | Destination::Unknown => None,
        }
    }
}

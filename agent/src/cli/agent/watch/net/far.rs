//! Whose the other end of a connection is.

use std::{sync::Arc, time::Instant};

use fathom_abi::Role;

use super::out::PROC;
use crate::{
    identity::{Peer, Peers, Process},
    net::{Conntrack, Flow, Names},
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
        let real = self.conntrack.translated(flow, Instant::now());
        self.peers.of(flow, name, real)
    }
}

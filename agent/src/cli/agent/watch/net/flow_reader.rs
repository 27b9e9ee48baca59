//! Taking flows out of their ring.

use std::sync::{Arc, atomic::Ordering};

use super::{counts::Read, datagrams::Datagrams, out::Out};
use crate::{
    net::{Flow, Flows},
    probes::ring::RingReader,
};

/// Records that are taken out of one ring before the other has its turn.
pub(super) const TURN: usize = 4096;

/// Flows that room is kept for between turns.
const KEPT: usize = 256;

/// What turns take flows out with.
pub(super) struct FlowTurns {
    flows: Flows,
    /// What a turn takes out.
    taken: Vec<Flow>,
    read: Arc<Read>,
}

impl FlowTurns {
    pub(super) fn new(flows: Flows, read: Arc<Read>) -> Self {
        Self {
            flows,
            taken: Vec::new(),
            read,
        }
    }

    /// The same, with the ring of flows, and with what comes before them.
    pub(super) fn reader<'a>(
        &'a mut self,
        ring: &'a mut RingReader,
        dns: &'a mut RingReader,
        datagrams: &'a mut Datagrams,
    ) -> FlowReader<'a> {
        FlowReader {
            ring,
            flows: self,
            dns,
            datagrams,
        }
    }
}

/// See [`FlowTurns::reader`].
pub(super) struct FlowReader<'a> {
    ring: &'a mut RingReader,
    flows: &'a mut FlowTurns,
    dns: &'a mut RingReader,
    datagrams: &'a mut Datagrams,
}

/// Turns that catching up takes at most: the rings have no room for more.
const TURNS: usize = 64;

impl FlowReader<'_> {
    /// Takes out all that is there.
    pub(super) fn catch_up(&mut self, out: &mut Out, now_ns: u64) {
        for _ in 0..TURNS {
            // Answers of DNS servers before all: they name what flows lead to.
            let lookups = self.datagrams.drain(self.dns, &mut out.identity, now_ns);
            let flows = self.drain(out, now_ns);
            if lookups < TURN && flows < TURN {
                return;
            }
        }
    }

    /// Takes flows out of their ring, at most a turn's; returns how many there were.
    pub(super) fn drain(&mut self, out: &mut Out, now_ns: u64) -> usize {
        let FlowTurns { flows, taken, read } = self.flows;
        let records = self.ring.drain(TURN, |record| {
            flows.record(record, &mut |flow| taken.push(flow));
        });
        out.flows(taken, now_ns);
        if records < KEPT {
            // Not in between: memory that is given back and taken again is as much work as the flows.
            taken.shrink_to(KEPT);
        }
        read.flows.fetch_add(records as u64, Ordering::Relaxed);
        records
    }
}

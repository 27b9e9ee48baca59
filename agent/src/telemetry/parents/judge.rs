//! What a client's exchange is a part of, by what is known of its thread and of its process.

use super::{Parents, SERVES_NONE, SETTLE_NS, Worker, serving::Active};
use crate::l7::exchange::{Started, TraceParent};

/// A client's request.
pub(super) struct Asked {
    pub(super) worker: Worker,
    pub(super) start_ns: u64,
    pub(super) parent: Option<TraceParent>,
    pub(super) partial: bool,
    pub(super) multiplexed: bool,
    /// Who received the answer, where that is known.
    pub(super) answered_by: Option<Worker>,
}

pub(super) enum Found {
    Parent(Box<Started>),
    Own,
    Passed(Option<Box<Started>>),
    Nothing,
    Doubt,
}

impl Parents {
    /// What a client's exchange is a part of.
    pub(super) fn find(&mut self, asked: &Asked) -> Found {
        let tgid = asked.worker.tgid;
        if let Some(parent) = &asked.parent {
            return self.passed(tgid, parent);
        }
        let Some(process) = self.processes.get_mut(&tgid) else {
            return Found::Nothing;
        };
        if process.multiplexes || asked.worker.number == 0 {
            return Found::Doubt;
        }
        let active = self
            .workers
            .get(&asked.worker)
            .map_or(Active::Nothing, |serving| serving.active(asked.start_ns));
        let served = match active {
            Active::Nothing => {
                if !asked.multiplexed && process.is_serving() {
                    process.doubted(SERVES_NONE);
                }
                return Found::Nothing;
            }
            Active::Doubt => return Found::Doubt,
            Active::One(served) => served,
        };
        let is_alone = process.served_one_at(asked.start_ns)
            && asked.start_ns > self.lost_ns.saturating_add(SETTLE_NS);
        let is_proven = process.is_proven()
            && !asked.multiplexed
            && !served.started.multiplexed
            && (process.has_goroutines || asked.answered_by.is_none_or(|by| by == asked.worker));
        let was_seen = served.started.request.start_ns > self.lost_ns;
        if was_seen && !asked.partial && (is_alone || is_proven) {
            Found::Parent(Box::new(served.started.clone()))
        } else {
            Found::Doubt
        }
    }

    /// A request that carries a context is the application's own, unless a request that the process had received carried the same: whatever thread
    /// it was on, what was asked for with its context was asked for on its behalf.
    fn passed(&mut self, tgid: u32, parent: &TraceParent) -> Found {
        match self.received.get(&(tgid, parent.span_id)) {
            None => Found::Own,
            Some(of_span) => Found::Passed(of_span.clone().filter(|started| {
                started.request.start_ns > self.lost_ns
                    && started
                        .request
                        .parent
                        .is_some_and(|received| received.trace_id == parent.trace_id)
            })),
        }
    }
}

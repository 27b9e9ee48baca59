//! Which span a thread is at work for, for other profilers of the node.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tracing::warn;

use crate::{
    l7::exchange::{Exchange, Side, Started, Step, Thread},
    probes::trace_contexts::TraceContexts,
    telemetry::{Events, Ids, events::Stage},
};

/// Keeps the map true: a thread is in it from when its request was read until the answer begins, as in `ACTIVE`, which samples are joined by.
pub(super) struct Threads {
    map: TraceContexts,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    failed: AtomicU64,
}

impl Threads {
    pub(super) fn new(map: TraceContexts, events: &Events) -> Self {
        let counts: Arc<Counts> = Arc::default();
        let told = Arc::clone(&counts);
        events.register(Stage::Exporter, "trace_contexts", move |give| {
            give("delivered", told.written.load(Relaxed));
            give("failed", told.failed.load(Relaxed));
        });
        Self { map, counts }
    }

    /// A request of the other end's goes through this step. On a connection that carries several at a time, the thread that read it is
    /// seldom the one that serves it.
    pub(super) fn step(&mut self, ids: &Ids, request: &Started, step: Step) {
        if request.side != Side::Server || request.multiplexed {
            return;
        }
        let thread = number(request.request.thread);
        let context = ids.of_request(request);
        if step != Step::Started {
            self.map.clear(thread, context.span_id);
            return;
        }
        match self.map.set(thread, context.trace_id, context.span_id) {
            Ok(()) => {
                self.counts.written.fetch_add(1, Relaxed);
            }
            Err(error) => {
                if self.counts.failed.fetch_add(1, Relaxed) == 0 {
                    warn!(
                        "the map of trace contexts refuses a thread, and those that follow are only counted: {error}"
                    );
                }
            }
        }
    }

    /// A request is over, whose answer may not have been told of.
    pub(super) fn ended(&mut self, ids: &Ids, exchange: &Exchange) {
        if exchange.side == Side::Server {
            self.map
                .clear(number(exchange.thread), ids.span_id(&exchange.key));
        }
    }
}

/// `pid_tgid` as the kernel's programs have it.
fn number(thread: Thread) -> u64 {
    u64::from(thread.tgid) << 32 | u64::from(thread.tid)
}

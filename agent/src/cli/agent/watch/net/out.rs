//! What takes exchanges and flows: metrics, and spans with their parents.

use std::sync::Arc;

use fathom_abi::{Role, counters::NetCounter};

use crate::{
    cli::agent::watch::Shared,
    export::otlp::queue::Queue,
    identity::{Identity, Peers, Process},
    l7::{
        Listener,
        exchange::{Exchange, Side, Started, Step},
    },
    net::{Existing, Flow},
    probes::net::Counters,
    telemetry::{
        Clock, FlowLogs, Parents, Red, Spans, Tcp,
        flow_logs::FlowLog,
        ids::SpanContext,
        parents::{
            Parent,
            runtime::{self, Runtime},
        },
        span::Span,
    },
};

/// The procfs of the initial pid namespace.
pub(super) const PROC: &str = "/proc";

/// Counts of what the tap saw and could not tell of: what it was is not known.
const UNTOLD: [NetCounter; 4] = [
    NetCounter::MessageRingFull,
    NetCounter::ConnectionsFull,
    NetCounter::InflightFull,
    NetCounter::ReturnMissed,
];

/// What takes exchanges and flows.
pub(super) struct Out {
    pub(super) identity: Identity,
    pub(super) peers: Peers,
    pub(super) red: Arc<Red>,
    pub(super) tcp: Arc<Tcp>,
    pub(super) existing: Arc<Existing>,
    pub(super) spans: Option<Traces>,
    /// Records of flows and where they go, where rules ask for them.
    pub(super) logs: Option<(FlowLogs, Arc<Queue<FlowLog>>)>,
    pub(super) shared: Shared,
    /// Exchanges of processes that are gone and have no name yet.
    pub(super) nameless: Vec<(Exchange, SpanContext)>,
}

/// What makes spans, where a backend takes them.
pub(super) struct Traces {
    spans: Spans,
    queue: Arc<Queue<Span>>,
    parents: Parents,
    /// The sum of [`UNTOLD`].
    untold: u64,
}

impl Traces {
    pub(super) fn new(shared: &Shared, queue: Arc<Queue<Span>>) -> Self {
        let parents = Parents::new(Clock::monotonic_ns());
        shared.events.register_parents(parents.counts());
        Self {
            spans: Spans::new(Arc::clone(&shared.clock)),
            queue,
            parents,
            untold: 0,
        }
    }

    /// Exchanges of before may go on that nobody told of, where the kernel counted some since the last time.
    pub(super) fn check_untold(&mut self, counters: &Counters) {
        let untold = UNTOLD.iter().map(|&counter| counters.get(counter)).sum();
        if std::mem::replace(&mut self.untold, untold) != untold {
            self.parents.lost(Clock::monotonic_ns());
        }
    }
}

/// Hears what the decoder finds in the records that are taken out at this time.
pub(super) struct Hearer<'a> {
    pub(super) out: &'a mut Out,
    pub(super) now_ns: u64,
}

impl Listener for Hearer<'_> {
    fn open(&mut self, request: &Started, step: Step) {
        let Some(traces) = &mut self.out.spans else {
            return;
        };
        let tgid = request.request.thread.tgid;
        if request.side == Side::Server && !traces.parents.knows(tgid) {
            let process = self.out.identity.process(tgid, self.now_ns);
            match runtime::of(PROC.as_ref(), &process) {
                Runtime::Unknown => {}
                Runtime::SharedThreads => traces.parents.multiplexes(tgid),
                Runtime::Goroutines => traces.parents.has_goroutines(tgid),
            }
        }
        traces.parents.open(request, step);
    }

    fn exchange(&mut self, exchange: Exchange) {
        self.out.exchange(exchange, self.now_ns);
    }
}

impl Out {
    pub(super) fn exchange(&mut self, exchange: Exchange, now_ns: u64) {
        let parent = match &mut self.spans {
            Some(traces) => traces.parents.ended(&exchange),
            None => Parent::Unknown,
        };
        let context = self.shared.ids.context(&exchange, &parent);
        if self.shared.joined {
            self.shared.links.ended(exchange.key, &context);
        }
        match self.identity.known(exchange.thread.tgid, now_ns) {
            Some(process) => self.deliver(&exchange, &context, &process),
            None => self.nameless.push((exchange, context)),
        }
    }

    /// Delivers what waits for a name. The record of a connection's handshake, which has it, comes into its ring before the
    /// connection's messages come into theirs: to be called when the flows have been taken out after the messages.
    pub(super) fn deliver_nameless(&mut self, now_ns: u64) {
        for (exchange, context) in std::mem::take(&mut self.nameless) {
            let process = self.identity.process(exchange.thread.tgid, now_ns);
            self.deliver(&exchange, &context, &process);
        }
    }

    fn deliver(&mut self, exchange: &Exchange, context: &SpanContext, process: &Process) {
        let route = self.red.record(exchange, process, context);
        if let Some(Traces { spans, queue, .. }) = &mut self.spans {
            queue.push(spans.span(exchange, process, context, route.as_deref()));
        }
    }

    pub(super) fn flow(&mut self, flow: &Flow, now_ns: u64) {
        if self.tcp.advance(flow) {
            return;
        }
        self.identity.name(flow.tgid, flow.comm);
        let process = self.identity.process(flow.tgid, now_ns);
        let mut flow = *flow;
        if flow.role == Role::UNKNOWN {
            flow.role = self.existing.role(flow.local, flow.remote);
        }
        self.peers.learn(&flow, &process.service);
        let peer = self.peers.of(&flow, None, None);
        self.tcp.record(&flow, &process, &peer);
        if let Some((logs, queue)) = &mut self.logs
            && let Some(log) = logs.log(&flow, &process, &peer)
        {
            queue.push(log);
        }
    }
}

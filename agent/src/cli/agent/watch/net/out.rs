//! What takes exchanges and flows: metrics, and spans with their parents.

use std::{collections::HashMap, sync::Arc};

use fathom_abi::{ConnectionId, Role, counters::NetCounter};

use super::{flow_reader::FlowReader, trace_contexts::Threads};

use crate::{
    cli::agent::watch::Shared,
    export::otlp::queue::Queue,
    identity::{FarEnd, FarEnds, Identity, Process},
    l7::{
        Listener,
        exchange::{Exchange, Side, Started, Step},
    },
    net::{Before, Existing, Flow},
    probes::net::{Counters, connection_of},
    telemetry::{
        Clock, FlowLogs, Goroutines, Parents, Red, Spans, Tcp,
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
    pub(super) far: FarEnds,
    pub(super) red: Arc<Red>,
    pub(super) tcp: Arc<Tcp>,
    pub(super) existing: Arc<Existing>,
    /// The same, one by one.
    pub(super) before: Before,
    pub(super) spans: Option<Traces>,
    /// What tells other profilers of spans.
    pub(super) threads: Option<Threads>,
    /// Who stands for requests to samples, where those name any.
    pub(super) goroutines: Option<Goroutines>,
    /// Records of flows and where they go, where rules ask for them.
    pub(super) logs: Option<(FlowLogs, Arc<Queue<FlowLog>>)>,
    pub(super) shared: Shared,
    /// Connections that were at rest and have ended, of which there may be messages that were not taken out yet, and who opened them.
    pub(super) ended: HashMap<ConnectionId, Role>,
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
    pub(super) flows: FlowReader<'a>,
    pub(super) now_ns: u64,
}

impl Listener for Hearer<'_> {
    fn open(&mut self, request: &Started, step: Step) {
        let tgid = request.request.thread.tgid;
        if let Some(goroutines) = &mut self.out.goroutines {
            let identity = &mut self.out.identity;
            goroutines.open(request, |tgid| identity.process(tgid, self.now_ns));
        }
        if let Some(threads) = &mut self.out.threads
            && self
                .out
                .goroutines
                .as_ref()
                .is_none_or(|goroutines| goroutines.serves_on_threads(tgid))
        {
            threads.step(&self.out.shared.ids, request, step);
        }
        let Some(traces) = &mut self.out.spans else {
            return;
        };
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

    fn role(&mut self, id: ConnectionId) -> Role {
        let id = connection_of(id);
        if !self.out.knows(id) {
            // Its flow's record came before this one, into the other ring.
            self.flows.catch_up(self.out, self.now_ns);
        }
        self.out.role_before_rest(id)
    }
}

impl Out {
    fn knows(&self, id: ConnectionId) -> bool {
        self.tcp.has(id) || self.before.has(id) || self.ended.contains_key(&id)
    }

    /// Who opened a connection that was at rest.
    fn role_before_rest(&self, id: ConnectionId) -> Role {
        let open = self.tcp.role_before_rest(id);
        let role = open.or_else(|| self.ended.get(&id).copied());
        role.unwrap_or_default()
    }

    pub(super) fn exchange(&mut self, exchange: Exchange, now_ns: u64) {
        if let Some(threads) = &mut self.threads {
            threads.ended(&self.shared.ids, &exchange);
        }
        let tgid = exchange.thread.tgid;
        let (parent, is_alone) = match &mut self.spans {
            Some(traces) => (
                traces.parents.ended(&exchange),
                !traces.parents.is_multiplexing(tgid),
            ),
            None => (Parent::Unknown, true),
        };
        let is_told_apart =
            |goroutines: &Goroutines| goroutines.are_told_apart(tgid, exchange.start_ns);
        let context = self.shared.ids.context(&exchange, &parent);
        // Of a thread or goroutine that serves several at a time, a sample's request would be a guess.
        if is_alone && self.goroutines.as_ref().is_some_and(is_told_apart) {
            self.shared.links.ended(
                exchange.key,
                exchange.end_ns,
                (context.trace_id, context.span_id),
            );
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

    /// What records say of connections: all that were taken out in one turn.
    pub(super) fn flows(&mut self, taken: &mut Vec<Flow>, now_ns: u64) {
        self.far.learn_begun(taken, &mut self.identity, now_ns);
        for mut flow in taken.drain(..) {
            self.before.resume(&mut flow);
            self.tell(flow, now_ns);
        }
    }

    /// What is known of those from before, once it is: of most no record may tell for long. To be called when the flows have been taken out.
    pub(super) fn tell_of_before(&mut self, now_ns: u64) {
        let list = self.before.take();
        let flows = || list.iter().map(|listed| listed.flow(now_ns));
        // Of a connection within the node each end tells whose the other's is.
        for flow in flows().filter(|flow| flow.tgid != 0) {
            let process = self.identity.process(flow.tgid, now_ns);
            self.far.learn(&flow, &process.service);
        }
        for flow in flows() {
            self.before.remember(&flow);
            self.tell(flow, now_ns);
        }
    }

    /// Connections whose end was lost, but for those that are known to be over.
    pub(super) fn lost(&mut self, ids: Vec<ConnectionId>, now_ns: u64) {
        self.before.forget(&ids);
        for id in ids {
            let mut flow = Flow::lost(id, now_ns);
            self.before.resume(&mut flow);
            // There is no log of it, which would have no address.
            self.tcp.advance(&flow);
        }
    }

    fn tell(&mut self, mut flow: Flow, now_ns: u64) {
        let known = self.tcp.advance(&flow);
        if let Some(known) = &known
            && known.was_at_rest
            && flow.change.is_end()
        {
            self.ended.insert(flow.id, known.role);
        }
        if known.is_some() && self.logs.is_none() {
            return;
        }
        self.identity
            .name_alive(flow.tgid, flow.comm, flow.id.born_ns);
        let process = self.identity.process(flow.tgid, now_ns);
        if flow.role == Role::UNKNOWN {
            flow.role = self.existing.role(flow.local, flow.remote);
        }
        let far = match known {
            Some(known) => FarEnd {
                peer: known.peer,
                destination: None,
            },
            None => {
                let far = self.far.of(&flow, Some(&process.service));
                self.tcp.record(&flow, &process, &far.peer);
                far
            }
        };
        if let Some((logs, queue)) = &mut self.logs
            && let Some(log) = logs.log(&flow, &process, &far)
        {
            queue.push(log);
        }
    }
}

#[cfg(test)]
mod tests;

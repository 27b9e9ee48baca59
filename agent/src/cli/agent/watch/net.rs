//! Connections and the exchanges on them, from the rings to metrics and spans.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use fathom_abi::{Role, counters::NetCounter};
use tracing::{info, warn};

use super::{Shared, Watch};
use crate::{
    config::Config,
    export::otlp::queue::Queue,
    identity::Identity,
    l7::{
        self, Decoder, Listener,
        exchange::{Exchange, Side, Started, Step},
    },
    net::{Existing, Flow, Flows, existing::Search},
    probes::{
        self,
        finder::{Finder, Found},
        net::{Net, NetOptions},
    },
    telemetry::{
        Clock, Events, ExistingConnections, Parents, Red, Spans, Tcp,
        events::Stage,
        parents::{Parent, runtime},
        red,
        span::Span,
        tcp,
    },
};

/// How long records may wait in a ring that does not fill up.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// The same while nothing comes: an idle node has few wake-ups to pay for.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);

/// How often messages that stay open are looked up.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How often the distance between the monotonic clock and Unix time is measured.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// How often the kernel is asked whether it kept calls from the tap.
const SPARES_INTERVAL: Duration = Duration::from_secs(1);

/// How long the search for connections from before may take. 100,000 took half of it in a build without optimization, on two busy CPUs.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Records that are taken out of one ring before the other has its turn.
const TURN: usize = 4096;

/// The procfs of the initial pid namespace.
const PROC: &str = "/proc";

/// Counts of what the tap saw and could not tell of: what it was is not known.
const UNTOLD: [NetCounter; 4] = [
    NetCounter::MessageRingFull,
    NetCounter::ConnectionsFull,
    NetCounter::InflightFull,
    NetCounter::ReturnMissed,
];

/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Files that may wait to be probed, open.
const FOUND_FILES: usize = 16;

/// The share of the memory limit that the maps may take.
const MAPS_SHARE: u64 = 2;

impl Watch {
    /// Watches connections and the exchanges on them.
    pub(in crate::cli::agent) fn net(
        &mut self,
        config: &Config,
        spans: Option<Arc<Queue<Span>>>,
    ) -> Result<(), probes::Error> {
        let mut net = Net::load(&NetOptions {
            tap: config.tap,
            map_budget: config.memory_limit / MAPS_SHARE,
            track_active: self.shared.joined,
            tls: config.capabilities.tls,
            head_limit: config.head_limit,
        })?;
        for report in net.taps.iter().filter(|report| report.refused.is_some()) {
            info!("tap {} does not work here: {}", report.tap, report.reason());
        }
        let shared = self.shared.clone();
        shared.own.tap(net.tap.name());
        shared.own.add_maps(net.map_bytes(), net.mapped_bytes());
        self.works("net", format!("net through {}", net.tap));

        let red = Red::new(red::Limits::default(), Arc::clone(&shared.clock))
            .with_routes(Arc::clone(&config.routes));
        let red = Arc::new(red);
        let tcp = Arc::new(Tcp::new(tcp::Limits::default()));
        self.show(Arc::clone(&red) as _);
        self.show(Arc::clone(&tcp) as _);
        // The taps are attached: what they did not see opening is there to be found. It is, while probes are put on TLS libraries.
        let search = Search::start(SEARCH_LIMIT).map_err(probes::Error::Thread)?;
        let mut decoder = Decoder::new(l7::Limits::default());
        let flows = Flows::default();
        let read = Arc::new(Read::default());
        register_taps(&shared.events, &net, &read);
        shared.events.register_messages(decoder.counts());
        shared.events.register_flows(flows.counts());
        let counted = Arc::clone(&red);
        shared
            .events
            .register(Stage::Aggregator, "exchanges", move |give| {
                let counts = counted.counts();
                give("delivered", counts.exchanges - counts.overflowed);
                give("overflow_series", counts.overflowed);
            });
        let counted = Arc::clone(&red);
        // Parts of exchanges that were delivered: not to be added to the above.
        shared
            .events
            .register(Stage::Aggregator, "exchange_parts", move |give| {
                let counts = counted.counts();
                give("overflow_route", counts.without_route);
                give("overflow_method", counts.without_method);
                give("overflow_destination", counts.without_destination);
            });

        let found = if config.capabilities.tls {
            self.find_tls(&mut net)?
        } else {
            None
        };
        let existing = Arc::new(search.finish());
        shared.events.register_existing(Arc::clone(&existing));
        self.show(Arc::new(ExistingConnections::new(
            Arc::clone(&existing),
            decoder.counts(),
        )));
        decoder = decoder.with_existing(Arc::clone(&existing));
        let pipeline = Pipeline {
            net,
            found,
            decoder,
            flows,
            read,
            clock: Arc::clone(&shared.clock),
            out: Out {
                identity: Identity::new(PROC, PROCESSES),
                red,
                tcp,
                existing,
                spans: spans.map(|queue| Traces::new(&shared, queue)),
                shared,
            },
        };
        self.spawn("fathom-net", move |stop| pipeline.run(stop))
    }
}

impl Watch {
    /// Attaches probes to the TLS functions that are mapped now, and has those that are mapped later found.
    fn find_tls(&mut self, net: &mut Net) -> Result<Option<Receiver<Found>>, probes::Error> {
        let mut finder = match Finder::open() {
            Ok(finder) => finder,
            Err(error) => {
                warn!("what goes through TLS is not seen: {error}");
                return Ok(None);
            }
        };
        let counts = finder.counts();
        self.shared
            .events
            .register(Stage::Tap, "tls_files", move |give| counts.each(give));
        finder.sweep(|found| found.attach(net));
        let (sender, receiver) = mpsc::sync_channel(FOUND_FILES);
        self.spawn("fathom-tls", move |stop| finder.run(stop, &sender))?;
        Ok(Some(receiver))
    }
}

/// What the kernel programs counted, and what came out of the rings.
fn register_taps(events: &Events, net: &Net, read: &Arc<Read>) {
    let counters = Arc::clone(&net.counters);
    events.register(Stage::Tap, "messages", move |give| {
        let count = |counter| counters.get(counter);
        // The losses first: a record that is attempted between the two reads is not yet lost.
        let full = count(NetCounter::MessageRingFull);
        let attempted = count(NetCounter::MessageAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
        give("unreadable_buffer", count(NetCounter::UnreadableBuffer));
        give("no_buffer", count(NetCounter::NoBuffer));
    });
    let counters = Arc::clone(&net.counters);
    let flow_misses = Arc::clone(&net.misses);
    events.register(Stage::Tap, "flows", move |give| {
        let full = counters.get(NetCounter::FlowRingFull);
        let attempted = counters.get(NetCounter::FlowAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
        give("recursion", flow_misses.flows());
    });
    let counters = Arc::clone(&net.counters);
    let misses = Arc::clone(&net.misses);
    events.register(Stage::Tap, "io", move |give| {
        for counter in [
            NetCounter::ConnectionsFull,
            NetCounter::InflightFull,
            NetCounter::ReturnMissed,
            NetCounter::ActiveFull,
            NetCounter::GivenUp,
            NetCounter::FramingsFull,
            NetCounter::FramesLost,
            NetCounter::TlsUnbound,
            NetCounter::TlsBusy,
            NetCounter::TlsCallsFull,
            NetCounter::TlsObjectsFull,
        ] {
            give(counter.name(), counters.get(counter));
        }
        give("recursion", misses.calls());
        give("delivered", counters.get(NetCounter::IoSeen));
    });
    let messages = Arc::clone(read);
    events.register(Stage::Ring, "messages", move |give| {
        give("delivered", messages.messages.load(Ordering::Relaxed));
    });
    let flows = Arc::clone(read);
    events.register(Stage::Ring, "flows", move |give| {
        give("delivered", flows.flows.load(Ordering::Relaxed));
    });
}

/// Records that came out of the rings.
#[derive(Debug, Default)]
struct Read {
    messages: AtomicU64,
    flows: AtomicU64,
}

/// One thread's way from the rings to the aggregators.
struct Pipeline {
    net: Net,
    /// Files that TLS goes through, as they are mapped.
    found: Option<Receiver<Found>>,
    decoder: Decoder,
    flows: Flows,
    read: Arc<Read>,
    out: Out,
    clock: Arc<Clock>,
}

/// What takes exchanges and flows.
struct Out {
    identity: Identity,
    red: Arc<Red>,
    tcp: Arc<Tcp>,
    existing: Arc<Existing>,
    spans: Option<Traces>,
    shared: Shared,
}

/// What makes spans, where a backend takes them.
struct Traces {
    spans: Spans,
    queue: Arc<Queue<Span>>,
    parents: Parents,
    /// The sum of [`UNTOLD`].
    untold: u64,
}

impl Traces {
    fn new(shared: &Shared, queue: Arc<Queue<Span>>) -> Self {
        let parents = Parents::new(Clock::monotonic_ns());
        shared.events.register_parents(parents.counts());
        Self {
            spans: Spans::new(Arc::clone(&shared.clock)),
            queue,
            parents,
            untold: 0,
        }
    }
}

/// Hears what the decoder finds in the records that are taken out at this time.
struct Hearer<'a> {
    out: &'a mut Out,
    now_ns: u64,
}

impl Listener for Hearer<'_> {
    fn open(&mut self, request: &Started, step: Step) {
        let Some(traces) = &mut self.out.spans else {
            return;
        };
        let tgid = request.request.thread.tgid;
        if request.side == Side::Server && !traces.parents.knows(tgid) {
            let process = self.out.identity.process(tgid, self.now_ns);
            if runtime::shares_threads(PROC.as_ref(), &process) {
                traces.parents.multiplexes(tgid);
            }
        }
        traces.parents.open(request, step);
    }

    fn exchange(&mut self, exchange: Exchange) {
        self.out.exchange(&exchange, self.now_ns);
    }
}

impl Pipeline {
    fn run(mut self, stop: &AtomicBool) {
        let mut polled = Instant::now();
        let mut checked = Instant::now();
        let mut measured = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let drained = self.drain();
            if polled.elapsed() >= POLL_INTERVAL {
                polled = Instant::now();
                self.poll_idle();
            }
            if checked.elapsed() >= SPARES_INTERVAL {
                checked = Instant::now();
                self.attach_spares();
            }
            if measured.elapsed() >= CLOCK_INTERVAL {
                measured = Instant::now();
                self.clock.sample();
            }
            self.attach_tls();
            let wait = if drained == 0 {
                IDLE_INTERVAL
            } else {
                DRAIN_INTERVAL
            };
            if let Err(error) = self.net.messages.wait(wait) {
                warn!("waiting for records: {error}");
                std::thread::sleep(wait);
            }
        }
        self.drain();
        self.poll_idle();
    }

    fn attach_tls(&mut self) {
        if let Some(receiver) = &self.found {
            for found in receiver.try_iter() {
                found.attach(&mut self.net);
            }
        }
    }

    fn attach_spares(&mut self) {
        match self.net.attach_spares_if_needed() {
            Ok(false) => {}
            Ok(true) => info!(
                "the kernel kept calls from the {} tap, as it does when tasks preempt each other there: a second program takes them from now on",
                self.net.tap
            ),
            Err(error) => warn!("calls that the kernel keeps from the tap stay lost: {error}"),
        }
    }

    /// Empties both rings; returns how many records there were.
    fn drain(&mut self) -> usize {
        let now_ns = Clock::monotonic_ns();
        let mut all = 0;
        loop {
            // Flows first: they name processes that may be gone by now.
            if let Some(traces) = &mut self.out.spans {
                let counters = &self.net.counters;
                let untold = UNTOLD.iter().map(|&counter| counters.get(counter)).sum();
                if std::mem::replace(&mut traces.untold, untold) != untold {
                    traces.parents.lost(Clock::monotonic_ns());
                }
            }
            let (flows, out) = (&mut self.flows, &mut self.out);
            let flow_records = self.net.flows.drain(TURN, |record| {
                flows.record(record, &mut |flow| out.flow(&flow, now_ns));
            });
            let decoder = &mut self.decoder;
            let mut hearer = Hearer { out, now_ns };
            let messages = self.net.messages.drain(TURN, |record| {
                decoder.record(record, &mut hearer);
            });
            self.read
                .messages
                .fetch_add(messages as u64, Ordering::Relaxed);
            self.read
                .flows
                .fetch_add(flow_records as u64, Ordering::Relaxed);
            for connection in self.decoder.take_given_up() {
                self.net.give_up(connection);
            }
            all += messages + flow_records;
            if messages < TURN && flow_records < TURN {
                return all;
            }
        }
    }

    fn poll_idle(&mut self) {
        let now_ns = Clock::monotonic_ns();
        let connections = &self.net.connections;
        let mut hearer = Hearer {
            out: &mut self.out,
            now_ns,
        };
        self.decoder
            .poll_idle(now_ns, &mut |sock| connections.get(sock), &mut hearer);
    }
}

impl Out {
    fn exchange(&mut self, exchange: &Exchange, now_ns: u64) {
        let process = self.identity.process(exchange.tgid, now_ns);
        let parent = match &mut self.spans {
            Some(traces) => traces.parents.ended(exchange),
            None => Parent::Unknown,
        };
        let context = self.shared.ids.context(exchange, &parent);
        if self.shared.joined {
            self.shared.links.ended(exchange.key, &context);
        }
        let route = self.red.record(exchange, &process, &context);
        if let Some(Traces { spans, queue, .. }) = &mut self.spans {
            queue.push(spans.span(exchange, &process, &context, route.as_deref()));
        }
    }

    fn flow(&mut self, flow: &Flow, now_ns: u64) {
        self.identity.name(flow.tgid, flow.comm);
        let process = self.identity.process(flow.tgid, now_ns);
        if flow.role == Role::UNKNOWN {
            let role = self.existing.role(flow.local, flow.remote);
            self.tcp.record(&Flow { role, ..*flow }, &process);
        } else {
            self.tcp.record(flow, &process);
        }
    }
}

//! Connections and the exchanges on them, from the rings to metrics and spans.

mod counts;
mod datagrams;
mod flow_reader;
mod listeners;
mod out;
mod resting;
mod trace_contexts;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use fathom_abi::{ConnectionId, counters::NetCounter};
use tracing::{info, warn};

use self::{
    counts::{Read, register_taps},
    datagrams::Datagrams,
    flow_reader::{FlowTurns, TURN},
    out::{Hearer, Out, PROC, Traces},
    resting::Resting,
    trace_contexts::Threads,
};
use super::Watch;
use crate::{
    config::Config,
    export::otlp::queue::Queue,
    identity::{FarEnds, Identity},
    l7::{self, Decoder},
    net::{AT_A_TIME, Before, Flows, Gone, Reports, existing::Search},
    probes::{
        self,
        finder::{Finder, Found},
        net::{Net, NetOptions, Wanted},
        trace_contexts::TraceContexts,
    },
    telemetry::{
        Clock, ExistingConnections, FlowLogs, Goroutines, Red, Tcp, events::Stage,
        flow_logs::FlowLog, red, span::Span, tcp,
    },
};

/// How long records may wait in a ring that does not fill up.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// The same while nothing comes: an idle node has few wake-ups to pay for.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);

/// How often messages that stay open are looked up.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How often it is read what went by over UDP.
const DATAGRAMS_INTERVAL: Duration = Duration::from_secs(2);

/// How often the distance between the monotonic clock and Unix time is measured.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// How often the kernel is asked whether it kept calls from the tap.
const SPARES_INTERVAL: Duration = Duration::from_secs(1);

/// How long the search for connections from before may take. 100,000 took half of it in a build without optimization, on two busy CPUs.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Turns that the flows have at the end: more than their ring holds.
const LAST_TURNS: usize = 64;

/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How many sixteenths of the memory limit the maps may take. The heap wants most when it starts: aya reads the kernel's type information for each
/// object, 20 to 30 MiB of it.
const MAPS_SIXTEENTHS: u64 = 7;

/// Who takes what is seen, beside the metrics.
#[derive(Default)]
pub(in crate::cli::agent) struct Takers {
    pub(in crate::cli::agent) spans: Option<Arc<Queue<Span>>>,
    pub(in crate::cli::agent) logs: Option<Arc<Queue<FlowLog>>>,
    /// Other profilers.
    pub(in crate::cli::agent) trace_contexts: Option<TraceContexts>,
}

impl Watch {
    /// Watches connections and the exchanges on them.
    pub(in crate::cli::agent) fn net(
        &mut self,
        config: &Config,
        takers: Takers,
    ) -> Result<(), probes::Error> {
        let Takers {
            spans,
            logs,
            trace_contexts,
        } = takers;
        let mut net = Net::load(&NetOptions {
            tap: config.tap,
            map_budget: config.memory_limit / 16 * MAPS_SIXTEENTHS,
            track_active: self.shared.joined,
            tls: config.capabilities.tls,
            parents: spans.is_some(),
            udp: true,
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
        let tcp = Arc::new(Tcp::new(tcp::Limits::within(config.memory_limit)));
        self.show(Arc::clone(&red) as _);
        self.show(Arc::clone(&tcp) as _);
        // The taps are attached: what they did not see opening is there to be found. It is, while probes are put on TLS libraries.
        let search = Search::start(SEARCH_LIMIT).map_err(probes::Error::Thread)?;
        let datagrams = Datagrams::new(&net);
        datagrams.register(&shared.events, &net);
        self.show(datagrams.dns() as _);
        self.show(datagrams.udp() as _);
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
        let counted = Arc::clone(&tcp);
        shared
            .events
            .register(Stage::Aggregator, "flows", move |give| {
                let counts = counted.counts();
                give("delivered", counts.flows - counts.overflowed);
                give("overflow_series", counts.overflowed);
            });
        let counted = Arc::clone(&tcp);
        // Parts of flows that were delivered.
        shared
            .events
            .register(Stage::Aggregator, "flow_parts", move |give| {
                let counts = counted.counts();
                give("overflow_peer", counts.without_peer);
                give("overflow_open", counts.forgotten);
            });
        let counted = Arc::clone(&tcp);
        // What connections did, and no loss.
        shared
            .events
            .register(Stage::Aggregator, "connections", move |give| {
                let counts = counted.counts();
                give("rested", counts.rested);
                give("woken", counts.woken);
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
        let logs = logs.map(|queue| {
            let logs = FlowLogs::new(Arc::clone(&config.flow_logs), Arc::clone(&shared.clock));
            let counts = logs.counts();
            shared
                .events
                .register(Stage::Sampler, "flow_logs", move |give| {
                    give("delivered", counts.delivered());
                    give("sampled_out", counts.sampled_out());
                });
            (logs, queue)
        });
        let (existing, listed) = search.finish();
        let before = Before::start(listed).map_err(probes::Error::Thread)?;
        let existing = Arc::new(existing);
        shared.events.register_existing(Arc::clone(&existing));
        self.show(Arc::new(ExistingConnections::new(
            Arc::clone(&existing),
            decoder.counts(),
        )));
        decoder = decoder.with_existing(Arc::clone(&existing));
        let far = FarEnds::new(datagrams.names(), PROC.as_ref());
        let counts = far.conntrack();
        shared
            .events
            .register(Stage::Correlator, "destinations", move |give| {
                counts.each(give)
            });
        self.listeners()?;
        let go_processes = net.go_processes.take();
        let pipeline = Pipeline {
            net,
            found,
            decoder,
            flows: FlowTurns::new(flows, Arc::clone(&read)),
            reports: Reports::new(config.flow_interval),
            resting: Resting::new(&tcp, config.flow_interval),
            gone: Gone::default(),
            full: 0,
            datagrams,
            read,
            clock: Arc::clone(&shared.clock),
            out: Out {
                identity: Identity::new(PROC, PROCESSES),
                far,
                red,
                tcp,
                existing,
                before,
                goroutines: go_processes.map(|list| Goroutines::new(list, PROC)),
                spans: spans.map(|queue| Traces::new(&shared, queue)),
                threads: trace_contexts.map(|map| {
                    shared.own.add_maps(map.bytes(), 0);
                    Threads::new(map, &shared.events)
                }),
                logs,
                shared,
                ended: HashMap::new(),
                nameless: Vec::new(),
            },
        };
        self.spawn("fathom-net", move |stop| pipeline.run(stop))
    }
}

impl Watch {
    /// Attaches probes to the TLS functions that are mapped now, and has those that are mapped later found.
    fn find_tls(&mut self, net: &mut Net) -> Result<Option<Receiver<Found>>, probes::Error> {
        let Some(finder) = Finder::start(net) else {
            return Ok(None);
        };
        let counts = finder.counts();
        self.shared
            .events
            .register(Stage::Tap, "tls_files", move |give| counts.each(give));
        let (sender, receiver) = Finder::channel();
        self.spawn("fathom-tls", move |stop| finder.run(stop, &sender))?;
        Ok(Some(receiver))
    }
}

/// One thread's way from the rings to the aggregators.
struct Pipeline {
    net: Net,
    /// Files that TLS goes through, as they are mapped.
    found: Option<Receiver<Found>>,
    decoder: Decoder,
    flows: FlowTurns,
    reports: Reports,
    resting: Resting,
    gone: Gone,
    /// How often the kernel's table of connections was full.
    full: u64,
    datagrams: Datagrams,
    read: Arc<Read>,
    out: Out,
    clock: Arc<Clock>,
}

impl Pipeline {
    fn run(mut self, stop: &AtomicBool) {
        let mut polled = Instant::now();
        let mut looked = Instant::now();
        let mut checked = Instant::now();
        let mut measured = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let drained = self.drain();
            if polled.elapsed() >= POLL_INTERVAL {
                polled = Instant::now();
                self.out.tell_of_before(Clock::monotonic_ns());
                self.poll_idle();
                self.report();
            }
            if looked.elapsed() >= DATAGRAMS_INTERVAL {
                looked = Instant::now();
                self.look_at_datagrams();
                self.out.goroutines.iter_mut().for_each(Goroutines::check);
            }
            if checked.elapsed() >= SPARES_INTERVAL {
                checked = Instant::now();
                self.attach_spares();
                self.out.identity.sweep(Clock::monotonic_ns());
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
        self.look_at_datagrams();
        // The names of those that ended last.
        for _ in 0..LAST_TURNS {
            if self.drain_flows(Clock::monotonic_ns()) < TURN {
                break;
            }
        }
        self.out.deliver_nameless(Clock::monotonic_ns());
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
            if let Some(traces) = &mut self.out.spans {
                traces.check_untold(&self.net.counters);
            }
            // Answers of DNS servers before all: they name what flows lead to.
            let lookups = self
                .datagrams
                .drain(&mut self.net.dns, &mut self.out.identity, now_ns);
            // Flows first: they name processes that may be gone by now. What comes after them waits for the next turn.
            let flow_records = self.drain_flows(now_ns);
            let decoder = &mut self.decoder;
            let mut hearer = Hearer {
                out: &mut self.out,
                flows: self.flows.reader(
                    &mut self.net.flows,
                    &mut self.net.dns,
                    &mut self.datagrams,
                ),
                now_ns,
            };
            let messages = self.net.messages.drain(TURN, |record| {
                decoder.record(record, &mut hearer);
            });
            self.read
                .messages
                .fetch_add(messages as u64, Ordering::Relaxed);
            for connection in self.decoder.take_given_up() {
                self.net.give_up(connection);
            }
            if messages < TURN {
                // All that came before the ends that are known was taken out.
                self.out.ended.clear();
            }
            all += messages + flow_records + lookups;
            if messages < TURN && flow_records < TURN && lookups < TURN {
                return all;
            }
        }
    }

    fn look_at_datagrams(&mut self) {
        let now_ns = Clock::monotonic_ns();
        let identity = &mut self.out.identity;
        self.datagrams.look(&mut self.net, identity, now_ns);
    }

    /// Takes flows out of their ring, at most a turn's; returns how many there were.
    fn drain_flows(&mut self, now_ns: u64) -> usize {
        let mut reader =
            self.flows
                .reader(&mut self.net.flows, &mut self.net.dns, &mut self.datagrams);
        let records = reader.drain(&mut self.out, now_ns);
        if records < TURN || self.out.nameless.len() >= TURN {
            self.out.deliver_nameless(now_ns);
        }
        records
    }

    /// Has the kernel say where some of the open connections stand. To be called when the ring of flows was emptied.
    fn report(&mut self) {
        self.out.lost(self.gone.take(), Clock::monotonic_ns());
        self.gone.add(self.out.before.gone());
        self.resting.turn();
        // Metrics need what has moved; who wants records has each connection's in each interval, and all that is known of it.
        let wanted = if self.out.logs.is_some() {
            Wanted::All
        } else {
            Wanted::MovedOrResting
        };
        let (out, gone, net) = (&mut self.out, &mut self.gone, &self.net);
        let mut begins = false;
        // Where none may rest it makes no room to ask.
        let is_scarce = wanted == Wanted::MovedOrResting
            && out.tcp.asked() + out.before.ids().len() > net.connections.capacity() / 2;
        let turn = self.reports.turn(Instant::now(), is_scarce, || {
            begins = true;
            gone.begin(net.counters.get(NetCounter::FlowRingFull) + net.misses.flows());
            if gone.is_due()
                && let Err(error) = out.before.search(SEARCH_LIMIT)
            {
                warn!("connections of before whose end was lost stay open: {error}");
            }
            let mut open = out.tcp.open();
            open.extend(out.before.ids());
            open
        });
        for ids in turn.chunks(AT_A_TIME) {
            if let Err(error) = self.net.report(ids, wanted) {
                warn!("open connections are not reported until their end: {error}");
            }
            self.gone.look(ids, |id| self.net.connections.has(id));
            self.drain_flows(Clock::monotonic_ns());
        }
        if begins {
            self.make_room();
        }
    }

    /// Where the kernel's table was full, has it forget connections that are over and of whose entries no decoder knows.
    fn make_room(&mut self) {
        let full = self.net.counters.get(NetCounter::ConnectionsFull);
        if std::mem::replace(&mut self.full, full) != full {
            self.forget(&self.net.connections.over());
        }
    }

    fn poll_idle(&mut self) {
        let now_ns = Clock::monotonic_ns();
        self.datagrams.expire(&mut self.out.identity, now_ns);
        let connections = &self.net.connections;
        let mut hearer = Hearer {
            out: &mut self.out,
            flows: self
                .flows
                .reader(&mut self.net.flows, &mut self.net.dns, &mut self.datagrams),
            now_ns,
        };
        self.decoder
            .poll_idle(now_ns, &mut |sock| connections.get(sock), &mut hearer);
        let over = self.decoder.take_over();
        self.forget(&over);
    }

    /// Has the kernel forget connections that are over.
    fn forget(&self, ids: &[ConnectionId]) {
        if let Err(error) = self.net.forget(ids) {
            warn!("connections that are over stay in the kernel's table: {error}");
        }
    }
}

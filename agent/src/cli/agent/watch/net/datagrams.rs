//! What goes by over UDP: lookups of names, the names of addresses that come of them, and bytes by remote.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::counters::NetCounter;

use super::TURN;
use crate::{
    identity::Identity,
    l7::dns::{Lookup, Lookups},
    net::{Names, names, udp},
    probes::{net::Net, ring::RingReader},
    telemetry::{
        Dns, Events, Udp, dns,
        events::Stage,
        udp::{self as metrics, Protocol},
    },
};

/// Sockets and numbers of queries that are waited for.
const QUERIES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// What takes datagrams.
pub(super) struct Datagrams {
    lookups: Lookups,
    names: Arc<Names>,
    dns: Arc<Dns>,
    flows: udp::Udp,
    udp: Arc<Udp>,
    /// Records that came out of the ring.
    read: Arc<AtomicU64>,
}

impl Datagrams {
    pub(super) fn new(net: &Net) -> Self {
        Self {
            lookups: Lookups::new(QUERIES),
            names: Arc::new(Names::new(names::Limits::default())),
            dns: Arc::new(Dns::new(dns::Limits::default())),
            flows: udp::Udp::new(net.udp.capacity()),
            udp: Arc::new(Udp::new(metrics::Limits::default())),
            read: Arc::default(),
        }
    }

    /// The lookups' metrics.
    pub(super) fn dns(&self) -> Arc<Dns> {
        Arc::clone(&self.dns)
    }

    /// The datagrams' metrics.
    pub(super) fn udp(&self) -> Arc<Udp> {
        Arc::clone(&self.udp)
    }

    /// What addresses are called, as far as the ring was read.
    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// Adds what becomes of datagrams to `fathom.events`.
    pub(super) fn register(&self, events: &Events, net: &Net) {
        let counters = Arc::clone(&net.counters);
        events.register(Stage::Tap, "dns", move |give| {
            let full = counters.get(NetCounter::DnsRingFull);
            let attempted = counters.get(NetCounter::DnsAttempted);
            give("delivered", attempted.saturating_sub(full));
            give("ring_full", full);
            give("unreadable_buffer", counters.get(NetCounter::DnsUnreadable));
        });
        let counters = Arc::clone(&net.counters);
        events.register(Stage::Tap, "udp", move |give| {
            let full = counters.get(NetCounter::UdpFlowsFull);
            let seen = counters.get(NetCounter::UdpSeen);
            give("delivered", seen.saturating_sub(full));
            give("udp_flows_full", full);
        });
        let read = Arc::clone(&self.read);
        events.register(Stage::Ring, "dns", move |give| {
            give("delivered", read.load(Relaxed));
        });
        let counts = self.lookups.counts();
        events.register(Stage::Decoder, "dns", move |give| {
            give("query", counts.queries());
            give("query_again", counts.repeated());
            give("answer", counts.answers());
            give("unasked", counts.unasked());
            give("served", counts.served());
            give("malformed", counts.malformed());
        });
        let counts = self.lookups.counts();
        events.register(Stage::Correlator, "lookups", move |give| {
            give("delivered", counts.answered() + counts.timed_out());
            give("forgotten", counts.forgotten());
        });
        let counts = self.flows.counts();
        events.register(Stage::Decoder, "udp", move |give| {
            give("delivered", counts.packets());
        });
        let dns = Arc::clone(&self.dns);
        events.register(Stage::Aggregator, "lookups", move |give| {
            let counts = dns.counts();
            give("delivered", counts.lookups - counts.overflowed);
            give("overflow_series", counts.overflowed);
        });
        let udp = Arc::clone(&self.udp);
        events.register(Stage::Aggregator, "udp", move |give| {
            let counts = udp.counts();
            give("delivered", counts.packets - counts.overflowed);
            give("overflow_series", counts.overflowed);
        });
        let names = Arc::clone(&self.names);
        events.register(Stage::Correlator, "names", move |give| {
            let counts = names.counts();
            give("delivered", counts.learned);
            give("evicted", counts.evicted);
        });
    }

    /// Empties the ring of DNS messages; returns how many there were.
    pub(super) fn drain(
        &mut self,
        ring: &mut RingReader,
        identity: &mut Identity,
        now_ns: u64,
    ) -> usize {
        let (lookups, names, dns) = (&mut self.lookups, &self.names, &self.dns);
        let mut emit = |lookup: Lookup| take(&lookup, names, dns, identity, now_ns);
        let records = ring.drain(TURN, |record| {
            lookups.record(record, &mut emit);
        });
        self.read.fetch_add(records as u64, Relaxed);
        records
    }

    /// Hands on the lookups that nobody has answered in time.
    pub(super) fn expire(&mut self, identity: &mut Identity, now_ns: u64) {
        let (names, dns) = (&self.names, &self.dns);
        self.lookups.expire(now_ns, &mut |lookup| {
            take(&lookup, names, dns, identity, now_ns);
        });
    }

    /// Reads what went by.
    pub(super) fn look(&mut self, net: &mut Net, identity: &mut Identity, now_ns: u64) {
        let Self {
            lookups,
            names,
            flows,
            udp,
            ..
        } = self;
        let idle = flows.look(net.udp.read(), now_ns, &mut |traffic, name| {
            identity.name(traffic.tgid, traffic.comm);
            let process = identity.process(traffic.tgid, now_ns);
            let is_dns = |peer: std::net::SocketAddr| {
                peer.port() == fathom_abi::udp::DNS_PORT && lookups.is_server(peer.ip())
            };
            let protocol = if traffic.is_quic {
                Protocol::Quic
            } else if traffic.peer().is_some_and(is_dns) {
                Protocol::Dns
            } else {
                Protocol::Unknown
            };
            if name.is_none() {
                *name = traffic
                    .remote
                    .and_then(|ip| names.name(traffic.tgid, ip, traffic.last_ns));
            }
            udp.record(traffic, &process, protocol, name.as_deref());
        });
        for key in idle {
            net.udp.remove(&key);
        }
    }
}

/// Takes a lookup: its metrics, and what its addresses are called.
fn take(lookup: &Lookup, names: &Names, dns: &Dns, identity: &mut Identity, now_ns: u64) {
    identity.name_alive(lookup.tgid, lookup.comm, lookup.sent_ns);
    let process = identity.process(lookup.tgid, now_ns);
    dns.record(lookup, &process);
    lookup.name(names);
}

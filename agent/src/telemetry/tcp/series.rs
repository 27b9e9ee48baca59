//! One service's connections in one role with one other end, and the metrics that they make.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use fathom_abi::Role;

use super::{Key, error_type};
use crate::{
    identity::Peer,
    net::{Flow, Outcome, open::Progress},
    telemetry::metric::{
        Attributes, Audience, Data, HistogramPoint, Metric, Number, NumberPoint, Value,
    },
};

/// Upper bounds in seconds: from a loopback's round trip to a connect that needed several SYNs.
const BOUNDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 3.0, 7.0,
];

/// One series of each metric.
pub(super) struct Series {
    service: Arc<str>,
    pub(super) role: Role,
    pub(super) peer: Peer,
    overflow: bool,
    established: u64,
    /// Connects that failed, by how and by errno.
    failed: HashMap<(Outcome, u32), u64>,
    /// Connections that ended, by [`Outcome`]; the last is of those whose end was not seen.
    ended: [u64; Outcome::ALL.len() + 1],
    pub(super) active: u64,
    connect: Histogram,
    accept: Histogram,
    rtt: Histogram,
    retransmits: u64,
    resets_sent: u64,
    resets_received: u64,
    sent: u64,
    received: u64,
}

/// A distribution, which takes memory once it has a value.
#[derive(Default)]
struct Histogram(Option<Box<Counts>>);

#[derive(Default)]
struct Counts {
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        let all = self.0.get_or_insert_default();
        all.counts[BOUNDS.partition_point(|&bound| bound < seconds)] += 1;
        all.sum += seconds;
    }
}

impl Series {
    pub(super) fn new(key: &Key, overflow: bool) -> Self {
        Self {
            service: Arc::clone(&key.service),
            role: key.role,
            peer: key.peer.clone(),
            overflow,
            established: 0,
            failed: HashMap::new(),
            ended: Default::default(),
            active: 0,
            connect: Histogram::default(),
            accept: Histogram::default(),
            rtt: Histogram::default(),
            retransmits: 0,
            resets_sent: 0,
            resets_received: 0,
            sent: 0,
            received: 0,
        }
    }

    /// A handshake was seen.
    pub(super) fn established(&mut self, flow: &Flow) {
        self.established += 1;
        if let Some(duration) = flow.connect_duration_ns() {
            self.connect.add(duration as f64 / 1e9);
        }
        if let Some(wait) = flow.accept_wait_ns() {
            self.accept.add(wait as f64 / 1e9);
        }
    }

    /// Adds what has moved since the last record.
    pub(super) fn add_moved(&mut self, srtt_us: Option<u32>, progress: &Progress) {
        self.sent += progress.sent;
        self.received += progress.received;
        self.retransmits += progress.retransmits;
        // Of one at rest the time is an old one.
        let is_news = progress.sent > 0 || progress.received > 0;
        if let Some(srtt_us) = srtt_us.filter(|_| is_news || progress.ends) {
            self.rtt.add(f64::from(srtt_us) / 1e6);
        }
    }

    /// A connection is over whose end was not seen.
    pub(super) fn lost(&mut self) {
        self.ended[Outcome::ALL.len()] += 1;
    }

    /// A connection is over.
    pub(super) fn ended(&mut self, flow: &Flow) {
        match flow.outcome {
            Some(outcome) => self.ended[outcome as usize] += 1,
            None => self.lost(),
        }
        self.resets_sent += u64::from(flow.reset_sent);
        self.resets_received += u64::from(flow.reset_received);
    }

    /// A connect has failed.
    pub(super) fn failed(&mut self, flow: &Flow) {
        let way = (flow.outcome.unwrap_or(Outcome::Failed), flow.error);
        *self.failed.entry(way).or_default() += 1;
        self.resets_sent += u64::from(flow.reset_sent);
        self.resets_received += u64::from(flow.reset_received);
    }

    fn attributes(
        &self,
        more: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
    ) -> Attributes {
        let role = match self.role {
            Role::CLIENT => "client",
            Role::SERVER => "server",
            _ => "unknown",
        };
        let peer: (_, Cow<'static, str>) = match &self.peer {
            Peer::Service(name) => ("service.peer.name", name.to_string().into()),
            Peer::Name(name) => ("server.address", name.to_string().into()),
            Peer::Class(class) => ("fathom.peer.class", class.name().into()),
        };
        let mut attributes: Attributes = vec![
            ("fathom.tcp.role".into(), Value::Str(role.into())),
            (peer.0.into(), Value::Str(peer.1)),
        ];
        attributes.extend(
            more.into_iter()
                .map(|(name, value)| (name.into(), Value::Str(value))),
        );
        if self.overflow {
            attributes.push(("otel.metric.overflow".into(), Value::Bool(true)));
        }
        attributes
    }

    fn number(
        &self,
        value: u64,
        more: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
    ) -> NumberPoint {
        NumberPoint {
            resource: Arc::clone(&self.service),
            attributes: self.attributes(more),
            value: Number::Int(value),
        }
    }

    fn histogram(&self, histogram: &Histogram) -> Option<HistogramPoint> {
        let all = histogram.0.as_deref()?;
        Some(HistogramPoint {
            resource: Arc::clone(&self.service),
            attributes: self.attributes([]),
            bounds: &BOUNDS,
            counts: all.counts.to_vec(),
            sum: all.sum,
            exemplars: vec![None; BOUNDS.len() + 1],
        })
    }

    fn begun(&self) -> impl Iterator<Item = NumberPoint> {
        let outcome = |outcome| ("fathom.tcp.outcome", Cow::Borrowed(outcome));
        let failed = self.failed.iter().map(move |(&(how, errno), &count)| {
            self.number(
                count,
                [outcome("failed"), ("error.type", error_type(how, errno))],
            )
        });
        (self.established > 0)
            .then(|| self.number(self.established, [outcome("established")]))
            .into_iter()
            .chain(failed)
    }

    fn over(&self) -> impl Iterator<Item = NumberPoint> {
        let names = Outcome::ALL.iter().map(|outcome| outcome.name());
        let counts = self.ended.iter().zip(names.chain(["lost"]));
        counts
            .filter(|(count, _)| **count > 0)
            .map(|(&count, name)| self.number(count, [("fathom.tcp.outcome", Cow::Borrowed(name))]))
    }

    fn both_ways(&self, sent: u64, received: u64) -> [NumberPoint; 2] {
        [("transmit", sent), ("receive", received)].map(|(direction, count)| {
            self.number(count, [("network.io.direction", Cow::Borrowed(direction))])
        })
    }
}

/// All metrics of all series.
pub(super) fn collect(all: &[Series], into: &mut Vec<Metric>) {
    let numbers = |points: &dyn Fn(&Series) -> Vec<NumberPoint>| {
        all.iter().flat_map(points).collect::<Vec<_>>()
    };
    let histograms = |of: fn(&Series) -> &Histogram| {
        let points = all.iter().filter_map(|series| series.histogram(of(series)));
        Data::Histogram(points.collect())
    };
    let metrics = [
        (
            "fathom.tcp.connections",
            "{connection}",
            "TCP connections that were established, or that failed to be",
            Data::Counter(numbers(&|series| series.begun().collect())),
        ),
        (
            "fathom.tcp.connections.active",
            "{connection}",
            "Open TCP connections, those from before fathom's start among them",
            Data::UpDownCounter(numbers(&|series| vec![series.number(series.active, [])])),
        ),
        (
            "fathom.tcp.connections.ended",
            "{connection}",
            "TCP connections that ended, by how they did",
            Data::Counter(numbers(&|series| series.over().collect())),
        ),
        (
            "fathom.tcp.connect.duration",
            "s",
            "From the SYN to the end of the handshake",
            histograms(|series| &series.connect),
        ),
        (
            "fathom.tcp.accept.duration",
            "s",
            "From the end of the handshake to accept(2): the time in the accept queue",
            histograms(|series| &series.accept),
        ),
        (
            "fathom.tcp.rtt",
            "s",
            "The smoothed round-trip time of a connection, at its end and at each report between which it moved bytes",
            histograms(|series| &series.rtt),
        ),
        (
            "fathom.tcp.retransmits",
            "{segment}",
            "Segments retransmitted",
            Data::Counter(numbers(&|series| {
                vec![series.number(series.retransmits, [])]
            })),
        ),
        (
            "fathom.tcp.resets",
            "{connection}",
            "Connections that this end (transmit) or the other one (receive) reset",
            Data::Counter(numbers(&|series| {
                series
                    .both_ways(series.resets_sent, series.resets_received)
                    .into()
            })),
        ),
        (
            "fathom.tcp.io",
            "By",
            "Payload bytes, each once",
            Data::Counter(numbers(&|series| {
                series.both_ways(series.sent, series.received).into()
            })),
        ),
    ];
    into.extend(metrics.map(|(name, unit, description, data)| Metric {
        name: name.into(),
        description: description.into(),
        unit,
        audience: Audience::All,
        data,
    }));
}

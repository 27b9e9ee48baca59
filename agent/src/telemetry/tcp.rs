//! `fathom.tcp.*`: flows to metrics, by service and role.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fathom_abi::{ConnectionId, Role};

use super::metric::{
    Attributes, Audience, Data, HistogramPoint, Metric, Number, NumberPoint, Source, Value,
};
use crate::{
    identity::Process,
    net::flows::{Change, Flow},
};

/// Upper bounds in seconds: from a loopback's round trip to a connect that needed several SYNs.
const BOUNDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 3.0, 7.0,
];

/// The service that stands for those beyond [`Limits::services`].
const OTHER_SERVICES: &str = "other";

/// What [`Tcp`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services; a service has at most three series of each metric, one for each role. What belongs to others is counted under the
    /// service `other`, with `otel.metric.overflow=true`.
    pub services: usize,
    /// Established connections that are remembered until their end, at 32 bytes each.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            connections: 65_536,
        }
    }
}

/// The flow metrics of this node.
pub struct Tcp {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    numbers: HashMap<(Arc<str>, Role), u32>,
    services: HashMap<Arc<str>, ()>,
    series: Vec<Series>,
    /// The series of each connection that was counted as established and not yet as closed.
    live: HashMap<ConnectionId, u32>,
    /// Connections that were counted as established, and not remembered for want of room.
    forgotten: u64,
    counts: TcpCounts,
}

/// What came of the flows that [`Tcp`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// All of them.
    pub flows: u64,
    /// Those of services beyond the limit.
    pub overflowed: u64,
    /// Connections that the table of live ones had no room for: `fathom.tcp.connections.active` counts each of them until one of them
    /// closes, whichever it is.
    pub forgotten: u64,
}

struct Series {
    service: Arc<str>,
    role: Role,
    overflow: bool,
    established: u64,
    failed: HashMap<u32, u64>,
    active: u64,
    connect: Histogram,
    rtt: Histogram,
    retransmits: u64,
    resets: u64,
    sent: u64,
    received: u64,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        self.counts[BOUNDS.partition_point(|&bound| bound < seconds)] += 1;
        self.sum += seconds;
    }
}

impl Tcp {
    /// No series yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::default(),
        }
    }

    /// Takes one flow of `process`.
    pub fn record(&self, flow: &Flow, process: &Process) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.counts.flows += 1;
        let number = inner.series_of(&process.service, flow.role, self.limits.services);
        match flow.change {
            Change::Established => inner.established(flow, number, self.limits.connections),
            Change::ConnectFailed => {
                if let Some(series) = inner.series.get_mut(number as usize) {
                    *series.failed.entry(flow.error).or_default() += 1;
                    series.add_totals(flow);
                }
            }
            Change::Closed => {
                let opened = match inner.live.remove(&flow.id) {
                    Some(opened) => Some(opened),
                    None if inner.forgotten > 0 => {
                        inner.forgotten -= 1;
                        Some(number)
                    }
                    // Its first record is missing: it was established all the same. One that was open before fathom was not seen to be.
                    None if flow.established_ns.is_some() => {
                        inner.established(flow, number, self.limits.connections);
                        inner.live.remove(&flow.id)
                    }
                    None => None,
                };
                if let Some(series) =
                    opened.and_then(|opened| inner.series.get_mut(opened as usize))
                {
                    series.active = series.active.saturating_sub(1);
                }
                if let Some(series) = inner.series.get_mut(number as usize) {
                    series.add_totals(flow);
                }
            }
        }
    }

    /// What came of the flows so far.
    pub fn counts(&self) -> TcpCounts {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
    }
}

impl Inner {
    fn series_of(&mut self, service: &Arc<str>, role: Role, limit: usize) -> u32 {
        if let Some(&number) = self.numbers.get(&(Arc::clone(service), role)) {
            return number;
        }
        let overflow = !self.services.contains_key(service) && self.services.len() >= limit;
        let service: Arc<str> = if overflow {
            self.counts.overflowed += 1;
            OTHER_SERVICES.into()
        } else {
            self.services.insert(Arc::clone(service), ());
            Arc::clone(service)
        };
        if let Some(&number) = self.numbers.get(&(Arc::clone(&service), role)) {
            return number;
        }
        let number = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.series.push(Series {
            service: Arc::clone(&service),
            role,
            overflow,
            established: 0,
            failed: HashMap::new(),
            active: 0,
            connect: Histogram::default(),
            rtt: Histogram::default(),
            retransmits: 0,
            resets: 0,
            sent: 0,
            received: 0,
        });
        self.numbers.insert((service, role), number);
        number
    }

    fn established(&mut self, flow: &Flow, number: u32, limit: usize) {
        let Some(series) = self.series.get_mut(number as usize) else {
            return;
        };
        series.established += 1;
        series.active += 1;
        if let Some(duration) = flow.connect_duration_ns() {
            series.connect.add(duration as f64 / 1e9);
        }
        if self.live.len() < limit {
            self.live.insert(flow.id, number);
        } else {
            self.forgotten += 1;
            self.counts.forgotten += 1;
        }
    }
}

impl Series {
    /// Adds what is final at the end of a connection.
    fn add_totals(&mut self, flow: &Flow) {
        self.sent += flow.bytes_sent;
        self.received += flow.bytes_received;
        self.retransmits += u64::from(flow.retransmits);
        if flow.error == u32::try_from(libc::ECONNRESET).unwrap_or_default() {
            self.resets += 1;
        }
        if let Some(srtt_us) = flow.srtt_us {
            self.rtt.add(f64::from(srtt_us) / 1e6);
        }
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
        let mut attributes: Attributes = vec![("fathom.tcp.role".into(), Value::Str(role.into()))];
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
        histogram
            .counts
            .iter()
            .any(|&count| count > 0)
            .then(|| HistogramPoint {
                resource: Arc::clone(&self.service),
                attributes: self.attributes([]),
                bounds: &BOUNDS,
                counts: histogram.counts.to_vec(),
                sum: histogram.sum,
                exemplars: vec![None; BOUNDS.len() + 1],
            })
    }
}

impl Source for Tcp {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let all = &inner.series;
        let numbers = |value: fn(&Series) -> u64| {
            all.iter()
                .map(|series| series.number(value(series), []))
                .collect()
        };
        let mut add =
            |name: &'static str, unit: &'static str, description: &'static str, data: Data| {
                into.push(Metric {
                    name: name.into(),
                    description: description.into(),
                    unit,
                    audience: Audience::All,
                    data,
                });
            };
        let connections = all.iter().flat_map(|series| {
            let outcome = |outcome| ("fathom.tcp.outcome", Cow::Borrowed(outcome));
            let failed = series.failed.iter().map(move |(&errno, &count)| {
                series.number(
                    count,
                    [outcome("failed"), ("error.type", errno_name(errno))],
                )
            });
            let established = (series.established > 0)
                .then(|| series.number(series.established, [outcome("established")]));
            established.into_iter().chain(failed)
        });
        let connections = connections.collect();
        let description = "TCP connections that were established, or that failed to be";
        add(
            "fathom.tcp.connections",
            "{connection}",
            description,
            Data::Counter(connections),
        );
        let active = Data::UpDownCounter(numbers(|series| series.active));
        add(
            "fathom.tcp.connections.active",
            "{connection}",
            "Established TCP connections, of those that began since fathom's start",
            active,
        );
        let connect = all
            .iter()
            .filter_map(|series| series.histogram(&series.connect))
            .collect();
        add(
            "fathom.tcp.connect.duration",
            "s",
            "From the SYN to the end of the handshake",
            Data::Histogram(connect),
        );
        let rtt = all
            .iter()
            .filter_map(|series| series.histogram(&series.rtt))
            .collect();
        add(
            "fathom.tcp.rtt",
            "s",
            "The smoothed round-trip time of a connection at its end",
            Data::Histogram(rtt),
        );
        let retransmits = Data::Counter(numbers(|series| series.retransmits));
        add(
            "fathom.tcp.retransmits",
            "{segment}",
            "Segments retransmitted on connections that ended",
            retransmits,
        );
        let resets = Data::Counter(numbers(|series| series.resets));
        add(
            "fathom.tcp.resets",
            "{connection}",
            "Connections that the other end reset",
            resets,
        );
        let io = all.iter().flat_map(|series| {
            [("transmit", series.sent), ("receive", series.received)].map(|(direction, bytes)| {
                series.number(bytes, [("network.io.direction", Cow::Borrowed(direction))])
            })
        });
        let io = io.collect();
        add(
            "fathom.tcp.io",
            "By",
            "Payload bytes of connections that ended",
            Data::Counter(io),
        );
    }
}

/// The name of the errors that a connect ends with (connect(2), tcp(7)); others are numbers.
pub fn errno_name(errno: u32) -> Cow<'static, str> {
    let names = [
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EACCES, "EACCES"),
        (libc::EPIPE, "EPIPE"),
    ];
    if errno == 0 {
        // Nobody waited for it: the socket was closed first.
        return "abandoned".into();
    }
    let known = names
        .iter()
        .find(|(number, _)| u32::try_from(*number) == Ok(errno));
    known.map_or_else(|| errno.to_string().into(), |(_, name)| (*name).into())
}

#[cfg(test)]
mod tests;

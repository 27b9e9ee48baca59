//! Rate, errors, duration: the histograms `http.server.request.duration` and `http.client.request.duration` of OpenTelemetry's stable
//! HTTP semantic conventions, `rpc.server.call.duration` and `rpc.client.call.duration` of those for RPC (1.44, release candidate), from exchanges.
//!
//! Every exchange lands in exactly one series. A gRPC call is a call and no HTTP request beside it: the conventions for gRPC have no HTTP
//! attributes, its HTTP status says nothing (a failed call has 200, too), and whoever adds the two up would count it twice.
//!
//! Where a service has too many series, or all services together, an exchange is in the overflow series (`otel.metric.overflow=true`), and
//! [`RedCounts::overflowed`] counts it. Where it has too many routes or methods, theirs is [`OTHER`], and [`RedCounts::without_route`] and
//! [`RedCounts::without_method`] count them.

mod series;

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use self::series::{Histogram, Instrument, Service, ServiceLimits};
use super::{
    clock::Clock,
    ids::SpanContext,
    metric::{
        Attributes, Audience, Data, Exemplar, HistogramPoint, Metric, ResourceKey, Source, Value,
    },
    route::Patterns,
};
use crate::{identity::Process, l7::exchange::Exchange};

/// Upper bounds in seconds, as the semantic conventions advise.
pub const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The route and the method that stand for those beyond [`Limits::routes_per_service`] and [`Limits::methods_per_service`].
pub const OTHER: &str = "_OTHER";

/// The service that stands for those beyond [`Limits::services`].
const OTHER_SERVICES: &str = "other";

/// What [`Red`] may hold. One series costs about 1 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Series of all services together, overflow series apart.
    pub series: usize,
    /// Series of one service, overflow series apart.
    pub series_per_service: usize,
    /// Routes of one service that are guessed from paths.
    pub routes_per_service: usize,
    /// RPC methods of one service.
    pub methods_per_service: usize,
    /// Servers that one service's requests are told apart by; those beyond them have no `server.address`.
    pub destinations_per_service: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            series: 4096,
            series_per_service: 1024,
            routes_per_service: 200,
            methods_per_service: 200,
            destinations_per_service: 64,
        }
    }
}

/// The RED histograms of this node.
pub struct Red {
    limits: Limits,
    patterns: Arc<Patterns>,
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    services: HashMap<Arc<str>, Service>,
    series: usize,
    exchanges: u64,
    overflowed: u64,
}

/// What came of the exchanges that [`Red`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedCounts {
    /// All of them.
    pub exchanges: u64,
    /// Those in an overflow series.
    pub overflowed: u64,
    /// Those whose route is [`OTHER`] because their service has too many.
    pub without_route: u64,
    /// Those whose method is [`OTHER`] because their service has too many.
    pub without_method: u64,
    /// Those that have no `server.address` because their service has too many.
    pub without_destination: u64,
}

impl Red {
    /// No series yet.
    pub fn new(limits: Limits, clock: Arc<Clock>) -> Self {
        Self {
            limits,
            patterns: Arc::default(),
            clock,
            inner: Mutex::default(),
        }
    }

    /// The same, with the user's routes, which go before those that are guessed.
    #[must_use]
    pub fn with_routes(mut self, patterns: Arc<Patterns>) -> Self {
        self.patterns = patterns;
        self
    }

    /// Takes one exchange of `process`; `context` is its exemplar. Gives back the route or the RPC method, for the span's name; none
    /// where there is none, and where the service has too many.
    pub fn record(
        &self,
        exchange: &Exchange,
        process: &Process,
        context: &SpanContext,
    ) -> Option<Arc<str>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.exchanges += 1;
        let name = if inner.services.contains_key(&process.service)
            || inner.services.len() < self.limits.services
        {
            &process.service
        } else {
            OTHER_SERVICES
        };
        let service = match inner.services.get_mut(name) {
            Some(service) => service,
            None => inner.services.entry(name.into()).or_insert_with(|| {
                Service::new(
                    ServiceLimits {
                        routes: self.limits.routes_per_service,
                        methods: self.limits.methods_per_service,
                        destinations: self.limits.destinations_per_service,
                    },
                    Arc::clone(&self.patterns),
                )
            }),
        };
        let (key, name) = service.key(exchange);
        let room = service.series.len() < self.limits.series_per_service
            && inner.series < self.limits.series;
        let histogram = match service.series.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if room => {
                inner.series += 1;
                entry.insert(Histogram::default())
            }
            Entry::Vacant(_) => {
                inner.overflowed += 1;
                service.overflow.entry(key.instrument()).or_default()
            }
        };
        let value = exchange.end_ns.saturating_sub(exchange.start_ns) as f64 / 1e9;
        histogram.add(Exemplar {
            value,
            time_unix_nano: self.clock.unix_ns(exchange.end_ns),
            trace_id: context.trace_id,
            span_id: context.span_id,
        });
        name
    }

    /// What came of the exchanges so far.
    pub fn counts(&self) -> RedCounts {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        RedCounts {
            exchanges: inner.exchanges,
            overflowed: inner.overflowed,
            without_route: inner.services.values().map(Service::without_route).sum(),
            without_method: inner.services.values().map(Service::without_method).sum(),
            without_destination: inner
                .services
                .values()
                .map(Service::without_destination)
                .sum(),
        }
    }
}

impl Source for Red {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for instrument in Instrument::ALL {
            let mut points = Vec::new();
            for (service_name, service) in &inner.services {
                let known = service
                    .series
                    .iter()
                    .filter(|(key, _)| key.instrument() == instrument);
                points.extend(known.map(|(key, histogram)| {
                    point(service_name, service.attributes(key), histogram)
                }));
                points.extend(service.overflow.get(&instrument).map(|histogram| {
                    let attributes =
                        vec![(Cow::Borrowed("otel.metric.overflow"), Value::Bool(true))];
                    point(service_name, attributes, histogram)
                }));
            }
            if !points.is_empty() {
                into.push(Metric {
                    name: instrument.name().into(),
                    description: instrument.description().into(),
                    unit: "s",
                    audience: Audience::All,
                    data: Data::Histogram(points),
                });
            }
        }
    }
}

fn point(service: &ResourceKey, attributes: Attributes, histogram: &Histogram) -> HistogramPoint {
    HistogramPoint {
        resource: Arc::clone(service),
        attributes,
        bounds: &BOUNDS,
        counts: histogram.counts.to_vec(),
        sum: histogram.sum,
        exemplars: histogram.exemplars.to_vec(),
    }
}

#[cfg(test)]
mod tests;

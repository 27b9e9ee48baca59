//! `dns.lookup.duration`, as OpenTelemetry's semantic conventions for DNS have it: by service, name and error. A lookup is one question to one server.
//!
//! Names are bounded, and those of failures take half of the room at most; what is too much is `_OTHER`. They are in lower case, against the
//! conventions, as resolvers may change the case at random.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    metric::{Attributes, Audience, Data, HistogramPoint, Metric, Source, Value},
    names::{self, Claim, Names},
};
use crate::{
    identity::Process,
    l7::dns::{Code, Kind, Lookup, Outcome},
};

/// The conventions' bounds, in seconds.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The service that stands for those beyond [`Limits::services`].
const OTHER_SERVICES: &str = "other";

/// The name that stands for those beyond [`Limits::names`].
const OTHER: &str = "_OTHER";

/// What [`Dns`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Services; what belongs to others is counted under the service `other`, with `otel.metric.overflow=true`.
    pub services: usize,
    /// Names of each service.
    pub names: usize,
    /// Series of all services. A service's lookups beyond them are counted as if the service were beyond [`Limits::services`].
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 256,
            names: 64,
            series: 4096,
        }
    }
}

/// The lookups of this node.
pub struct Dns {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    services: HashMap<Arc<str>, Names>,
    series: HashMap<Key, Histogram>,
    counts: DnsCounts,
}

/// What came of the lookups that [`Dns`] took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounts {
    /// All of them.
    pub lookups: u64,
    /// Those in the series for what there is no room for.
    pub overflowed: u64,
    /// Those whose name is `_OTHER`.
    pub without_name: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// None for those beyond the limits.
    service: Option<Arc<str>>,
    name: Option<names::Number>,
    kind: &'static str,
    error: Option<&'static str>,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Dns {
    /// No series yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::default(),
        }
    }

    /// Takes one lookup of `process`.
    pub fn record(&self, lookup: &Lookup, process: &Process) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.counts.lookups += 1;
        let error = error_type(lookup.outcome);
        let kind = lookup.question.kind;
        let key = inner.key(lookup, process, kind, error, &self.limits);
        let key = if inner.series.len() < self.limits.series || inner.series.contains_key(&key) {
            key
        } else {
            Key::overflow(kind, error)
        };
        inner.counts.overflowed += u64::from(key.service.is_none());
        inner.counts.without_name += u64::from(key.service.is_some() && key.name.is_none());
        let seconds = lookup.duration_ns as f64 / 1e9;
        let histogram = inner.series.entry(key).or_default();
        histogram.counts[BOUNDS.partition_point(|&bound| bound < seconds)] += 1;
        histogram.sum += seconds;
    }

    /// What came of the lookups so far.
    pub fn counts(&self) -> DnsCounts {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
    }
}

impl Inner {
    fn key(
        &mut self,
        lookup: &Lookup,
        process: &Process,
        kind: Kind,
        error: Option<&'static str>,
        limits: &Limits,
    ) -> Key {
        if !self.services.contains_key(&process.service) {
            if self.services.len() >= limits.services {
                return Key::overflow(kind, error);
            }
            self.services
                .insert(Arc::clone(&process.service), Names::new(limits.names));
        }
        let claim = if error.is_none() {
            Claim::Likely
        } else {
            Claim::Doubtful
        };
        let name = self
            .services
            .get_mut(&process.service)
            .and_then(|names| names.number(&lookup.question.name, claim));
        Key {
            service: Some(Arc::clone(&process.service)),
            name,
            kind: kind.name(),
            error,
        }
    }
}

impl Key {
    /// The series of what there is no room for: as many as there are types and errors.
    fn overflow(kind: Kind, error: Option<&'static str>) -> Self {
        Self {
            service: None,
            name: None,
            kind: kind.name(),
            error,
        }
    }
}

/// What a lookup failed with: the response code's name in lower case, or `timeout`; none for one that did not fail. No record of the type that was asked for
/// is no failure.
pub fn error_type(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Answered(Code::NOERROR) => None,
        Outcome::Answered(code) => Some(code.name()),
        Outcome::TimedOut => Some("timeout"),
    }
}

impl Source for Dns {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let points = inner.series.iter().map(|(key, histogram)| {
            let name = key.service.as_ref().and_then(|service| {
                let names = inner.services.get(service)?;
                names.name(key.name?)
            });
            let name = name.map_or(Cow::Borrowed(OTHER), |name| name.to_string().into());
            let mut attributes: Attributes = vec![
                ("dns.question.name".into(), Value::Str(name)),
                (
                    "fathom.dns.question.type".into(),
                    Value::Str(key.kind.into()),
                ),
            ];
            if let Some(error) = key.error {
                attributes.push(("error.type".into(), Value::Str(error.into())));
            }
            if key.service.is_none() {
                attributes.push(("otel.metric.overflow".into(), Value::Bool(true)));
            }
            HistogramPoint {
                resource: key.service.clone().unwrap_or_else(|| OTHER_SERVICES.into()),
                attributes,
                bounds: &BOUNDS,
                counts: histogram.counts.to_vec(),
                sum: histogram.sum,
                exemplars: vec![None; BOUNDS.len() + 1],
            }
        });
        into.push(Metric {
            name: "dns.lookup.duration".into(),
            description: "From a question to a DNS server to its answer".into(),
            unit: "s",
            audience: Audience::All,
            data: Data::Histogram(points.collect()),
        });
    }
}

#[cfg(test)]
mod tests;

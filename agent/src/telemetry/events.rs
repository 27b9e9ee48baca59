//! `fathom.events`: what each stage took in, handed on and lost, by reason. One metric, which every stage adds to.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    metric::{Data, Metric, Number, NumberPoint, Source, Value},
    parents::ParentCounts,
};
use crate::{
    l7::{self, ExchangeOutcome, RecordOutcome},
    net::{Existing, flows::FlowCounts},
};

/// A stop on the way of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The kernel programs.
    Tap,
    /// A ring buffer's reader.
    Ring,
    /// Records to flows and messages.
    Decoder,
    /// Messages to exchanges.
    Correlator,
    /// Exchanges and flows to metrics and spans.
    Aggregator,
    /// Flows to records for a backend, by rules.
    Sampler,
    /// Metrics, spans, profiles and records to backends.
    Exporter,
}

impl Stage {
    /// The value of the attribute `stage`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::Ring => "ring",
            Self::Decoder => "decoder",
            Self::Correlator => "correlator",
            Self::Aggregator => "aggregator",
            Self::Sampler => "sampler",
            Self::Exporter => "exporter",
        }
    }
}

type Reader = Box<dyn Fn(&mut dyn FnMut(&'static str, u64)) + Send + Sync>;

/// The source of `fathom.events`.
#[derive(Default)]
pub struct Events {
    readers: Mutex<Vec<(Stage, &'static str, Reader)>>,
}

impl Events {
    /// Adds a stage's counts of one signal (`messages`, `flows`, `exchanges`, `samples`, `spans`, …). `read` is called at each
    /// collection and gives out each outcome with its count so far; the outcome `delivered` is what was handed on.
    pub fn register(
        &self,
        stage: Stage,
        signal: &'static str,
        read: impl Fn(&mut dyn FnMut(&'static str, u64)) + Send + Sync + 'static,
    ) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push((stage, signal, Box::new(read)));
    }

    /// Adds the message decoder.
    pub fn register_messages(&self, counts: Arc<l7::Counts>) {
        let exchanges = Arc::clone(&counts);
        self.register(Stage::Decoder, "messages", move |give| {
            for &outcome in RecordOutcome::ALL {
                give(outcome.name(), counts.records(outcome));
            }
        });
        self.register(Stage::Correlator, "exchanges", move |give| {
            for &outcome in ExchangeOutcome::ALL {
                give(outcome.name(), exchanges.exchanges(outcome));
            }
        });
    }

    /// Adds what became of the search for client exchanges' parents.
    pub fn register_parents(&self, counts: Arc<ParentCounts>) {
        self.register(Stage::Correlator, "client_parents", move |give| {
            give("parented", counts.parented());
            give("own", counts.own());
            give("passed", counts.passed());
            give("alone", counts.alone());
            give("ambiguous", counts.ambiguous());
        });
    }

    /// Adds the search for connections that were open before.
    pub fn register_existing(&self, existing: Arc<Existing>) {
        self.register(Stage::Tap, "existing", move |give| {
            let counts = existing.counts();
            give("delivered", counts.listed.connections - counts.forgotten);
            give("role_forgotten", counts.forgotten);
            give("unlisted", counts.unlisted);
            give("namespace_denied", counts.listed.denied);
            give("namespace_incomplete", counts.listed.incomplete);
        });
    }

    /// Adds the flow decoder.
    pub fn register_flows(&self, counts: Arc<FlowCounts>) {
        self.register(Stage::Decoder, "flows", move |give| {
            give("delivered", counts.delivered());
            give("malformed", counts.malformed());
        });
    }
}

impl Source for Events {
    fn collect(&self, into: &mut Vec<Metric>) {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut points = Vec::new();
        for (stage, signal, read) in readers.iter() {
            read(&mut |outcome, count| {
                let attribute =
                    |name, value| (Cow::Borrowed(name), Value::Str(Cow::Borrowed(value)));
                points.push(NumberPoint {
                    resource: "".into(),
                    attributes: vec![
                        attribute("stage", stage.name()),
                        attribute("signal", signal),
                        attribute("outcome", outcome),
                    ],
                    value: Number::Int(count),
                });
            });
        }
        into.push(Metric {
            name: "fathom.events".into(),
            description: "Records, exchanges, flows, samples and exports by what came of them"
                .into(),
            unit: "{event}",
            audience: super::metric::Audience::All,
            data: Data::Counter(points),
        });
    }
}

#[cfg(test)]
mod tests;

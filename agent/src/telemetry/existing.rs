//! `fathom.connections` and `fathom.connections.recognized`: what was open when fathom came, and what of it could be read since.

use std::{borrow::Cow, sync::Arc};

use super::metric::{Audience, Data, Metric, Number, NumberPoint, Source, Value};
use crate::{
    l7::{self, Recognized},
    net::Existing,
};

/// The source of both.
pub struct ExistingConnections {
    existing: Arc<Existing>,
    decoder: Arc<l7::Counts>,
}

impl ExistingConnections {
    /// What was open, and what the decoder counts of it.
    pub fn new(existing: Arc<Existing>, decoder: Arc<l7::Counts>) -> Self {
        Self { existing, decoder }
    }
}

impl Source for ExistingConnections {
    fn collect(&self, into: &mut Vec<Metric>) {
        let counts = self.existing.counts();
        into.push(Metric {
            name: "fathom.connections".into(),
            description:
                "TCP connections that were open when fathom came, by the role of this node's end"
                    .into(),
            unit: "{connection}",
            audience: Audience::All,
            data: Data::UpDownCounter(vec![
                point("role", "server", counts.server),
                point("role", "client", counts.client),
                point("role", "unknown", counts.unknown),
            ]),
        });
        into.push(Metric {
            name: "fathom.connections.recognized".into(),
            description: "Of the TCP connections that were open when fathom came, those that turned out to speak a protocol which is decoded. Plain text behind TLS counts".into(),
            unit: "{connection}",
            audience: Audience::All,
            data: Data::Counter(
                Recognized::ALL
                    .iter()
                    .map(|&one| point("protocol", one.name(), self.decoder.recognized(one)))
                    .collect(),
            ),
        });
    }
}

fn point(key: &'static str, value: &'static str, count: u64) -> NumberPoint {
    let attribute =
        |key: &'static str, value| (Cow::Borrowed(key), Value::Str(Cow::Borrowed(value)));
    NumberPoint {
        resource: "".into(),
        attributes: vec![attribute("origin", "existing"), attribute(key, value)],
        value: Number::Int(count),
    }
}

//! `/metrics`: OpenMetrics 1.0, and the older Prometheus text format for scrapers that ask for it.
//!
//! Names follow the OpenTelemetry specification's "Prometheus and OpenMetrics Compatibility". The encoder is our own
//! because `prometheus-client` writes only the first of the two formats, and none that is for OpenMetrics alone lets the
//! DCGM exporter's counters keep names without `_total`.

mod name;
mod page;
mod write;

use std::sync::Arc;

pub use self::{page::TargetInfo, write::Format};
use crate::telemetry::metric::Source;

/// Asks all sources and writes what they have: each family once, each series once.
#[must_use]
pub fn render(sources: &[Arc<dyn Source>], format: Format) -> String {
    let mut metrics = Vec::new();
    for source in sources {
        source.collect(&mut metrics);
    }
    write::page(&page::families(metrics), format)
}

#[cfg(test)]
mod tests;

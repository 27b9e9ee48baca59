//! The identity that every stage must keep: what came in is what went out and what was lost, by reason.

use anyhow::{Result, ensure};

use crate::metrics::Metrics;

/// The metric of all stages.
const EVENTS: &str = "fathom_events_total";

/// Holds once the agent has drained its rings: each count on the left was made by another stage than that on the right.
pub fn check(metrics: &Metrics) -> Result<()> {
    for signal in ["messages", "flows"] {
        let delivered = of(metrics, "tap", signal, Some("delivered"));
        let taken = of(metrics, "ring", signal, Some("delivered"));
        ensure!(
            delivered == taken,
            "{signal}: the tap put {delivered} records into the ring, {taken} came out of it"
        );
        let decoded = of(metrics, "decoder", signal, None);
        ensure!(
            taken == decoded,
            "{signal}: {taken} records came out of the ring, the decoder accounts for {decoded}"
        );
    }
    let exchanges = of(metrics, "correlator", "exchanges", Some("delivered"));
    let aggregated = of(metrics, "aggregator", "exchanges", None);
    ensure!(
        exchanges == aggregated,
        "{exchanges} exchanges were handed on, the aggregator accounts for {aggregated}"
    );
    let counted: u64 = [
        "http_server_request",
        "http_client_request",
        "rpc_server_call",
        "rpc_client_call",
    ]
    .iter()
    .map(|what| metrics.count(&format!("{what}_duration_seconds_count"), &[]))
    .sum();
    ensure!(
        counted == aggregated,
        "{aggregated} exchanges were aggregated, the histograms hold {counted}"
    );
    Ok(())
}

/// Exchanges that are known to have happened and were lost, and records that a ring refused.
pub fn losses(metrics: &Metrics) -> u64 {
    let all = of(metrics, "correlator", "exchanges", None);
    let delivered = of(metrics, "correlator", "exchanges", Some("delivered"));
    all - delivered + of(metrics, "tap", "messages", Some("ring_full"))
}

/// I/O calls that the kernel did not show to the tap, by its own count, and those that came while a program was kept from its end.
pub fn missed_calls(metrics: &Metrics) -> u64 {
    ["recursion", "return_missed", "interrupted"]
        .map(|outcome| of(metrics, "tap", "io", Some(outcome)))
        .iter()
        .sum()
}

/// How much of a signal came to a stage, or to this outcome there.
pub fn of(metrics: &Metrics, stage: &str, signal: &str, outcome: Option<&str>) -> u64 {
    let mut labels = vec![("stage", stage), ("signal", signal)];
    labels.extend(outcome.map(|outcome| ("outcome", outcome)));
    metrics.count(EVENTS, &labels)
}

/// Every count that is not zero, for messages.
pub fn all(metrics: &Metrics) -> String {
    metrics
        .select(EVENTS, &[])
        .filter(|sample| sample.value > 0.0)
        .map(|sample| {
            let label = |key: &str| sample.labels.get(key).map_or("", String::as_str);
            format!(
                "{}/{}/{} {}",
                label("stage"),
                label("signal"),
                label("outcome"),
                sample.value
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

//! How long requests took: fathom's spans, against a clock that is not fathom's.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::{End, Role};
use crate::receiver::Receiver;

/// For how long spans may be on their way.
const ARRIVED: Duration = Duration::from_secs(10);

/// A moment by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// CLOCK_MONOTONIC, seconds.
    pub monotonic: f64,
    /// Nanoseconds since 1970.
    pub unix_ns: u64,
}

impl Moment {
    /// Now.
    #[expect(clippy::cast_precision_loss, reason = "seconds since boot")]
    pub fn now() -> Self {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            monotonic: monotonic.tv_sec as f64 + monotonic.tv_nsec as f64 / 1e9,
            unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Two medians of the same requests, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// By the program's own clock, or that of its client.
    pub own: f64,
    /// By fathom's.
    pub fathom: f64,
}

impl Latency {
    /// How far they are apart.
    pub fn apart(self) -> f64 {
        (self.fathom - self.own).abs()
    }

    /// Whether they are as close as promised: 5 % or 50 µs, whichever is more.
    pub fn is_close(self) -> bool {
        self.apart() <= (self.own * 0.05).max(50.0)
    }
}

/// The spans of each service and side.
pub struct Spans(BTreeMap<(String, &'static str), Vec<Span>>);

#[derive(Clone, Copy)]
struct Span {
    start_ns: u64,
    end_ns: u64,
}

impl Spans {
    /// The spans that came in, once there are `count`.
    pub fn of(receiver: &Receiver, count: u64) -> Result<Self> {
        let deadline = Instant::now() + ARRIVED;
        loop {
            let spans = Self::read(&receiver.requests("traces")?);
            let arrived: usize = spans.0.values().map(Vec::len).sum();
            if arrived as u64 >= count || Instant::now() >= deadline {
                return Ok(spans);
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn read(requests: &[Value]) -> Self {
        let mut spans: BTreeMap<_, Vec<Span>> = BTreeMap::new();
        for of_resource in requests
            .iter()
            .flat_map(|request| items(request, "resource_spans"))
        {
            let Some(service) = service(&of_resource["resource"]) else {
                continue;
            };
            for span in items(of_resource, "scope_spans").flat_map(|scope| items(scope, "spans")) {
                let side = match span["kind"].as_str() {
                    Some("SPAN_KIND_SERVER") => Role::Server.name(),
                    Some("SPAN_KIND_CLIENT") => Role::Client.name(),
                    _ => continue,
                };
                spans
                    .entry((service.clone(), side))
                    .or_default()
                    .push(Span {
                        start_ns: number(&span["start_time_unix_nano"]),
                        end_ns: number(&span["end_time_unix_nano"]),
                    });
            }
        }
        Self(spans)
    }

    /// The medians of what an end did in its timed part; none where one of the two is not told.
    pub fn compare(&self, end: &End) -> Option<Latency> {
        let spans = self.0.get(&(end.service.clone(), end.role.name()))?;
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let mut of_fathom: Vec<f64> = spans
            .iter()
            .filter(|span| span.start_ns >= end.since.unix_ns)
            .map(|span| span.end_ns.saturating_sub(span.start_ns) as f64 / 1e3)
            .collect();
        let mut own: Vec<f64> = end.times.iter().map(|time| time.seconds * 1e6).collect();
        Some(Latency {
            own: median(&mut own)?,
            fathom: median(&mut of_fathom)?,
        })
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Items of a repeated field.
fn items<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    of[field].as_array().into_iter().flatten()
}

fn service(resource: &Value) -> Option<String> {
    let attribute = items(resource, "attributes").find(|found| found["key"] == "service.name")?;
    Some(attribute["value"]["string_value"].as_str()?.to_owned())
}

/// A number of 64 bits, which JSON has as text.
fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Latency, Role, Spans, median};

    #[test]
    fn spans_are_told_apart_by_service_and_side() {
        let request = serde_json::json!({ "resource_spans": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "string_value": "a" } }] },
            "scope_spans": [{ "spans": [
                { "kind": "SPAN_KIND_SERVER", "start_time_unix_nano": "1000", "end_time_unix_nano": "3000" },
                { "kind": "SPAN_KIND_CLIENT", "start_time_unix_nano": "1", "end_time_unix_nano": "2" },
                { "kind": "SPAN_KIND_INTERNAL" },
            ] }],
        }] });
        let spans = Spans::read(&[request]);
        let server = &spans.0[&("a".to_owned(), Role::Server.name())];
        assert_eq!(server.len(), 1);
        assert_eq!((server[0].start_ns, server[0].end_ns), (1000, 3000));
        assert_eq!(spans.0.len(), 2);
    }

    #[test]
    fn close_is_five_percent_or_fifty_microseconds() {
        let close = |own, fathom| Latency { own, fathom }.is_close();
        assert!(close(100.0, 149.0) && !close(100.0, 151.0));
        assert!(close(10_000.0, 10_400.0) && !close(10_000.0, 9_400.0));
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
    }
}

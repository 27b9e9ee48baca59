//! How long requests took: fathom's spans, against a clock that is not fathom's.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::OnceLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use serde_json::Value;

use super::{
    End, Role,
    load::{Clock, Timing},
};
use crate::{receiver::Receiver, subjects::program::of_this_run};

/// When nothing has come for so long, no more spans will.
const ARRIVED: Duration = Duration::from_secs(4);

/// A stretch of time, nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    since: u64,
    until: u64,
}

impl Window {
    /// One that begins now and has no end yet.
    pub fn now() -> Self {
        Self {
            since: now(),
            until: u64::MAX,
        }
    }

    /// The same, up to now.
    pub fn until_now(self) -> Self {
        Self {
            until: now(),
            ..self
        }
    }

    fn holds(self, time: u64) -> bool {
        (self.since..=self.until).contains(&time)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Two medians of the same requests, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Whose clock it is compared with.
    pub by: Clock,
    /// By that clock; none where there is none.
    pub other: Option<f64>,
    /// By a second clock, where there is one: the span may lie anywhere between the two. With packets it is the library's, as what has come waits for its reader.
    /// That is a client's answer, so that its library's time is the longest, and a server's request, so that its library's is the shortest. With curl it is the
    /// longest that curl's own times allow.
    pub bound: Option<f64>,
    /// By fathom's.
    pub fathom: f64,
}

impl Latency {
    /// Whether they are as close as promised on this machine; see [`grace_us`].
    pub fn is_close(self) -> bool {
        self.is_within(grace_us())
    }

    /// Whether they are within 5 % or so many microseconds, whichever is more.
    fn is_within(self, grace_us: f64) -> bool {
        self.other.is_none_or(|other| {
            let is_between = self
                .bound
                .is_some_and(|bound| (other.min(bound)..=other.max(bound)).contains(&self.fathom));
            is_between || (self.fathom - other).abs() <= (other * 0.05).max(grace_us)
        })
    }
}

/// What lies between two clocks, in microseconds: the program has to be woken, and its peer. 50, or twice the time that a byte takes over loopback to another
/// thread and back, where that is more: shared machines have slow hours.
fn grace_us() -> f64 {
    static GRACE: OnceLock<f64> = OnceLock::new();
    *GRACE.get_or_init(|| round_trip_us().map_or(50.0, |median| (2.0 * median).max(50.0)))
}

/// The median of many.
fn round_trip_us() -> io::Result<f64> {
    const ROUNDS: usize = 501;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    thread::spawn(move || {
        let mut byte = [0];
        while server.read_exact(&mut byte).is_ok() && server.write_all(&byte).is_ok() {}
    });
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        client.write_all(&[0])?;
        client.read_exact(&mut [0])?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    median(&mut took).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The spans of each service and side.
pub struct Spans(BTreeMap<(String, &'static str), Vec<Span>>);

#[derive(Clone, Copy)]
struct Span {
    start_ns: u64,
    end_ns: u64,
}

impl Spans {
    /// The spans that came in, once there are `count`, or so long after that no more will.
    pub fn of(receiver: &Receiver, count: u64) -> Result<Self> {
        Self::once(receiver, |spans| {
            let arrived: usize = spans.0.values().map(Vec::len).sum();
            arrived as u64 >= count
        })
    }

    /// The same, once those of what an end did in its timed part are there.
    pub fn of_end(receiver: &Receiver, end: &End) -> Result<Self> {
        Self::once(receiver, |spans| {
            end.timing
                .as_ref()
                .is_none_or(|timing| spans.durations(end, timing).len() >= timing.requests)
        })
    }

    fn once(receiver: &Receiver, complete: impl Fn(&Self) -> bool) -> Result<Self> {
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let spans = Self::read(&receiver.requests_with("traces", &of_this_run())?);
            let count = spans.0.values().map(Vec::len).sum();
            if count > before {
                (before, since) = (count, Instant::now());
            }
            if complete(&spans) || since.elapsed() >= ARRIVED {
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

    /// The medians of what an end did in its timed part; none where a tenth of the requests or more have no span: the others may have another median.
    pub fn compare(&self, end: &End) -> Option<Latency> {
        let timing = end.timing.as_ref()?;
        let mut of_fathom = self.durations(end, timing);
        if of_fathom.len() * 10 < timing.requests * 9 {
            eprintln!(
                "{}: {} spans of {} requests",
                end.service,
                of_fathom.len(),
                timing.requests
            );
            return None;
        }
        let micros = |times: &[f64]| -> Vec<f64> { times.iter().map(|time| time * 1e6).collect() };
        Some(Latency {
            by: timing.by,
            other: median(&mut micros(&timing.times)),
            bound: median(&mut micros(&timing.bound)),
            fathom: median(&mut of_fathom)?,
        })
    }

    /// What the requests of its timed part took, microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a duration")]
    fn durations(&self, end: &End, timing: &Timing) -> Vec<f64> {
        let spans = self.0.get(&(end.service.clone(), end.role.name()));
        spans
            .into_iter()
            .flatten()
            .filter(|span| timing.window.holds(span.start_ns))
            .map(|span| span.end_ns.saturating_sub(span.start_ns) as f64 / 1e3)
            .collect()
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
    use super::{Clock, Latency, Role, Spans, median};

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
        let by = Clock::Own;
        let close = |other, fathom| {
            let other = Some(other);
            let bound = None;
            let latency = Latency {
                by,
                other,
                bound,
                fathom,
            };
            latency.is_within(50.0)
        };
        // What waits for its reader: it lies between the packets' time and the library's.
        let waits = |bound, fathom| {
            let latency = Latency {
                by: Clock::Wire,
                other: Some(1000.0),
                bound: Some(bound),
                fathom,
            };
            latency.is_within(50.0)
        };
        let client = |fathom| waits(2000.0, fathom);
        assert!(client(960.0) && client(1900.0) && !client(940.0) && !client(2010.0));
        let server = |fathom| waits(700.0, fathom);
        assert!(server(1040.0) && server(710.0) && !server(1060.0) && !server(690.0));
        assert!(close(100.0, 149.0) && !close(100.0, 151.0));
        assert!(close(10_000.0, 10_400.0) && !close(10_000.0, 9_400.0));
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
    }
}

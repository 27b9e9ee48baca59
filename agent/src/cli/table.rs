//! The short table that `fathom agent` draws on a terminal: what is seen now, and what was lost.
//!
//! It reads the same [`Metric`]s as the exporters do, so that it can't disagree with them.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::telemetry::metric::{Data, HistogramPoint, Metric, Number, Value};

/// Rows of requests that fit on the screen of someone on call.
const MAX_ROWS: usize = 12;

/// Outcomes of `fathom.events` that say what came, not what was lost.
const NO_LOSS: [&str; 22] = [
    "alone",
    "ambiguous",
    "answer",
    "cached",
    "delivered",
    "given_up",
    "local",
    "not_found",
    "not_http",
    "off",
    "own",
    "parented",
    "plain",
    "query",
    "query_again",
    "sampled_out",
    "served",
    "translated",
    "unasked",
    "unbound",
    "unknown_connection",
    "upgraded",
];

/// One line of requests: a service, a side and a route, over all statuses.
#[derive(Clone, Debug, Default)]
struct Row {
    requests: u64,
    errors: u64,
    seconds: f64,
    buckets: Vec<u64>,
    bounds: &'static [f64],
}

type RowKey = (String, &'static str, String);

/// The table's memory: the totals of the frame before, so that a frame shows rates.
#[derive(Debug)]
pub struct Table {
    before: BTreeMap<RowKey, Row>,
    drawn: Instant,
}

impl Table {
    /// A table whose first frame shows the rates since `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            before: BTreeMap::new(),
            drawn: now,
        }
    }

    /// The next frame, as lines of text; `headline` comes first.
    pub fn frame(&mut self, headline: &str, metrics: &[Metric], now: Instant) -> String {
        let elapsed = now
            .duration_since(self.drawn)
            .max(Duration::from_millis(1))
            .as_secs_f64();
        let rows = requests(metrics);
        let mut lines = Vec::with_capacity(rows.len());
        for (key, row) in &rows {
            let before = self.before.get(key);
            lines.push((row.requests - before.map_or(0, |b| b.requests), key, row));
        }
        // The busiest now, then the busiest ever: an idle node still shows what it served.
        lines.sort_by_key(|(new, _, row)| Reverse((*new, row.requests)));

        let mut out = String::new();
        let _ = writeln!(out, "{headline}");
        let _ = writeln!(
            out,
            "{:<20} {:<6} {:<34} {:>9} {:>10} {:>7} {:>9} {:>9}",
            "SERVICE", "SIDE", "ROUTE", "REQ/S", "REQUESTS", "ERRORS", "MEAN", "P99"
        );
        for (new, (service, side, route), row) in lines.iter().take(MAX_ROWS) {
            let _ = writeln!(
                out,
                "{:<20} {side:<6} {:<34} {:>9.0} {:>10} {:>6.1}% {:>9} {:>9}",
                clip(service, 20),
                clip(route, 34),
                to_f64(*new) / elapsed,
                row.requests,
                100.0 * to_f64(row.errors) / to_f64(row.requests.max(1)),
                seconds(row.seconds / to_f64(row.requests.max(1))),
                quantile(row, 0.99),
            );
        }
        if lines.is_empty() {
            let _ = writeln!(out, "no request yet");
        } else if lines.len() > MAX_ROWS {
            let _ = writeln!(out, "… and {} more on /metrics", lines.len() - MAX_ROWS);
        }
        let _ = writeln!(
            out,
            "connections: {} active, {} in all · sent {} · received {}",
            total(metrics, "fathom.tcp.connections.active", |_| true),
            total(metrics, "fathom.tcp.connections", |_| true),
            bytes(total(metrics, "fathom.tcp.io", |d| d == "transmit")),
            bytes(total(metrics, "fathom.tcp.io", |d| d == "receive")),
        );
        let _ = writeln!(out, "lost: {}", losses(metrics));
        self.before = rows;
        self.drawn = now;
        out
    }
}

fn requests(metrics: &[Metric]) -> BTreeMap<RowKey, Row> {
    let mut rows = BTreeMap::new();
    for metric in metrics {
        // A client does not know the server's routes; it has a template of what it asked for.
        let (side, method, route) = match metric.name.as_ref() {
            "http.server.request.duration" => ("server", Some("http.request.method"), "http.route"),
            "http.client.request.duration" => {
                ("client", Some("http.request.method"), "url.template")
            }
            "rpc.server.call.duration" => ("server", None, "rpc.method"),
            "rpc.client.call.duration" => ("client", None, "rpc.method"),
            _ => continue,
        };
        let Data::Histogram(points) = &metric.data else {
            continue;
        };
        for point in points {
            let method = method.map_or_else(|| "gRPC".to_owned(), |name| attribute(point, name));
            let route = format!("{method} {}", attribute(point, route));
            let key = (point.resource.to_string(), side, route);
            add(rows.entry(key).or_default(), point);
        }
    }
    rows
}

fn add(row: &mut Row, point: &HistogramPoint) {
    let count: u64 = point.counts.iter().sum();
    row.requests += count;
    row.seconds += point.sum;
    row.bounds = point.bounds;
    row.buckets.resize(point.counts.len(), 0);
    for (to, from) in row.buckets.iter_mut().zip(&point.counts) {
        *to += from;
    }
    if point.attributes.iter().any(|(key, _)| key == "error.type") {
        row.errors += count;
    }
}

fn attribute(point: &HistogramPoint, name: &str) -> String {
    point
        .attributes
        .iter()
        .find(|(key, _)| key == name)
        .map_or_else(String::new, |(_, value)| text(value))
}

fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
    }
}

/// The sum of a metric's points of which any attribute's value passes.
fn total(metrics: &[Metric], name: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    let mut sum = 0;
    for metric in metrics.iter().filter(|metric| metric.name == name) {
        let (Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points)) =
            &metric.data
        else {
            continue;
        };
        for point in points {
            let passes = point.attributes.is_empty()
                || point
                    .attributes
                    .iter()
                    .any(|(_, value)| wanted(&text(value)));
            if let (true, Number::Int(value)) = (passes, point.value) {
                sum += value;
            }
        }
    }
    sum
}

/// Every loss with its reason, or a plain `nothing`.
fn losses(metrics: &[Metric]) -> String {
    let mut lost = Vec::new();
    for metric in metrics
        .iter()
        .filter(|metric| metric.name == "fathom.events")
    {
        let Data::Counter(points) = &metric.data else {
            continue;
        };
        for point in points {
            let field = |name: &str| {
                point
                    .attributes
                    .iter()
                    .find(|(key, _)| key == name)
                    .map_or_else(String::new, |(_, value)| text(value))
            };
            let outcome = field("outcome");
            if let Number::Int(count @ 1..) = point.value
                && !NO_LOSS.contains(&outcome.as_str())
            {
                lost.push(format!("{count} {} {outcome}", field("signal")));
            }
        }
    }
    if lost.is_empty() {
        "nothing".to_owned()
    } else {
        lost.join(", ")
    }
}

fn quantile(row: &Row, wanted: f64) -> String {
    let total: u64 = row.buckets.iter().sum();
    let mut seen = 0;
    for (index, count) in row.buckets.iter().enumerate() {
        seen += count;
        if to_f64(seen) >= wanted * to_f64(total) {
            return row.bounds.get(index).map_or_else(
                || format!(">{}", seconds(row.bounds.last().copied().unwrap_or(0.0))),
                |bound| format!("≤{}", seconds(*bound)),
            );
        }
    }
    "-".to_owned()
}

fn seconds(value: f64) -> String {
    if value < 0.001 {
        format!("{:.0} µs", value * 1e6)
    } else if value < 1.0 {
        format!("{:.1} ms", value * 1e3)
    } else {
        format!("{value:.2} s")
    }
}

fn bytes(value: u64) -> String {
    let mut amount = to_f64(value);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width - 1).chain(['…']).collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown with three digits; 2^53 events are out of reach"
)]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metric::{Attributes, Audience, NumberPoint};

    fn words(pairs: &[(&'static str, &'static str)]) -> Attributes {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), Value::Str((*value).into())))
            .collect()
    }

    fn metric(name: &'static str, data: Data) -> Metric {
        Metric {
            name: name.into(),
            description: "".into(),
            unit: "1",
            audience: Audience::All,
            data,
        }
    }

    fn point(pairs: &[(&'static str, &'static str)], value: u64) -> NumberPoint {
        NumberPoint {
            resource: "".into(),
            attributes: words(pairs),
            value: Number::Int(value),
        }
    }

    /// Requests of the service `shop`: 9 that took 4 ms, and one that failed after a second.
    fn requests(times: u64) -> Metric {
        const BOUNDS: &[f64] = &[0.005, 0.5, 2.5];
        let of = |counts: [u64; 4], sum, more: &[(&'static str, &'static str)]| HistogramPoint {
            resource: "shop".into(),
            attributes: words(
                &[
                    &[("http.request.method", "GET"), ("http.route", "/cart/{id}")],
                    more,
                ]
                .concat(),
            ),
            bounds: BOUNDS,
            counts: counts.iter().map(|count| count * times).collect(),
            sum,
            exemplars: vec![None; 4],
        };
        metric(
            "http.server.request.duration",
            Data::Histogram(vec![
                of([9, 0, 0, 0], 0.036, &[]),
                of([0, 0, 1, 0], 1.0, &[("error.type", "500")]),
            ]),
        )
    }

    #[test]
    fn a_frame_shows_rates_errors_and_quantiles_of_each_route() {
        let start = Instant::now();
        let mut table = Table::new(start);
        let first = table.frame("head", &[requests(1)], start + Duration::from_secs(1));
        let row = first
            .lines()
            .find(|line| line.starts_with("shop"))
            .expect("the service has a row");
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[1..4], ["server", "GET", "/cart/{id}"]);
        assert_eq!(cells[4..7], ["10", "10", "10.0%"], "{row}");
        assert!(row.ends_with("≤2.50 s"), "{row}");
        // Ten more within two seconds.
        let second = table.frame("head", &[requests(2)], start + Duration::from_secs(3));
        let row = second.lines().find(|line| line.starts_with("shop"));
        let cells: Vec<&str> = row.expect("a row").split_whitespace().collect();
        assert_eq!(cells[4..6], ["5", "20"]);
        assert!(second.ends_with("lost: nothing\n"));
    }

    #[test]
    fn a_client_shows_what_it_asked_for() {
        let asked = HistogramPoint {
            resource: "curl".into(),
            attributes: words(&[("http.request.method", "GET"), ("url.template", "/ok")]),
            bounds: &[1.0],
            counts: vec![1, 0],
            sum: 0.1,
            exemplars: vec![None; 2],
        };
        let client = metric("http.client.request.duration", Data::Histogram(vec![asked]));
        let start = Instant::now();
        let frame = Table::new(start).frame("", &[client], start);
        assert!(frame.contains("client GET /ok"), "{frame}");
    }

    #[test]
    fn a_call_shows_its_method() {
        let call = HistogramPoint {
            resource: "greeter".into(),
            attributes: words(&[
                ("rpc.method", "helloworld.Greeter/SayHello"),
                ("error.type", "INTERNAL"),
            ]),
            bounds: &[1.0],
            counts: vec![2, 0],
            sum: 0.1,
            exemplars: vec![None; 2],
        };
        let calls = metric("rpc.server.call.duration", Data::Histogram(vec![call]));
        let start = Instant::now();
        let frame = Table::new(start).frame("", &[calls], start);
        let row = frame.lines().find(|line| line.starts_with("greeter"));
        let cells: Vec<&str> = row.expect("a row").split_whitespace().collect();
        assert_eq!(
            cells[1..4],
            ["server", "gRPC", "helloworld.Greeter/SayHello"]
        );
        assert_eq!(cells[6], "100.0%");
    }

    #[test]
    fn what_was_lost_is_named_and_what_only_came_is_not() {
        let events = metric(
            "fathom.events",
            Data::Counter(vec![
                point(&[("signal", "messages"), ("outcome", "delivered")], 50),
                point(&[("signal", "messages"), ("outcome", "ring_full")], 3),
                point(&[("signal", "io"), ("outcome", "recursion")], 0),
            ]),
        );
        let start = Instant::now();
        let frame = Table::new(start).frame("head", &[events], start);
        assert!(frame.starts_with("head\n"));
        assert!(frame.contains("no request yet"));
        assert!(frame.ends_with("lost: 3 messages ring_full\n"), "{frame}");
    }

    #[test]
    fn connections_and_bytes_are_sums_over_services() {
        let both = |name, attributes: &[(&'static str, &'static str)]| {
            metric(
                name,
                Data::Counter(vec![point(attributes, 2), point(attributes, 3)]),
            )
        };
        let metrics = [
            both("fathom.tcp.connections", &[]),
            both("fathom.tcp.connections.active", &[]),
            both("fathom.tcp.io", &[("network.io.direction", "transmit")]),
        ];
        let start = Instant::now();
        let frame = Table::new(start).frame("", &metrics, start);
        assert!(
            frame.contains("connections: 5 active, 5 in all · sent 5.0 B · received 0.0 B"),
            "{frame}"
        );
    }
}

use std::borrow::Cow;

use super::*;
use crate::telemetry::metric::{
    Attributes, Audience, Data, Exemplar, HistogramPoint, Metric, Number, NumberPoint, Value,
};

struct Fixed(Vec<Metric>);

impl Source for Fixed {
    fn collect(&self, into: &mut Vec<Metric>) {
        into.extend_from_slice(&self.0);
    }
}

fn written(metrics: Vec<Metric>, format: Format) -> String {
    render(&[Arc::new(Fixed(metrics))], format)
}

/// Without the family that says that nothing was left out.
fn clean(metrics: Vec<Metric>, format: Format) -> String {
    const NONE: &str = "# TYPE fathom_export_clashes gauge\n\
        # HELP fathom_export_clashes Series left out of this page because another one has the same name and labels\n\
        fathom_export_clashes 0\n";
    let page = written(metrics, format);
    assert!(page.contains(NONE), "{page}");
    page.replace(NONE, "")
}

fn clashes(page: &str) -> &str {
    page.lines()
        .find_map(|line| line.strip_prefix("fathom_export_clashes "))
        .unwrap()
}

fn text(key: &'static str, value: &str) -> (Cow<'static, str>, Value) {
    (key.into(), Value::Str(value.to_owned().into()))
}

fn metric(name: &'static str, unit: &'static str, audience: Audience, data: Data) -> Metric {
    Metric {
        name: name.into(),
        description: "What it \"says\"".into(),
        unit,
        audience,
        data,
    }
}

fn point(value: Number, attributes: Attributes) -> NumberPoint {
    NumberPoint {
        resource: "".into(),
        attributes,
        value,
    }
}

fn one(value: u64) -> Vec<NumberPoint> {
    vec![point(Number::Int(value), Vec::new())]
}

fn sample() -> Vec<Metric> {
    vec![
        metric(
            "http.server.request.duration",
            "s",
            Audience::All,
            Data::Histogram(vec![HistogramPoint {
                resource: "shop \"a\\b\"".into(),
                attributes: vec![
                    text("http.route", "/a\n"),
                    ("http.response.status_code".into(), Value::Int(200)),
                ],
                bounds: &[0.005, 1.0],
                counts: vec![2, 0, 1],
                sum: 1.5,
                exemplars: vec![
                    Some(Exemplar {
                        value: 0.002,
                        time_unix_nano: 1_700_000_000_123_456_789,
                        trace_id: [0xab; 16],
                        span_id: [1; 8],
                    }),
                    None,
                    None,
                ],
            }]),
        ),
        metric(
            "fathom.events",
            "{event}",
            Audience::All,
            Data::Counter(vec![
                point(Number::Int(3), vec![text("stage", "tap")]),
                point(Number::Int(4), vec![text("stage", "ring")]),
            ]),
        ),
        metric(
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
            "",
            Audience::Prometheus,
            Data::Counter(vec![point(Number::Int(9), vec![text("gpu", "0")])]),
        ),
        metric(
            "hw.gpu.utilization",
            "1",
            Audience::Otlp,
            Data::Gauge(vec![point(Number::Float(0.5), vec![])]),
        ),
        metric(
            "fathom.memory.usage",
            "By",
            Audience::All,
            Data::UpDownCounter(one(5)),
        ),
    ]
}

#[test]
fn openmetrics_has_exemplars_units_and_an_end() {
    assert_eq!(
        clean(sample(), Format::OpenMetrics),
        r#"# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
# HELP http_server_request_duration_seconds What it \"says\"
http_server_request_duration_seconds_bucket{http_response_status_code="200",http_route="/a\n",service_name="shop \"a\\b\"",le="0.005"} 2 # {trace_id="abababababababababababababababab",span_id="0101010101010101"} 0.002 1700000000.123456789
http_server_request_duration_seconds_bucket{http_response_status_code="200",http_route="/a\n",service_name="shop \"a\\b\"",le="1.0"} 2
http_server_request_duration_seconds_bucket{http_response_status_code="200",http_route="/a\n",service_name="shop \"a\\b\"",le="+Inf"} 3
http_server_request_duration_seconds_sum{http_response_status_code="200",http_route="/a\n",service_name="shop \"a\\b\""} 1.5
http_server_request_duration_seconds_count{http_response_status_code="200",http_route="/a\n",service_name="shop \"a\\b\""} 3
# TYPE fathom_events counter
# HELP fathom_events What it \"says\"
fathom_events_total{stage="tap"} 3
fathom_events_total{stage="ring"} 4
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION unknown
# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION What it \"says\"
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 9
# TYPE fathom_memory_usage_bytes gauge
# UNIT fathom_memory_usage_bytes bytes
# HELP fathom_memory_usage_bytes What it \"says\"
fathom_memory_usage_bytes 5
# EOF
"#
    );
}

#[test]
fn the_text_format_has_neither_and_keeps_dcgms_names_and_types() {
    let page = clean(sample(), Format::Text);
    assert!(!page.contains("trace_id") && !page.contains("EOF") && !page.contains("UNIT"));
    assert!(page.contains("le=\"1\""), "{page}");
    assert!(page.contains(
        "# TYPE fathom_events_total counter\n# HELP fathom_events_total What it \"says\"\nfathom_events_total{stage=\"tap\"} 3\n"
    ), "{page}");
    assert!(page.contains(
        "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION What it \"says\"\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\"} 9\n"
    ), "{page}");
}

#[test]
fn the_accept_header_chooses() {
    let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        ("*/*", Format::OpenMetrics),
        (prometheus_2, Format::OpenMetrics),
        (prometheus_3, Format::OpenMetrics),
        ("text/plain;version=0.0.4", Format::Text),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
        (
            "text/plain, application/openmetrics-text; q=0.9",
            Format::Text,
        ),
        ("application/openmetrics-text;q=0, text/plain", Format::Text),
    ] {
        assert_eq!(Format::for_accept(accept), format, "{accept}");
    }
}

/// The specification's own examples, and each kind of unit.
#[test]
fn names_follow_the_specification() {
    let counter = || Data::Counter(one(1));
    let gauge = || Data::Gauge(one(1));
    for (name, unit, data, expected) in [
        (
            "system.filesystem.usage",
            "By",
            gauge(),
            "system_filesystem_usage_bytes",
        ),
        (
            "system.network.dropped",
            "{packet}",
            counter(),
            "system_network_dropped_total",
        ),
        (
            "fathom.tcp.io",
            "By",
            counter(),
            "fathom_tcp_io_bytes_total",
        ),
        ("a.duration.seconds", "s", gauge(), "a_duration_seconds"),
        ("a.total", "", counter(), "a_total"),
        ("a.utilization", "1", gauge(), "a_utilization_ratio"),
        ("a.retries", "1", counter(), "a_retries_total"),
        ("a.speed", "m/s", gauge(), "a_speed_meters_per_second"),
        ("a.rate", "{request}/s", gauge(), "a_rate_per_second"),
        ("a.bytes_seen", "By", gauge(), "a_bytes_seen_bytes"),
        ("0day..a--b", "", gauge(), "_0day_a_b"),
        ("a.temperature", "Cel", gauge(), "a_temperature_celsius"),
    ] {
        let page = clean(
            vec![metric(name, unit, Audience::All, data)],
            Format::OpenMetrics,
        );
        let line = format!("\n{expected} 1\n");
        assert!(page.contains(&line), "{name} is not {expected} in\n{page}");
    }
}

/// Two sources with one name are one family; what has the same labels, or another type, is left out and counted.
#[test]
fn no_family_and_no_series_comes_twice() {
    let a = metric(
        "a",
        "",
        Audience::All,
        Data::Counter(vec![
            point(Number::Int(1), vec![text("x", "1")]),
            point(Number::Int(2), vec![text("x", "1")]),
        ]),
    );
    // Equal once it is written: an empty label is none, and `y.z` is `y_z`.
    let b = metric(
        "a",
        "",
        Audience::All,
        Data::Counter(vec![
            point(Number::Int(3), vec![text("x", "1"), text("empty", "")]),
            point(Number::Int(4), vec![text("y.z", "1")]),
            point(Number::Int(5), vec![text("y_z", "1")]),
        ]),
    );
    let other = metric(
        "a",
        "",
        Audience::All,
        Data::Histogram(vec![HistogramPoint {
            resource: "".into(),
            attributes: Vec::new(),
            bounds: &[],
            counts: vec![1],
            sum: 1.0,
            exemplars: vec![None],
        }]),
    );
    let page = written(vec![a, b, other], Format::OpenMetrics);
    assert_eq!(page.matches("# TYPE a ").count(), 1);
    let series: Vec<_> = page.lines().filter(|line| line.starts_with("a_")).collect();
    assert_eq!(series, ["a_total{x=\"1\"} 1", "a_total{y_z=\"1\"} 4"]);
    assert_eq!(clashes(&page), "4");
}

#[test]
fn keys_that_become_one_label_share_it() {
    let attributes = vec![text("a.b", "1"), text("a_b", "2"), text("a-b", "3")];
    let series = point(Number::Int(1), attributes);
    let page = clean(
        vec![metric("m", "", Audience::All, Data::Gauge(vec![series]))],
        Format::OpenMetrics,
    );
    assert!(page.contains("m{a_b=\"1;2;3\"} 1\n"), "{page}");
}

#[test]
fn numbers_are_written_as_the_format_has_them() {
    for (value, expected) in [
        (Number::Int(u64::MAX), "18446744073709551615"),
        (Number::Float(0.1), "0.1"),
        (Number::Float(2.0), "2.0"),
        (Number::Float(1e300), "1e300"),
        (Number::Float(f64::NAN), "NaN"),
        (Number::Float(f64::INFINITY), "+Inf"),
        (Number::Float(f64::NEG_INFINITY), "-Inf"),
    ] {
        let data = Data::Gauge(vec![point(value, Vec::new())]);
        let page = clean(
            vec![metric("m", "", Audience::All, data)],
            Format::OpenMetrics,
        );
        assert!(page.contains(&format!("\nm {expected}\n")), "{page}");
    }
}

#[test]
fn the_target_describes_fathom() {
    let target = TargetInfo::new("fathom", &[("host.name".into(), "n1".into())]);
    let sources: [Arc<dyn Source>; 1] = [Arc::new(target)];
    let series = concat!(
        "target_info{host_name=\"n1\",service_name=\"fathom\",service_version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1\n"
    );
    let open = render(&sources, Format::OpenMetrics);
    assert!(
        open.starts_with("# TYPE target info\n# HELP target What serves this page\n"),
        "{open}"
    );
    assert!(open.contains(series), "{open}");
    let text = render(&sources, Format::Text);
    assert!(text.starts_with("# TYPE target_info gauge\n"), "{text}");
    assert!(text.contains(series), "{text}");
}

use super::*;

fn text(key: &'static str, value: &str) -> (std::borrow::Cow<'static, str>, Value) {
    (key.into(), Value::Str(value.to_owned().into()))
}

fn metric(name: &'static str, unit: &'static str, audience: Audience, data: Data) -> Metric {
    Metric {
        name: name.into(),
        description: "What it says".into(),
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
                bounds: &[0.005, 0.01],
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
                point(Number::Int(4), vec![text("stage", "tap")]),
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
            Data::UpDownCounter(vec![point(Number::Int(5), vec![])]),
        ),
    ]
}

#[test]
fn openmetrics_has_exemplars_units_and_an_end() {
    let written = write(&sample(), Format::OpenMetrics);
    assert_eq!(
        written,
        r#"# HELP http_server_request_duration_seconds What it says
# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
http_server_request_duration_seconds_bucket{service_name="shop \"a\\b\"",http_route="/a\n",http_response_status_code="200",le="0.005"} 2 # {trace_id="abababababababababababababababab",span_id="0101010101010101"} 0.002 1700000000.123
http_server_request_duration_seconds_bucket{service_name="shop \"a\\b\"",http_route="/a\n",http_response_status_code="200",le="0.01"} 2
http_server_request_duration_seconds_bucket{service_name="shop \"a\\b\"",http_route="/a\n",http_response_status_code="200",le="+Inf"} 3
http_server_request_duration_seconds_sum{service_name="shop \"a\\b\"",http_route="/a\n",http_response_status_code="200"} 1.5
http_server_request_duration_seconds_count{service_name="shop \"a\\b\"",http_route="/a\n",http_response_status_code="200"} 3
# HELP fathom_events What it says
# TYPE fathom_events counter
fathom_events_total{stage="tap"} 3
# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION What it says
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION_total{gpu="0"} 9
# HELP fathom_memory_usage_bytes What it says
# TYPE fathom_memory_usage_bytes gauge
# UNIT fathom_memory_usage_bytes bytes
fathom_memory_usage_bytes 5
# EOF
"#
    );
}

#[test]
fn the_text_format_has_neither_and_keeps_dcgms_names() {
    let written = write(&sample(), Format::Text);
    assert!(!written.contains("trace_id") && !written.contains("EOF") && !written.contains("UNIT"));
    assert!(
        written
            .contains("# TYPE fathom_events_total counter\nfathom_events_total{stage=\"tap\"} 3\n")
    );
    assert!(written.contains("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=\"0\"} 9\n"));
}

#[test]
fn the_accept_header_chooses() {
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4",
            Format::OpenMetrics,
        ),
        ("text/plain;version=0.0.4", Format::Text),
        ("application/openmetrics-text;q=0", Format::Text),
    ] {
        assert_eq!(Format::for_accept(accept), format, "{accept}");
    }
}

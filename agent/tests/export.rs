//! What fathom exports, as programs read it that share no code with it: an OTLP receiver made from the published
//! schema, and Prometheus's own Python parser of `/metrics`.

mod python;

use std::{process::Command, sync::Arc, time::Duration};

use fathom::{
    export::{
        openmetrics::{Format, TargetInfo, render},
        otlp::{
            Exporter,
            profiles::Requests,
            settings::{Given, Settings},
        },
    },
    identity::Process,
    l7::exchange::{ExchangeKey, Side},
    profile::{
        Function, Known, Line, Location, Mapping, Origin, Profile, Quality, Stack, StackQuality,
    },
    telemetry::{
        metric::{
            Attributes, Audience, Data, Exemplar, HistogramPoint, Metric, Number, NumberPoint,
            Source, Value as Attribute,
        },
        span::{Resource, Span},
    },
};
use fathom_abi::ConnectionId;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use python::Receiver;
use serde_json::{Value, json};

const TRACE: [u8; 16] = *b"0123456789abcdef";
const SPAN: [u8; 8] = *b"01234567";

struct Fixed;

impl Source for Fixed {
    fn collect(&self, into: &mut Vec<Metric>) {
        let number = |resource: &str, attributes, value| NumberPoint {
            resource: resource.into(),
            attributes,
            value,
        };
        let metric = |name: &'static str, unit, audience, data| Metric {
            name: name.into(),
            description: "says \"this\" \\ and\nthat".into(),
            unit,
            audience,
            data,
        };
        into.push(metric(
            "http.server.request.duration",
            "s",
            Audience::All,
            Data::Histogram(vec![HistogramPoint {
                resource: "shop".into(),
                attributes: vec![
                    text("http.route", "/a \"b\" \\ \n"),
                    ("http.response.status_code".into(), Attribute::Int(200)),
                ],
                bounds: &[0.005, 0.01, 1.0],
                counts: vec![1, 0, 2, 3],
                sum: 21.5,
                exemplars: vec![
                    None,
                    None,
                    Some(Exemplar {
                        value: 0.5,
                        time_unix_nano: 1_700_000_000_250_000_000,
                        trace_id: TRACE,
                        span_id: SPAN,
                    }),
                    None,
                ],
            }]),
        ));
        into.push(metric(
            "fathom.tcp.io",
            "By",
            Audience::All,
            Data::Counter(vec![
                number(
                    "shop",
                    vec![text("network.io.direction", "transmit")],
                    Number::Int(7),
                ),
                number(
                    "shop",
                    vec![text("network.io.direction", "receive")],
                    Number::Int(9),
                ),
                number(
                    "cart",
                    vec![text("network.io.direction", "receive")],
                    Number::Int(1),
                ),
            ]),
        ));
        into.push(metric(
            "fathom.tcp.connections.active",
            "{connection}",
            Audience::All,
            Data::UpDownCounter(vec![number("shop", Vec::new(), Number::Int(4))]),
        ));
        into.push(metric(
            "fathom.cpu.utilization",
            "1",
            Audience::All,
            Data::Gauge(vec![number("", Vec::new(), Number::Float(0.25))]),
        ));
        into.push(metric(
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
            "",
            Audience::Prometheus,
            Data::Counter(vec![number("", vec![text("gpu", "0")], Number::Int(11))]),
        ));
        into.push(metric(
            "hw.gpu.utilization",
            "1",
            Audience::Otlp,
            Data::Gauge(vec![number(
                "",
                vec![text("hw.id", "GPU-1")],
                Number::Float(0.5),
            )]),
        ));
    }
}

fn text(key: &'static str, value: &'static str) -> (std::borrow::Cow<'static, str>, Attribute) {
    (key.into(), Attribute::Str(value.into()))
}

fn span(number: u8, side: Side, attributes: Attributes) -> Span {
    Span {
        trace_id: TRACE,
        span_id: [number; 8],
        parent_span_id: (side == Side::Server).then_some(SPAN),
        flags: 1,
        trace_state: None,
        name: "GET /a".to_owned(),
        side,
        start_unix_nano: 1_700_000_000_000_000_001,
        end_unix_nano: 1_700_000_000_500_000_001,
        resource: Arc::new(Resource {
            service_name: "shop".into(),
            attributes: vec![("process.pid".into(), Attribute::Int(42))],
        }),
        attributes,
        error: side == Side::Client,
    }
}

const EXCHANGE: ExchangeKey = ExchangeKey {
    connection: ConnectionId {
        sock: 1,
        born_ns: 2,
    },
    message: 3,
    part: 0,
};

/// Three samples of `copy`, inlined into `main` in `/bin/shop`, taken while it served a request.
fn profile() -> ExportProfilesServiceRequest {
    let line = |function, line, column| Line {
        function,
        line,
        column,
    };
    let profile = Profile {
        process: Arc::new(Process {
            pid: 42,
            start_ticks: 1,
            service: "shop".into(),
            executable: Some("/bin/shop".into()),
            comm: "shop".into(),
            container: None,
        }),
        start_ns: 7,
        duration_ns: 10_000_000_000,
        period_ns: 10_000_000,
        mappings: vec![Mapping {
            start: 0x1000,
            end: 0x3000,
            offset: 0,
            name: "/bin/shop".into(),
            build_id: Some([0xab, 0xcd].into()),
            known: Known {
                functions: true,
                ..Known::default()
            },
        }],
        functions: vec![
            Function {
                name: "main".into(),
                system_name: "main".into(),
                file: Some("/src/main.c".into()),
            },
            Function {
                name: "copy".into(),
                system_name: "copy".into(),
                file: Some("/src/copy.h".into()),
            },
        ],
        locations: vec![Location {
            address: 0x1234,
            origin: Origin::Native,
            mapping: Some(0),
            lines: [line(1, 7, 3), line(0, 20, 0)].into(),
        }],
        stacks: vec![Stack {
            locations: vec![0],
            count: 3,
            tid: 43,
            comm: "worker".into(),
            exchange: Some(EXCHANGE),
            quality: StackQuality::Whole,
        }],
        quality: Quality::default(),
    };
    let span = |key: &ExchangeKey| (*key == EXCHANGE).then_some((TRACE, SPAN));
    let mut requests = Requests::new(|ns| ns + 1_700_000_000_000_000_000, span);
    assert!(requests.add(&profile).is_none(), "it is small");
    requests.finish().unwrap()
}

/// A resource's attributes that are text.
fn resource(of: &Value) -> Value {
    let attributes = of["resource"]["attributes"].as_array().expect("attributes");
    attributes
        .iter()
        .map(|attribute| {
            let value = &attribute["value"];
            let value = value.get("string_value").or(value.get("int_value"));
            let key = attribute["key"].as_str().expect("a key").to_owned();
            (key, value.expect("a value").clone())
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Base64, as protobuf's JSON has bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for digit in 0..4 {
            let index = word >> (18 - 6 * digit) & 63;
            let shown = digit <= chunk.len();
            text.push(if shown {
                char::from(DIGITS[index])
            } else {
                '='
            });
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_receiver_reads_every_signal() {
    let python = match python::interpreter() {
        Ok(python) => python,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let receiver = Receiver::start(&python);
    let given = Given {
        endpoint_flag: Some(format!("http://{}", receiver.address)),
        ..Given::default()
    };
    let env = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("api-key=s%20cret".to_owned()),
        "OTEL_EXPORTER_OTLP_COMPRESSION" => Some("gzip".to_owned()),
        _ => None,
    };
    let mut settings = Settings::resolve(&given, env, "node-1").unwrap();
    // Records of flows go out by rules alone, of which there are none; the scenario `otlp` has some.
    settings.logs = None;
    let exporter = Exporter::prepare(settings).unwrap();
    let (spans, profiles) = (exporter.spans().unwrap(), exporter.profiles().unwrap());
    let ledgers = exporter.ledgers();
    let running = exporter.start(vec![Arc::new(Fixed)]);
    spans.push(span(
        1,
        Side::Server,
        vec![text("http.request.method", "GET")],
    ));
    spans.push(span(
        2,
        Side::Client,
        vec![("x".into(), Attribute::Bool(true))],
    ));
    profiles.push(profile());
    running.shutdown(Duration::from_secs(10)).await;
    for ledger in ledgers {
        let counts = ledger.counts();
        assert_eq!(
            counts.received,
            counts.delivered,
            "{}: {counts:?}",
            ledger.signal()
        );
        assert!(counts.delivered > 0, "{}", ledger.signal());
    }

    let records = receiver.stop();
    for record in &records {
        assert_eq!(record["unknown_fields"], json!([]), "{record:#}");
        assert_eq!(record["headers"]["api-key"], "s cret");
        let problems = record.get("problems").unwrap_or(&Value::Null);
        let is_profile = record["signal"] == "profiles";
        assert_eq!(problems, &if is_profile { json!([]) } else { Value::Null });
    }
    let one = |signal: &str| {
        let mut found = records.iter().filter(|record| record["signal"] == signal);
        let record = found.next().unwrap_or_else(|| panic!("no {signal}"));
        assert!(found.next().is_none(), "more than one request of {signal}");
        record["request"].clone()
    };
    check_spans(&one("traces"));
    check_metrics(&one("metrics"));
    check_profiles(&one("profiles"));
}

fn check_spans(request: &Value) {
    let group = &request["resource_spans"][0];
    assert_eq!(
        resource(group),
        json!({"service.name": "shop", "process.pid": "42", "host.name": "node-1"})
    );
    assert_eq!(group["scope_spans"][0]["scope"]["name"], "fathom");
    let spans = group["scope_spans"][0]["spans"].as_array().unwrap();
    let [server, client] = spans.as_slice() else {
        panic!("{spans:#?}");
    };
    assert_eq!(server["trace_id"], base64(&TRACE));
    assert_eq!(server["span_id"], base64(&[1; 8]));
    assert_eq!(server["parent_span_id"], base64(&SPAN));
    assert_eq!(server["kind"], "SPAN_KIND_SERVER");
    assert_eq!(server["start_time_unix_nano"], "1700000000000000001");
    assert_eq!(server["end_time_unix_nano"], "1700000000500000001");
    assert_eq!(server["flags"], 0x301);
    let method = json!({"key": "http.request.method", "value": {"string_value": "GET"}});
    let attribute = &server["attributes"][0];
    assert_eq!(
        (&attribute["key"], &attribute["value"]),
        (&method["key"], &method["value"])
    );
    assert!(server.get("status").is_none());
    assert_eq!(client["kind"], "SPAN_KIND_CLIENT");
    assert_eq!(client["parent_span_id"], "");
    assert_eq!(client["status"]["code"], "STATUS_CODE_ERROR");
    assert_eq!(
        client["attributes"][0]["value"],
        json!({"bool_value": true})
    );
}

fn check_metrics(request: &Value) {
    let resources = request["resource_metrics"].as_array().unwrap();
    let find = |service: &str, name: &str| {
        let resource = resources
            .iter()
            .find(|of| resource(of)["service.name"] == service)
            .unwrap_or_else(|| panic!("no {service}"));
        let metrics = resource["scope_metrics"][0]["metrics"].as_array().unwrap();
        let metric = metrics.iter().find(|metric| metric["name"] == name);
        metric
            .unwrap_or_else(|| panic!("no {service}/{name}"))
            .clone()
    };
    assert_eq!(resources.len(), 3);
    let histogram = find("shop", "http.server.request.duration");
    assert_eq!(histogram["unit"], "s");
    assert_eq!(
        histogram["histogram"]["aggregation_temporality"],
        "AGGREGATION_TEMPORALITY_CUMULATIVE"
    );
    let point = &histogram["histogram"]["data_points"][0];
    assert_eq!(point["bucket_counts"], json!(["1", "0", "2", "3"]));
    assert_eq!(point["explicit_bounds"], json!([0.005, 0.01, 1.0]));
    assert_eq!(
        (&point["count"], &point["sum"]),
        (&json!("6"), &json!(21.5))
    );
    let exemplar = &point["exemplars"][0];
    assert_eq!(exemplar["trace_id"], base64(&TRACE));
    assert_eq!(exemplar["span_id"], base64(&SPAN));
    assert_eq!(exemplar["as_double"], 0.5);
    let sum = &find("shop", "fathom.tcp.io")["sum"];
    assert_eq!(sum["is_monotonic"], true);
    assert_eq!(sum["data_points"].as_array().unwrap().len(), 2);
    assert_eq!(sum["data_points"][1]["as_int"], "9");
    assert_eq!(
        find("cart", "fathom.tcp.io")["sum"]["data_points"][0]["as_int"],
        "1"
    );
    let active = &find("shop", "fathom.tcp.connections.active")["sum"];
    assert_eq!(active["is_monotonic"], false);
    let gauge = &find("fathom", "hw.gpu.utilization")["gauge"];
    assert_eq!(gauge["data_points"][0]["as_double"], 0.5);
    assert!(!request.to_string().contains("DCGM"));
}

fn check_profiles(request: &Value) {
    let group = &request["resource_profiles"][0];
    let resource = resource(group);
    assert_eq!(resource["service.name"], "shop");
    assert_eq!(resource["process.pid"], "42");
    assert_eq!(resource["host.name"], "node-1");
    let dictionary = &request["dictionary"];
    let entry = |table: &str, index: &Value| {
        let index = usize::try_from(index.as_u64().expect("an index")).expect("small");
        assert_ne!(index, 0, "{table}");
        dictionary[table][index].clone()
    };
    let string = |index: &Value| entry("string_table", index);
    let attribute = |index: &Value| {
        let attribute = entry("attribute_table", index);
        (
            string(&attribute["key_strindex"]),
            attribute["value"].clone(),
        )
    };
    let profile = &group["scope_profiles"][0]["profiles"][0];
    assert_eq!(profile["time_unix_nano"], "1700000000000000007");
    assert_eq!(profile["duration_nano"], "10000000000");
    assert_eq!(profile["period"], "10000000");
    assert_eq!(string(&profile["sample_type"]["type_strindex"]), "samples");
    assert_eq!(string(&profile["sample_type"]["unit_strindex"]), "count");
    assert_eq!(string(&profile["period_type"]["type_strindex"]), "cpu");
    assert_eq!(
        string(&profile["period_type"]["unit_strindex"]),
        "nanoseconds"
    );
    let [sample] = profile["samples"].as_array().expect("samples").as_slice() else {
        panic!("{profile:#}");
    };
    assert_eq!(sample["values"], json!(["3"]));
    assert_eq!(
        attribute(&sample["attribute_indices"][0]),
        (json!("thread.id"), json!({"int_value": "43"}))
    );
    let link = entry("link_table", &sample["link_index"]);
    assert_eq!(
        (&link["trace_id"], &link["span_id"]),
        (&json!(base64(&TRACE)), &json!(base64(&SPAN)))
    );
    let stack = entry("stack_table", &sample["stack_index"]);
    let location = entry("location_table", &stack["location_indices"][0]);
    assert_eq!(location["address"], "4660");
    for (index, name, file, line) in [
        (0, "copy", "/src/copy.h", "7"),
        (1, "main", "/src/main.c", "20"),
    ] {
        let of = &location["lines"][index];
        let function = entry("function_table", &of["function_index"]);
        assert_eq!(string(&function["name_strindex"]), name);
        assert_eq!(string(&function["filename_strindex"]), file);
        assert_eq!(of["line"], line);
    }
    let quality = attribute(&sample["attribute_indices"][2]);
    assert_eq!(
        quality,
        (
            json!("fathom.stack.quality"),
            json!({"string_value": "whole"})
        )
    );
    let mapping = entry("mapping_table", &location["mapping_index"]);
    assert_eq!(string(&mapping["filename_strindex"]), "/bin/shop");
    assert_eq!(
        attribute(&mapping["attribute_indices"][0]),
        (
            json!("process.executable.build_id.gnu"),
            json!({"string_value": "abcd"})
        )
    );
}

fn sources() -> [Arc<dyn Source>; 3] {
    let target = TargetInfo::new("fathom", &[("host.name".into(), "node-1".into())]);
    // The same twice: nothing may come out twice.
    [Arc::new(target), Arc::new(Fixed), Arc::new(Fixed)]
}

#[test]
fn the_reference_parser_reads_both_formats() {
    let python = match python::interpreter() {
        Ok(python) => python,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let parse = |format, name: &str| -> Value {
        let page = render(&sources(), format);
        let mut command = Command::new(&python);
        command.arg(python::program("check_metrics.py")).arg(name);
        serde_json::from_str(&python::filter(&mut command, &page)).expect("JSON")
    };
    let sample = |page: &Value, family: &str, index: usize| page[family]["samples"][index].clone();

    let open = parse(Format::OpenMetrics, "openmetrics");
    let duration = "http_server_request_duration_seconds";
    assert_eq!(open[duration]["type"], "histogram");
    assert_eq!(open[duration]["unit"], "seconds");
    let labels = json!({
        "service_name": "shop",
        "http_route": "/a \"b\" \\ \n",
        "http_response_status_code": "200",
        "le": "1.0"
    });
    let bucket = sample(&open, duration, 2);
    assert_eq!(bucket[0], "http_server_request_duration_seconds_bucket");
    assert_eq!((&bucket[1], &bucket[2]), (&labels, &json!(3)));
    assert_eq!(
        bucket[3],
        json!({
            "labels": {
                "trace_id": "30313233343536373839616263646566",
                "span_id": "3031323334353637"
            },
            "value": 0.5,
            "timestamp": 1_700_000_000.25
        })
    );
    assert_eq!(open["fathom_tcp_io_bytes"]["type"], "counter");
    assert_eq!(
        open["fathom_tcp_io_bytes"]["samples"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(sample(&open, "fathom_tcp_io_bytes", 1)[2], 9.0);
    assert_eq!(open["fathom_tcp_connections_active"]["type"], "gauge");
    assert_eq!(sample(&open, "fathom_cpu_utilization_ratio", 0)[2], 0.25);
    assert_eq!(open["target"]["type"], "info");
    let energy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION";
    assert_eq!(open[energy]["type"], "unknown");
    assert_eq!(
        sample(&open, energy, 0),
        json!([energy, {"gpu": "0"}, 11, null])
    );
    assert!(open.get("hw_gpu_utilization_ratio").is_none());

    let text = parse(Format::Text, "text");
    assert_eq!(text[energy]["type"], "counter");
    assert_eq!(sample(&text, duration, 3)[2], 6);
    assert_eq!(sample(&text, duration, 3)[1]["le"], "+Inf");
}

/// Prometheus's own linter, where it is installed. It finds fault with DCGM's names, which are not ours to choose.
#[test]
fn promtool_reads_the_page() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        return eprintln!("skipped: no promtool (Debian's package is prometheus)");
    };
    assert!(version.status.success());
    let page = render(&sources(), Format::Text);
    let page: String = page
        .split_inclusive('\n')
        .filter(|line| !line.contains("DCGM_"))
        .collect();
    let mut command = Command::new("promtool");
    python::filter(command.args(["check", "metrics"]), &page);
}

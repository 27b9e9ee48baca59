mod backend;
mod tls;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::profiles::v1development::ExportProfilesServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{metric, number_data_point},
    profiles::v1development::{Profile, ResourceProfiles, ScopeProfiles},
};
use tonic::{Code, Status};

use self::backend::{Answer, Backend};
use super::{
    ledger::Counts,
    settings::{Given, Settings},
    *,
};
use crate::{
    identity::Peer,
    l7::exchange::Side,
    net::flows::{Change, testing::flow},
    telemetry::{
        metric::{Audience, Data, Exemplar, HistogramPoint, Metric, Number, NumberPoint, Value},
        span::Resource,
    },
};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:9";

fn settings(address: impl ToString, variables: &[(&str, &str)]) -> Settings {
    let given = Given {
        endpoint: Some(format!("http://{}", address.to_string())),
        ..Given::default()
    };
    let env = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::resolve(&given, env, "node-1").expect("good settings")
}

fn span(service: &str, number: u64) -> Span {
    let mut span_id = [0; 8];
    span_id.copy_from_slice(&(number + 1).to_be_bytes());
    Span {
        trace_id: [7; 16],
        span_id,
        parent_span_id: Some([9; 8]),
        flags: 1,
        trace_state: Some("a=1".into()),
        name: "GET /a".to_owned(),
        side: Side::Server,
        start_unix_nano: 1_000,
        end_unix_nano: 2_000,
        resource: Arc::new(Resource {
            service_name: service.into(),
            attributes: vec![("process.pid".into(), Value::Int(42))],
        }),
        attributes: vec![("http.response.status_code".into(), Value::Int(500))],
        error: true,
    }
}

fn assert_balanced(counts: Counts) {
    assert_eq!(
        counts.received,
        counts.delivered + counts.lost_in_all() + counts.held,
        "{counts:?}"
    );
}

fn string<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Waits until it is so, for at most ten seconds.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_grouped_by_process_with_headers_and_gzip() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let settings = settings(
        address,
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=s%3Dcret"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "k8s.node.name=n1,service.name=mine",
            ),
        ],
    );
    let exporter = Exporter::prepare(settings).unwrap();
    let spans = exporter.spans().unwrap();
    let running = exporter.start(Vec::new());
    for number in 0..6 {
        let service = if number % 2 == 0 { "shop" } else { "cart" };
        spans.push(span(service, number));
    }
    running.shutdown(Duration::from_secs(5)).await;

    let counts = spans.ledger().counts();
    assert_eq!((counts.received, counts.delivered, counts.held), (6, 6, 0));
    let seen = backend.seen.lock().unwrap();
    let [(_, metadata, request)] = seen.traces.as_slice() else {
        panic!("{} requests", seen.traces.len());
    };
    assert_eq!(metadata.get("api-key").unwrap(), "s=cret");
    let [shop, cart] = request.resource_spans.as_slice() else {
        panic!("{request:#?}");
    };
    for (resource, service) in [(shop, "shop"), (cart, "cart")] {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(string(attributes, "service.name"), Some(service));
        assert_eq!(string(attributes, "k8s.node.name"), Some("n1"));
        assert_eq!(string(attributes, "host.name"), Some("node-1"));
        assert_eq!(resource.scope_spans[0].spans.len(), 3);
    }
    let span = &shop.scope_spans[0].spans[0];
    assert_eq!(span.kind, 2);
    // Sampled, and the parent is known to be remote.
    assert_eq!(span.flags, 0x301);
    assert_eq!(span.trace_state, "a=1");
    assert_eq!(span.status.as_ref().unwrap().code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_rejects_is_counted_apart() {
    let answers = [
        Answer::RejectSome(2),
        Answer::RejectSome(-5),
        Answer::RejectSome(i64::MAX),
    ];
    let backend = Backend::scripted(answers);
    let address = backend.serve().await;
    let exporter = Exporter::prepare(settings(
        address,
        &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")],
    ))
    .unwrap();
    let spans = exporter.spans().unwrap();
    for number in 0..15 {
        spans.push(span("shop", number));
    }
    let running = exporter.start(Vec::new());
    running.shutdown(Duration::from_secs(5)).await;
    let counts = spans.ledger().counts();
    assert_balanced(counts);
    assert_eq!(counts.lost(Loss::Rejected), 2 + 5);
    assert_eq!(counts.delivered, 3 + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_refusal_is_not_repeated() {
    let refusal = Answer::Refuse(Status::invalid_argument("no"));
    let backend = Backend::scripted([refusal]);
    let address = backend.serve().await;
    let exporter = Exporter::prepare(settings(address, &[])).unwrap();
    let spans = exporter.spans().unwrap();
    spans.push(span("shop", 0));
    let running = exporter.start(Vec::new());
    running.shutdown(Duration::from_secs(5)).await;
    let counts = spans.ledger().counts();
    assert_eq!((counts.received, counts.lost(Loss::Failed)), (1, 1));
    assert_eq!(backend.seen.lock().unwrap().attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_backend_is_tried_again_when_it_said_and_nothing_is_lost() {
    // google.rpc.Status { details: [Any { RetryInfo { retry_delay: 2 s } }] }
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut any = vec![0x0a, u8::try_from(url.len()).unwrap()];
    any.extend_from_slice(url);
    any.extend_from_slice(&[0x12, 0x04, 0x0a, 0x02, 0x08, 0x02]);
    let mut details = vec![0x1a, u8::try_from(any.len()).unwrap()];
    details.extend(any);
    let busy = Status::with_details(Code::ResourceExhausted, "slow down", details.into());
    let backend = Backend::scripted([Answer::Refuse(busy)]);
    let address = backend.serve().await;
    let exporter =
        Exporter::prepare(settings(address, &[("OTEL_BSP_SCHEDULE_DELAY", "10")])).unwrap();
    let spans = exporter.spans().unwrap();
    spans.push(span("shop", 0));
    let running = exporter.start(Vec::new());
    until("taken", || backend.spans_taken() == 1).await;
    let attempts = backend.seen.lock().unwrap().attempts.clone();
    assert_eq!(attempts.len(), 2);
    let pause = attempts[1] - attempts[0];
    assert!(pause >= Duration::from_secs(2), "{pause:?}");
    running.shutdown(Duration::from_secs(5)).await;
    assert_eq!(spans.ledger().counts().delivered, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_backend_costs_counted_spans_only_and_recovers() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let exporter = Exporter::prepare(settings(
        address,
        &[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ],
    ))
    .unwrap();
    let spans = exporter.spans().unwrap();
    let running = exporter.start(Vec::new());
    let begun = Instant::now();
    for number in 0..10_000 {
        spans.push(span("shop", number));
    }
    // Not one of them waited for anything.
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let counts = spans.ledger().counts();
    assert_balanced(counts);
    assert!(counts.lost(Loss::QueueFull) >= 10_000 - 110, "{counts:?}");
    // The first attempt has failed by now.
    tokio::time::sleep(Duration::from_millis(200)).await;

    let backend = Backend::default();
    backend.serve_on(address).await;
    let held = usize::try_from(counts.held).unwrap();
    until("recovered", || backend.spans_taken() == held).await;
    running.shutdown(Duration::from_secs(5)).await;
    let counts = spans.ledger().counts();
    assert_eq!(counts.delivered, u64::try_from(held).unwrap());
    assert_eq!(counts.held, 0);
    assert_balanced(counts);
    assert_eq!(backend.spans_taken(), held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_never_answers_does_not_hold_up_the_end() {
    let backend = Backend::scripted([Answer::Never, Answer::Never]);
    let address = backend.serve().await;
    let exporter = Exporter::prepare(settings(address, &[])).unwrap();
    let spans = exporter.spans().unwrap();
    spans.push(span("shop", 0));
    let running = exporter.start(Vec::new());
    let begun = Instant::now();
    running.shutdown(Duration::from_millis(500)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    spans.push(span("shop", 1));
    let counts = spans.ledger().counts();
    assert_balanced(counts);
    assert_eq!((counts.received, counts.lost(Loss::Shutdown)), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_request_times_out_and_is_sent_again() {
    let backend = Backend::scripted([Answer::Never]);
    let address = backend.serve().await;
    let exporter = Exporter::prepare(settings(
        address,
        &[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ],
    ))
    .unwrap();
    let spans = exporter.spans().unwrap();
    spans.push(span("shop", 0));
    let running = exporter.start(Vec::new());
    until("taken", || backend.spans_taken() == 1).await;
    running.shutdown(Duration::from_secs(5)).await;
    assert_eq!(spans.ledger().counts().delivered, 1);
    assert_eq!(backend.seen.lock().unwrap().attempts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_bounded_with_nobody_there() {
    let exporter = Exporter::prepare(settings(NOWHERE, &[])).unwrap();
    let (spans, profiles) = (exporter.spans().unwrap(), exporter.profiles().unwrap());
    spans.push(span("shop", 0));
    profiles.push(profile());
    let running = exporter.start(vec![Arc::new(Fixed)]);
    let begun = Instant::now();
    running.shutdown(Duration::from_secs(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    for ledger in [spans.ledger(), profiles.ledger()] {
        let counts = ledger.counts();
        assert_balanced(counts);
        assert_eq!((counts.received, counts.lost_in_all()), (1, 1));
    }
}

fn profile() -> ExportProfilesServiceRequest {
    ExportProfilesServiceRequest {
        resource_profiles: vec![ResourceProfiles {
            scope_profiles: vec![ScopeProfiles {
                profiles: vec![Profile::default()],
                ..ScopeProfiles::default()
            }],
            ..ResourceProfiles::default()
        }],
        dictionary: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_arrive_with_the_shared_attributes() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let exporter = Exporter::prepare(settings(address, &[])).unwrap();
    let profiles = exporter.profiles().unwrap();
    let running = exporter.start(Vec::new());
    profiles.push(profile());
    until("taken", || backend.seen.lock().unwrap().profiles.len() == 1).await;
    running.shutdown(Duration::from_secs(5)).await;
    assert_eq!(profiles.ledger().counts().delivered, 1);
    let seen = backend.seen.lock().unwrap();
    let resource = seen.profiles[0].resource_profiles[0].resource.as_ref();
    assert_eq!(
        string(&resource.unwrap().attributes, "host.name"),
        Some("node-1")
    );
}

fn flow_log(number: u64, service: &str) -> FlowLog {
    FlowLog {
        flow: flow(number, Change::Closed),
        connection: number,
        peer: Peer::Service("db".into()),
        destination: None,
        at_unix_nano: 1_000 + number,
        observed_unix_nano: 2_000,
        resource: Arc::new(Resource {
            service_name: service.into(),
            attributes: vec![("process.pid".into(), Value::Int(10))],
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_flows_arrive_by_process_with_name_times_and_severity() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let variables = [("OTEL_BLRP_SCHEDULE_DELAY", "10")];
    let exporter = Exporter::prepare(settings(address, &variables)).unwrap();
    let logs = exporter.logs().unwrap();
    for (number, service) in [(1, "shop"), (2, "cart"), (3, "shop")] {
        logs.push(flow_log(number, service));
    }
    let running = exporter.start(Vec::new());
    until("taken", || !backend.seen.lock().unwrap().logs.is_empty()).await;
    running.shutdown(Duration::from_secs(5)).await;
    assert_eq!(logs.ledger().counts().delivered, 3);
    assert_balanced(logs.ledger().counts());
    assert_eq!(logs.ledger().signal(), "logs");
    let seen = backend.seen.lock().unwrap();
    let [shop, cart] = &*seen.logs[0].resource_logs else {
        panic!("not by process: {:?}", seen.logs[0]);
    };
    assert_eq!(cart.scope_logs[0].log_records.len(), 1);
    let resource = &shop.resource.as_ref().unwrap().attributes;
    assert_eq!(string(resource, "service.name"), Some("shop"));
    assert_eq!(string(resource, "host.name"), Some("node-1"));
    let record = &shop.scope_logs[0].log_records[1];
    assert_eq!(record.event_name, "fathom.tcp.flow");
    assert_eq!(
        (record.time_unix_nano, record.observed_time_unix_nano),
        (1_003, 2_000)
    );
    assert_eq!(
        (record.severity_number, &*record.severity_text),
        (9, "INFO")
    );
    assert!(record.body.is_none());
    assert_eq!(
        string(&record.attributes, "network.peer.address"),
        Some("127.0.0.2")
    );
    assert_eq!(string(&record.attributes, "service.peer.name"), Some("db"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_find_no_room_are_counted() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let variables = [("OTEL_BLRP_MAX_QUEUE_SIZE", "2")];
    let exporter = Exporter::prepare(settings(address, &variables)).unwrap();
    let logs = exporter.logs().unwrap();
    for number in 0..5 {
        logs.push(flow_log(number, "shop"));
    }
    let counts = logs.ledger().counts();
    assert_eq!(
        (counts.received, counts.held, counts.lost(Loss::QueueFull)),
        (5, 2, 3)
    );
    exporter
        .start(Vec::new())
        .shutdown(Duration::from_secs(5))
        .await;
    assert_eq!(logs.ledger().counts().delivered, 2);
    assert_balanced(logs.ledger().counts());
}

/// Metrics of each kind, of two services, and one that is for `/metrics` only.
struct Fixed;

impl Source for Fixed {
    fn collect(&self, into: &mut Vec<Metric>) {
        let number = |resource: &str, value| NumberPoint {
            resource: resource.into(),
            attributes: Vec::new(),
            value,
        };
        let metric = |name: &'static str, audience, data| Metric {
            name: name.into(),
            description: "".into(),
            unit: "1",
            audience,
            data,
        };
        into.push(metric(
            "a.counter",
            Audience::All,
            Data::Counter(vec![
                number("shop", Number::Int(3)),
                number("cart", Number::Int(u64::MAX)),
            ]),
        ));
        into.push(metric(
            "a.gauge",
            Audience::Otlp,
            Data::Gauge(vec![number("", Number::Float(0.5))]),
        ));
        into.push(metric(
            "DCGM_FI_DEV_GPU_UTIL",
            Audience::Prometheus,
            Data::Gauge(vec![number("", Number::Int(1))]),
        ));
        into.push(metric(
            "a.duration",
            Audience::All,
            Data::Histogram(vec![HistogramPoint {
                resource: "shop".into(),
                attributes: Vec::new(),
                bounds: &[0.1, 1.0],
                counts: vec![1, 0, 4],
                sum: 9.5,
                exemplars: vec![
                    None,
                    None,
                    Some(Exemplar {
                        value: 2.0,
                        time_unix_nano: 5,
                        trace_id: [1; 16],
                        span_id: [2; 8],
                    }),
                ],
            }]),
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_arrive_by_service_and_a_last_time_at_the_end() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let variables = [("OTEL_METRIC_EXPORT_INTERVAL", "100")];
    let exporter = Exporter::prepare(settings(address, &variables)).unwrap();
    let [ledger] = exporter
        .ledgers()
        .into_iter()
        .filter(|ledger| ledger.signal() == "metrics")
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    // The same source twice: what has one name becomes one metric.
    let running = exporter.start(vec![Arc::new(Fixed), Arc::new(Fixed)]);
    until("two", || backend.seen.lock().unwrap().metrics.len() >= 2).await;
    running.shutdown(Duration::from_secs(5)).await;

    let counts = ledger.counts();
    assert_balanced(counts);
    let seen = backend.seen.lock().unwrap();
    assert_eq!(counts.delivered, 8 * seen.metrics.len() as u64);
    let request = &seen.metrics[0];
    let mut names = Vec::new();
    for resource in &request.resource_metrics {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let service = string(attributes, "service.name").unwrap();
        for metric in &resource.scope_metrics[0].metrics {
            names.push(format!("{service}/{}", metric.name));
        }
    }
    names.sort();
    assert_eq!(
        names,
        [
            "cart/a.counter",
            "fathom/a.gauge",
            "shop/a.counter",
            "shop/a.duration"
        ]
    );
    let find = |service: &str, name: &str| {
        let resource = request.resource_metrics.iter().find(|resource| {
            string(
                &resource.resource.as_ref().unwrap().attributes,
                "service.name",
            ) == Some(service)
        });
        let metrics = &resource.unwrap().scope_metrics[0].metrics;
        metrics
            .iter()
            .find(|metric| metric.name == name)
            .unwrap()
            .data
            .clone()
            .unwrap()
    };
    let metric::Data::Sum(sum) = find("shop", "a.counter") else {
        panic!()
    };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality, 2);
    assert_eq!(sum.data_points.len(), 2);
    assert_eq!(
        sum.data_points[0].value,
        Some(number_data_point::Value::AsInt(3))
    );
    assert!(sum.data_points[0].start_time_unix_nano < sum.data_points[0].time_unix_nano);
    let metric::Data::Histogram(histogram) = find("shop", "a.duration") else {
        panic!()
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (5, Some(9.5)));
    assert_eq!(point.bucket_counts, [1, 0, 4]);
    assert_eq!(point.explicit_bounds, [0.1, 1.0]);
    assert_eq!(point.exemplars[0].trace_id, [1; 16]);
}

use super::*;
use crate::{
    l7::exchange::{Side, Unanswered},
    telemetry::{
        route::Pattern,
        testing::{attribute, call, clock, collect, context, exchange, process},
    },
};

fn red(limits: Limits) -> Red {
    Red::new(limits, clock())
}

fn points(red: &Red, name: &str) -> Vec<HistogramPoint> {
    let metric = collect(red).into_iter().find(|metric| metric.name == name);
    match metric.map(|metric| metric.data) {
        Some(Data::Histogram(points)) => points,
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

const SERVER: &str = "http.server.request.duration";
const CLIENT: &str = "http.client.request.duration";
const RPC_SERVER: &str = "rpc.server.call.duration";
const RPC_CLIENT: &str = "rpc.client.call.duration";

fn names(point: &HistogramPoint) -> Vec<&str> {
    point
        .attributes
        .iter()
        .map(|(name, _)| name.as_ref())
        .collect()
}

#[test]
fn a_server_exchange_has_the_attributes_of_the_conventions() {
    let red = red(Limits::default());
    let route = red.record(&exchange(), &process("shop"), &context(1));
    assert_eq!(route.as_deref(), Some("/users/{id}"));
    let points = points(&red, SERVER);
    let [point] = points.as_slice() else {
        panic!("{points:?}")
    };
    assert_eq!(&*point.resource, "shop");
    assert_eq!(
        names(point),
        [
            "http.request.method",
            "http.route",
            "http.response.status_code",
            "url.scheme",
            "network.protocol.version"
        ]
    );
    assert_eq!(
        attribute(&point.attributes, "http.route").as_deref(),
        Some("/users/{id}")
    );
    assert_eq!(
        (point.sum, point.counts[0], point.counts.iter().sum::<u64>()),
        (0.002, 1, 1)
    );
    let exemplar = point.exemplars[0].expect("the newest");
    assert_eq!(
        (exemplar.value, exemplar.trace_id, exemplar.span_id),
        (0.002, [1; 16], [1; 8])
    );
}

#[test]
fn buckets_hold_their_upper_bound_and_the_newest_exemplar() {
    let red = red(Limits::default());
    for (number, ns) in [
        (1, 4_999_999),
        (2, 5_000_000),
        (3, 5_000_001),
        (4, 10_000_000_000),
        (5, 10_000_000_001),
    ] {
        let mut exchange = exchange();
        exchange.end_ns = exchange.start_ns + ns;
        red.record(&exchange, &process("a"), &context(number));
    }
    let point = points(&red, SERVER).remove(0);
    let mut expected = [0; 15];
    (expected[0], expected[1], expected[13], expected[14]) = (2, 1, 1, 1);
    assert_eq!(point.counts, expected);
    assert_eq!(
        point.exemplars[0].map(|exemplar| exemplar.trace_id[0]),
        Some(2)
    );
    assert_eq!(
        point.exemplars[14].map(|exemplar| exemplar.trace_id[0]),
        Some(5)
    );
    assert_eq!(
        (point.bounds.len() + 1, point.exemplars.len()),
        (point.counts.len(), point.counts.len())
    );
}

#[test]
fn a_client_exchange_names_its_server_and_no_route() {
    let red = red(Limits::default());
    let mut exchange = exchange();
    (exchange.side, exchange.status) = (Side::Client, Ok(404));
    red.record(&exchange, &process("curl"), &context(1));
    let point = points(&red, CLIENT).remove(0);
    assert_eq!(
        attribute(&point.attributes, "server.address").as_deref(),
        Some("127.0.0.2")
    );
    assert_eq!(
        attribute(&point.attributes, "server.port").as_deref(),
        Some("40000")
    );
    assert_eq!(
        attribute(&point.attributes, "error.type").as_deref(),
        Some("404")
    );
    assert_eq!(
        attribute(&point.attributes, "http.route"),
        None,
        "it is the server's to know"
    );
    assert!(points(&red, SERVER).is_empty());
}

#[test]
fn errors_are_told_apart_from_answers() {
    for (side, status, expected) in [
        (Side::Server, Ok(404), None),
        (Side::Server, Ok(503), Some("503")),
        (Side::Client, Ok(399), None),
        (Side::Server, Err(Unanswered::Closed), Some("closed")),
    ] {
        let red = red(Limits::default());
        let mut exchange = exchange();
        (exchange.side, exchange.status) = (side, status);
        red.record(&exchange, &process("a"), &context(1));
        let point = points(&red, if side == Side::Server { SERVER } else { CLIENT }).remove(0);
        assert_eq!(
            attribute(&point.attributes, "error.type").as_deref(),
            expected,
            "{status:?}"
        );
        assert_eq!(
            attribute(&point.attributes, "http.response.status_code").is_some(),
            status.is_ok()
        );
    }
}

#[test]
fn strange_methods_are_one() {
    let red = red(Limits::default());
    for method in ["PROPFIND", "get", "X"] {
        let mut exchange = exchange();
        exchange.method = method.into();
        red.record(&exchange, &process("a"), &context(1));
    }
    let points = points(&red, SERVER);
    assert_eq!(points.len(), 1);
    assert_eq!(
        attribute(&points[0].attributes, "http.request.method").as_deref(),
        Some("_OTHER")
    );
}

#[test]
fn what_is_too_much_lands_in_the_overflow_series_and_is_counted() {
    let red = red(Limits {
        services: 2,
        series: 100,
        series_per_service: 5,
        routes_per_service: 3,
        methods_per_service: 3,
        destinations_per_service: 2,
    });
    for number in 0..50_u16 {
        let mut exchange = exchange();
        exchange.status = Ok(200 + number);
        exchange.path = format!("/{}", char::from(b'a' + (number % 20) as u8));
        red.record(&exchange, &process("a"), &context(1));
    }
    for number in 0..10_u16 {
        let mut exchange = exchange();
        (exchange.side, exchange.remote) = (Side::Client, ([10, 0, 0, 1], number).into());
        red.record(
            &exchange,
            &process(&format!("service {number}")),
            &context(1),
        );
    }
    let server = points(&red, SERVER);
    let total =
        |points: &[HistogramPoint]| points.iter().flat_map(|point| &point.counts).sum::<u64>();
    assert_eq!(total(&server), 50, "every exchange is in one series");
    assert_eq!(server.len(), 6);
    let overflow: Vec<_> = server
        .iter()
        .filter(|point| attribute(&point.attributes, "otel.metric.overflow").is_some())
        .collect();
    assert_eq!(overflow.len(), 1);
    assert_eq!(
        overflow[0].counts.iter().sum::<u64>(),
        red.counts().overflowed
    );
    assert_eq!(red.counts().overflowed, 45);
    let client = points(&red, CLIENT);
    assert_eq!(total(&client), 10);
    let services: std::collections::HashSet<_> = client
        .iter()
        .map(|point| point.resource.to_string())
        .collect();
    assert_eq!(
        services,
        ["service 0".to_owned(), "other".to_owned()].into()
    );
    let counts = red.counts();
    assert_eq!(
        (
            counts.exchanges,
            counts.without_route > 0,
            counts.without_destination > 0
        ),
        (60, true, true)
    );
}

#[test]
fn the_limit_on_all_series_holds_across_services() {
    let red = red(Limits {
        series: 10,
        ..Limits::default()
    });
    for service in 0..5 {
        for status in 200..205 {
            let mut exchange = exchange();
            exchange.status = Ok(status);
            red.record(&exchange, &process(&service.to_string()), &context(1));
        }
    }
    let points = points(&red, SERVER);
    let overflow = points
        .iter()
        .filter(|point| attribute(&point.attributes, "otel.metric.overflow").is_some())
        .count();
    assert_eq!((points.len() - overflow, red.counts().overflowed), (10, 15));
}

#[test]
fn a_call_is_no_http_request_beside_it() {
    let red = red(Limits::default());
    let mut call = call(Some(5));
    let name = red.record(&call, &process("greeter"), &context(1));
    assert_eq!(name.as_deref(), Some("helloworld.Greeter/SayHello"));
    call.side = Side::Client;
    red.record(&call, &process("curl"), &context(2));
    assert!(points(&red, SERVER).is_empty() && points(&red, CLIENT).is_empty());

    let server = points(&red, RPC_SERVER).remove(0);
    assert_eq!(
        names(&server),
        ["rpc.system.name", "rpc.method", "rpc.response.status_code"],
        "NOT_FOUND is no error of a server"
    );
    let of = |name| attribute(&server.attributes, name);
    assert_eq!(of("rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(
        of("rpc.method").as_deref(),
        Some("helloworld.Greeter/SayHello")
    );
    assert_eq!(of("rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!((server.bounds, server.sum), (&BOUNDS[..], 0.002));

    let client = points(&red, RPC_CLIENT).remove(0);
    let of = |name| attribute(&client.attributes, name);
    assert_eq!(of("error.type").as_deref(), Some("NOT_FOUND"));
    assert_eq!(of("server.address").as_deref(), Some("127.0.0.2"));
    assert_eq!(of("server.port").as_deref(), Some("40000"));
}

#[test]
fn methods_are_bounded_and_the_rest_is_counted() {
    let red = red(Limits {
        methods_per_service: 4,
        ..Limits::default()
    });
    let ask = |method: String, status| {
        let mut exchange = call(Some(status));
        if let Some(call) = exchange.rpc.as_deref_mut() {
            call.method = method;
        }
        red.record(&exchange, &process("greeter"), &context(1))
    };
    // Someone tries what is not there: that leaves room for what is.
    for number in 0..10 {
        ask(format!("Try{number}"), 12);
    }
    assert!(ask("SayHello".into(), 0).is_some());
    assert!(ask("SayBye".into(), 0).is_some());
    assert_eq!(ask("SayMore".into(), 0), None);
    assert_eq!(red.counts().without_method, 9);
    let points = points(&red, RPC_SERVER);
    let others: u64 = points
        .iter()
        .filter(|point| attribute(&point.attributes, "rpc.method").as_deref() == Some(OTHER))
        .flat_map(|point| &point.counts)
        .sum();
    assert_eq!(others, 9);
    let all: u64 = points.iter().flat_map(|point| &point.counts).sum();
    assert_eq!(all, 13, "every exchange is in one series");
}

#[test]
fn routes_beyond_the_limit_are_one_and_counted() {
    let red = red(Limits {
        routes_per_service: 2,
        ..Limits::default()
    });
    for path in ["/a", "/b", "/c", "/d", "*"] {
        let mut exchange = exchange();
        exchange.path = path.into();
        red.record(&exchange, &process("shop"), &context(1));
    }
    let mut routes: Vec<_> = points(&red, SERVER)
        .iter()
        .map(|point| {
            let count: u64 = point.counts.iter().sum();
            (attribute(&point.attributes, "http.route"), count)
        })
        .collect();
    routes.sort();
    let of = |name: &str, count| (Some(name.to_owned()), count);
    assert_eq!(
        routes,
        [(None, 1), of("/a", 1), of("/b", 1), of(OTHER, 2)],
        "what is no path has no route"
    );
    assert_eq!(red.counts().without_route, 2);
}

#[test]
fn the_users_routes_are_taken() {
    let mut patterns = Patterns::default();
    let pattern = Pattern::parse("/users/{name}").expect("a pattern");
    patterns.push(pattern).expect("the first");
    let red = red(Limits::default()).with_routes(Arc::new(patterns));
    let route = red.record(&exchange(), &process("shop"), &context(1));
    assert_eq!(route.as_deref(), Some("/users/{name}"));
}

#[test]
fn tls_and_the_version_tell_series_apart() {
    let red = red(Limits::default());
    for (version, tls) in [("1.1", false), ("1.1", true), ("2", true)] {
        let mut exchange = exchange();
        (exchange.version, exchange.tls) = (version, tls);
        red.record(&exchange, &process("shop"), &context(1));
    }
    let mut seen: Vec<_> = points(&red, SERVER)
        .iter()
        .map(|point| {
            let of = |name| attribute(&point.attributes, name).unwrap_or_default();
            (of("url.scheme"), of("network.protocol.version"))
        })
        .collect();
    seen.sort();
    let of = |scheme: &str, version: &str| (scheme.to_owned(), version.to_owned());
    assert_eq!(
        seen,
        [of("http", "1.1"), of("https", "1.1"), of("https", "2")]
    );
}

#[test]
fn an_answer_that_was_cut_is_an_error_of_its_own() {
    let red = red(Limits::default());
    for cut in [None, Some(Unanswered::Reset(8))] {
        let mut exchange = exchange();
        exchange.cut = cut;
        red.record(&exchange, &process("shop"), &context(1));
    }
    let mut errors: Vec<_> = points(&red, SERVER)
        .iter()
        .map(|point| attribute(&point.attributes, "error.type"))
        .collect();
    errors.sort();
    assert_eq!(errors, [None, Some("reset_cancel".to_owned())]);
}

use super::*;
use crate::{
    l7::exchange::{Side, Unanswered},
    telemetry::testing::{attribute, call, clock, context, exchange, process},
};

#[test]
fn a_server_span_has_the_attributes_of_the_conventions() {
    let clock = clock();
    let mut spans = Spans::new(Arc::clone(&clock));
    let span = spans.span(
        &exchange(),
        &process("shop"),
        &context(1),
        Some("/users/{id}"),
    );
    assert_eq!(
        (span.name.as_str(), span.side, span.error),
        ("GET /users/{id}", Side::Server, false)
    );
    assert_eq!(span.end_unix_nano - span.start_unix_nano, 2_000_000);
    assert_eq!(span.start_unix_nano, clock.unix_ns(1_000_000));
    let of = |name| attribute(&span.attributes, name);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/users/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/users/7"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.2"),
        ("server.address", "127.0.0.1"),
        ("server.port", "80"),
        ("http.request.size", "100"),
        ("http.response.size", "200"),
    ] {
        assert_eq!(of(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((of("url.full"), of("error.type")), (None, None));
    assert_eq!((span.trace_id, span.span_id), ([1; 16], [1; 8]));
}

#[test]
fn a_client_span_says_where_to() {
    let mut exchange = exchange();
    (exchange.side, exchange.status) = (Side::Client, Ok(500));
    let span = Spans::new(clock()).span(&exchange, &process("curl"), &context(1), None);
    assert_eq!((span.name.as_str(), span.error), ("GET", true));
    let of = |name| attribute(&span.attributes, name);
    assert_eq!(
        of("url.full").as_deref(),
        Some("http://127.0.0.2:40000/users/7")
    );
    assert_eq!(of("server.address").as_deref(), Some("127.0.0.2"));
    assert_eq!(
        (of("error.type").as_deref(), of("url.path")),
        (Some("500"), None)
    );
}

#[test]
fn strange_methods_and_missing_answers_are_named() {
    let mut exchange = exchange();
    (exchange.method, exchange.status) = ("BREW".into(), Err(Unanswered::Closed));
    let span = Spans::new(clock()).span(&exchange, &process("a"), &context(1), Some("/pot"));
    assert_eq!((span.name.as_str(), span.error), ("HTTP /pot", true));
    let of = |name| attribute(&span.attributes, name);
    assert_eq!(of("http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(of("http.request.method_original").as_deref(), Some("BREW"));
    assert_eq!(
        (of("error.type").as_deref(), of("http.response.status_code")),
        (Some("closed"), None)
    );
}

#[test]
fn spans_of_a_process_share_its_resource() {
    let mut spans = Spans::new(clock());
    let one = spans
        .span(&exchange(), &process("shop"), &context(1), None)
        .resource;
    let other = spans
        .span(&exchange(), &process("shop"), &context(2), None)
        .resource;
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(&*one.service_name, "shop");
    assert_eq!(
        attribute(&one.attributes, "process.executable.name").as_deref(),
        Some("nginx")
    );
    assert_eq!(
        attribute(&one.attributes, "container.id").as_deref(),
        Some("c0ffee")
    );
    let renamed = spans
        .span(&exchange(), &process("other"), &context(3), None)
        .resource;
    assert_eq!(
        &*renamed.service_name, "other",
        "the same number, another name"
    );
}

#[test]
fn tls_and_http2_show() {
    let mut exchange = exchange();
    (exchange.tls, exchange.version) = (true, "2");
    let span = Spans::new(clock()).span(&exchange, &process("shop"), &context(1), None);
    let of = |name| attribute(&span.attributes, name);
    assert_eq!(of("url.scheme").as_deref(), Some("https"));
    assert_eq!(of("network.protocol.version").as_deref(), Some("2"));
    exchange.side = Side::Client;
    exchange.remote = "[2001:db8::1]:443".parse().expect("an address");
    let span = Spans::new(clock()).span(&exchange, &process("curl"), &context(1), None);
    assert_eq!(
        attribute(&span.attributes, "url.full").as_deref(),
        Some("https://[2001:db8::1]:443/users/7")
    );
}

#[test]
fn an_answer_that_was_cut_is_an_error_with_its_status() {
    let mut exchange = exchange();
    exchange.cut = Some(Unanswered::Reset(2));
    let span = Spans::new(clock()).span(&exchange, &process("shop"), &context(1), None);
    let of = |name| attribute(&span.attributes, name);
    assert!(span.error);
    assert_eq!(of("http.response.status_code").as_deref(), Some("200"));
    assert_eq!(of("error.type").as_deref(), Some("reset_internal_error"));
}

const METHOD: &str = "helloworld.Greeter/SayHello";

#[test]
fn a_call_has_the_attributes_of_a_call() {
    let call = call(Some(5));
    let span = Spans::new(clock()).span(&call, &process("greeter"), &context(1), Some(METHOD));
    assert_eq!((span.name.as_str(), span.error), (METHOD, false));
    let of = |name| attribute(&span.attributes, name);
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", METHOD),
        ("rpc.response.status_code", "NOT_FOUND"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "2"),
        ("network.peer.address", "127.0.0.2"),
        ("network.peer.port", "40000"),
        ("fathom.rpc.request.messages", "1"),
        ("fathom.rpc.request.size", "12"),
        ("fathom.rpc.response.size", "30"),
    ] {
        assert_eq!(of(name).as_deref(), Some(value), "{name}");
    }
    for name in [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.path",
        "rpc.method_original",
        "error.type",
        // It comes from `:authority`, which is not known.
        "server.address",
        // It could not be counted.
        "fathom.rpc.response.messages",
    ] {
        assert_eq!(of(name), None, "{name}");
    }
}

#[test]
fn a_clients_call_fails_by_any_code_but_ok() {
    let mut call = call(Some(5));
    call.side = Side::Client;
    let span = Spans::new(clock()).span(&call, &process("curl"), &context(1), Some(METHOD));
    let of = |name| attribute(&span.attributes, name);
    assert!(span.error);
    assert_eq!(of("error.type").as_deref(), Some("NOT_FOUND"));
    assert_eq!(of("server.address").as_deref(), Some("127.0.0.2"));
    assert_eq!(of("server.port").as_deref(), Some("40000"));
}

#[test]
fn what_answered_in_a_servers_place_shows() {
    let mut call = call(None);
    (call.side, call.status) = (Side::Client, Ok(502));
    let span = Spans::new(clock()).span(&call, &process("curl"), &context(1), Some(METHOD));
    let of = |name| attribute(&span.attributes, name);
    assert_eq!(of("http.response.status_code").as_deref(), Some("502"));
    assert_eq!(
        of("rpc.response.status_code").as_deref(),
        Some("UNAVAILABLE")
    );
}

#[test]
fn a_method_without_room_keeps_its_name_apart() {
    let span = Spans::new(clock()).span(&call(Some(0)), &process("a"), &context(1), None);
    let of = |name| attribute(&span.attributes, name);
    assert_eq!(span.name, "grpc");
    assert_eq!(of("rpc.method").as_deref(), Some("_OTHER"));
    assert_eq!(of("rpc.method_original").as_deref(), Some(METHOD));
}

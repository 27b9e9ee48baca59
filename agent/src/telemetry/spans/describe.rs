//! A span's name and attributes.

use super::super::{
    metric::{Attributes, Value},
    red::OTHER,
    rpc::{self, Code},
};
use crate::l7::{
    exchange::{Exchange, Side},
    grpc::{Call, Messages},
    http1::KNOWN_METHODS,
};

fn text(text: String) -> Value {
    Value::Str(text.into())
}

fn size(bytes: u64) -> Value {
    Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn scheme(exchange: &Exchange) -> &'static str {
    if exchange.tls { "https" } else { "http" }
}

/// An HTTP request: adds its attributes, and gives the span's name.
pub(super) fn http(
    exchange: &Exchange,
    route: Option<&str>,
    attributes: &mut Attributes,
) -> String {
    let is_known = KNOWN_METHODS.contains(&exchange.method.as_str());
    let name_method = if is_known { &exchange.method } else { "HTTP" };
    let name = match route {
        Some(route) => format!("{name_method} {route}"),
        None => name_method.to_owned(),
    };
    let mut add = |name: &'static str, value: Value| attributes.push((name.into(), value));
    let method = text(exchange.method.clone());
    if is_known {
        add("http.request.method", method);
    } else {
        add("http.request.method", Value::Str(OTHER.into()));
        add("http.request.method_original", method);
    }
    if let Ok(status) = exchange.status {
        add("http.response.status_code", Value::Int(status.into()));
    }
    let server = match exchange.side {
        Side::Server => {
            add("url.scheme", Value::Str(scheme(exchange).into()));
            add("url.path", text(exchange.path.clone()));
            add("client.address", text(exchange.remote.ip().to_string()));
            exchange.local
        }
        Side::Client => {
            let (scheme, path) = (scheme(exchange), &exchange.path);
            add(
                "url.full",
                text(format!("{scheme}://{}{path}", exchange.remote)),
            );
            exchange.remote
        }
    };
    add("server.address", text(server.ip().to_string()));
    add("server.port", Value::Int(server.port().into()));
    if let Some(route) = route {
        let name = match exchange.side {
            Side::Server => "http.route",
            Side::Client => "url.template",
        };
        add(name, text(route.to_owned()));
    }
    add(
        "network.protocol.version",
        Value::Str(exchange.version.into()),
    );
    peer(exchange, attributes);
    let mut add = |name: &'static str, value: Value| attributes.push((name.into(), value));
    add("http.request.size", size(exchange.request_bytes));
    add("http.response.size", size(exchange.response_bytes));
    name
}

/// A gRPC call: adds its attributes, and gives the span's name. `method` is its bounded one; none where the service has too many.
///
/// The conventions want a server's `server.address` from `:authority` and not from the connection, so that a server's span has none.
/// They have no attributes for messages: those are fathom's own. An HTTP status that is not 200 says that something on the way
/// answered in the server's place.
pub(super) fn rpc(
    exchange: &Exchange,
    call: &Call,
    method: Option<&str>,
    attributes: &mut Attributes,
) -> String {
    let mut add = |name: &'static str, value: Value| attributes.push((name.into(), value));
    add("rpc.system.name", Value::Str("grpc".into()));
    let name = match method {
        Some(method) => {
            add("rpc.method", text(method.to_owned()));
            method.to_owned()
        }
        None => {
            let mut original = String::new();
            rpc::write_method(call, &mut original);
            add("rpc.method", Value::Str(OTHER.into()));
            add("rpc.method_original", text(original));
            "grpc".to_owned()
        }
    };
    if let Some(code) = Code::of(exchange, call) {
        add(rpc::STATUS_CODE, Value::Str(code.name()));
    }
    if let Ok(status) = exchange.status
        && status != 200
    {
        add("http.response.status_code", Value::Int(status.into()));
    }
    if exchange.side == Side::Client {
        add("server.address", text(exchange.remote.ip().to_string()));
        add("server.port", Value::Int(exchange.remote.port().into()));
    }
    add("url.scheme", Value::Str(scheme(exchange).into()));
    add("network.protocol.name", Value::Str("http".into()));
    add(
        "network.protocol.version",
        Value::Str(exchange.version.into()),
    );
    peer(exchange, attributes);
    messages(
        call.request,
        ["fathom.rpc.request.messages", "fathom.rpc.request.size"],
        attributes,
    );
    messages(
        call.response,
        ["fathom.rpc.response.messages", "fathom.rpc.response.size"],
        attributes,
    );
    name
}

fn peer(exchange: &Exchange, attributes: &mut Attributes) {
    attributes.push((
        "network.peer.address".into(),
        text(exchange.remote.ip().to_string()),
    ));
    attributes.push((
        "network.peer.port".into(),
        Value::Int(exchange.remote.port().into()),
    ));
}

fn messages(
    messages: Messages,
    [count_name, size_name]: [&'static str; 2],
    attributes: &mut Attributes,
) {
    if let Some(count) = messages.count {
        attributes.push((count_name.into(), size(count)));
    }
    attributes.push((size_name.into(), size(messages.bytes)));
}

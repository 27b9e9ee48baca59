//! What tests of exchanges start from.

use std::sync::Arc;

use fathom_abi::ConnectionId;

use super::{
    ids::SpanContext,
    metric::{Metric, Source, Value},
};
use crate::{
    identity::Process,
    l7::{
        exchange::{Exchange, ExchangeKey, Side, Thread},
        grpc::{Call, Messages},
    },
};

/// `GET /users/7?…` answered with 200 by nginx after 2 ms.
pub(crate) fn exchange() -> Exchange {
    Exchange {
        key: ExchangeKey {
            connection: ConnectionId {
                sock: 1,
                born_ns: 2,
            },
            message: 3,
            part: 0,
        },
        side: Side::Server,
        thread: Thread::new(10, 11),
        local: ([127, 0, 0, 1], 80).into(),
        remote: ([127, 0, 0, 2], 40_000).into(),
        method: "GET".into(),
        path: "/users/7".into(),
        version: "1.1",
        tls: false,
        status: Ok(200),
        cut: None,
        start_ns: 1_000_000,
        end_ns: 3_000_000,
        request_bytes: 100,
        response_bytes: 200,
        parent: None,
        trace_state: None,
        rpc: None,
    }
}

/// A gRPC call that ended with this `grpc-status`.
pub(crate) fn call(status: Option<u32>) -> Exchange {
    Exchange {
        method: "POST".into(),
        path: "/helloworld.Greeter/SayHello".into(),
        version: "2",
        rpc: Some(Box::new(Call {
            service: "helloworld.Greeter".into(),
            method: "SayHello".into(),
            status,
            request: Messages {
                count: Some(1),
                bytes: 12,
            },
            response: Messages {
                count: None,
                bytes: 30,
            },
        })),
        ..exchange()
    }
}

pub(crate) fn process(service: &str) -> Process {
    Process {
        pid: 10,
        start_ticks: 1,
        service: service.into(),
        executable: Some("/usr/sbin/nginx".into()),
        comm: "nginx".into(),
        container: Some("c0ffee".into()),
    }
}

pub(super) fn context(number: u8) -> SpanContext {
    SpanContext {
        trace_id: [number; 16],
        span_id: [number; 8],
        parent_span_id: None,
        flags: 1,
        trace_state: None,
    }
}

pub(super) fn collect(source: &dyn Source) -> Vec<Metric> {
    let mut metrics = Vec::new();
    source.collect(&mut metrics);
    metrics
}

/// An attribute's value as text.
pub(super) fn attribute(attributes: &super::metric::Attributes, name: &str) -> Option<String> {
    attributes
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| match value {
            Value::Str(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
        })
}

pub(super) fn clock() -> Arc<super::Clock> {
    Arc::new(super::Clock::new())
}

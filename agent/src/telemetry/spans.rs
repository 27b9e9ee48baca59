//! Exchanges to spans, by OpenTelemetry's stable HTTP semantic conventions.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use super::{
    clock::Clock,
    ids::SpanContext,
    metric::{Attributes, Value},
    red::error_type,
    span::{Resource, Span},
};
use crate::{
    identity::Process,
    l7::{
        exchange::{Exchange, Side},
        http1::KNOWN_METHODS,
    },
};

/// How many processes' resources are kept.
const RESOURCES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Makes spans.
pub struct Spans {
    clock: Arc<Clock>,
    resources: LruCache<(u32, u64), Arc<Resource>>,
}

impl Spans {
    /// No resource is known yet.
    pub fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            resources: LruCache::new(RESOURCES),
        }
    }

    /// The span of one exchange of `process`; `route` is what [`super::Red::record`] gave.
    pub fn span(
        &mut self,
        exchange: &Exchange,
        process: &Process,
        context: &SpanContext,
        route: Option<&str>,
    ) -> Span {
        let error = error_type(exchange.side, exchange.status.ok());
        let is_known = KNOWN_METHODS.contains(&exchange.method.as_str());
        let name_method = if is_known { &exchange.method } else { "HTTP" };
        let name = match route {
            Some(route) => format!("{name_method} {route}"),
            None => name_method.to_owned(),
        };
        let mut attributes = Attributes::with_capacity(16);
        let mut add = |name: &'static str, value: Value| attributes.push((name.into(), value));
        let text = |text: String| Value::Str(text.into());
        add(
            "http.request.method",
            if is_known {
                text(exchange.method.clone())
            } else {
                Value::Str("_OTHER".into())
            },
        );
        if !is_known {
            add(
                "http.request.method_original",
                text(exchange.method.clone()),
            );
        }
        if let Ok(status) = exchange.status {
            add("http.response.status_code", Value::Int(status.into()));
        }
        match exchange.side {
            Side::Server => {
                add("url.scheme", Value::Str("http".into()));
                add("url.path", text(exchange.path.clone()));
                add("client.address", text(exchange.remote.ip().to_string()));
                add("server.address", text(exchange.local.ip().to_string()));
                add("server.port", Value::Int(exchange.local.port().into()));
            }
            Side::Client => {
                add(
                    "url.full",
                    text(format!("http://{}{}", exchange.remote, exchange.path)),
                );
                add("server.address", text(exchange.remote.ip().to_string()));
                add("server.port", Value::Int(exchange.remote.port().into()));
            }
        }
        if let Some(route) = route {
            let name = if exchange.side == Side::Server {
                "http.route"
            } else {
                "url.template"
            };
            add(name, text(route.to_owned()));
        }
        add(
            "network.protocol.version",
            Value::Str(exchange.version.into()),
        );
        add(
            "network.peer.address",
            text(exchange.remote.ip().to_string()),
        );
        add(
            "network.peer.port",
            Value::Int(exchange.remote.port().into()),
        );
        add("http.request.size", size(exchange.request_bytes));
        add("http.response.size", size(exchange.response_bytes));
        add("thread.id", Value::Int(exchange.tid.into()));
        let is_error = error.is_some();
        if let Some(error) = error {
            add("error.type", Value::Str(error));
        }
        Span {
            trace_id: context.trace_id,
            span_id: context.span_id,
            parent_span_id: context.parent_span_id,
            flags: context.flags,
            name,
            side: exchange.side,
            start_unix_nano: self.clock.unix_ns(exchange.start_ns),
            end_unix_nano: self.clock.unix_ns(exchange.end_ns),
            resource: self.resource(process),
            attributes,
            error: is_error,
        }
    }

    fn resource(&mut self, process: &Process) -> Arc<Resource> {
        let key = (process.pid, process.start_ticks);
        let known = self
            .resources
            .get(&key)
            .filter(|resource| resource.service_name == process.service);
        if let Some(resource) = known {
            return Arc::clone(resource);
        }
        let resource = Arc::new(resource(process));
        self.resources.put(key, Arc::clone(&resource));
        resource
    }
}

/// A process as an OpenTelemetry resource.
pub fn resource(process: &Process) -> Resource {
    let mut attributes: Attributes = vec![("process.pid".into(), Value::Int(process.pid.into()))];
    let mut add = |name: &'static str, value: String| {
        attributes.push((name.into(), Value::Str(value.into())))
    };
    if let Some(path) = &process.executable {
        add(
            "process.executable.path",
            path.to_string_lossy().into_owned(),
        );
    }
    if let Some(name) = process.executable_name() {
        add("process.executable.name", name);
    }
    if let Some(id) = &process.container {
        add("container.id", id.clone());
    }
    Resource {
        service_name: Arc::clone(&process.service),
        attributes,
    }
}

fn size(bytes: u64) -> Value {
    Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;

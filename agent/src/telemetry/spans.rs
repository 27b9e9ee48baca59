//! Exchanges to spans, by OpenTelemetry's stable semantic conventions for HTTP and those for gRPC (1.44, release candidate). A gRPC call is one
//! span, with the attributes of a call.

mod describe;

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use super::{
    clock::Clock,
    failure::Failure,
    ids::SpanContext,
    metric::{Attributes, Value},
    span::{Resource, Span},
};
use crate::{identity::Process, l7::exchange::Exchange};

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

    /// The span of one exchange of `process`; `route` is the route or RPC method that [`super::Red::record`] gave.
    pub fn span(
        &mut self,
        exchange: &Exchange,
        process: &Process,
        context: &SpanContext,
        route: Option<&str>,
    ) -> Span {
        let failure = Failure::of(exchange);
        let mut attributes = Attributes::with_capacity(20);
        let name = match exchange.rpc.as_deref() {
            Some(call) => describe::rpc(exchange, call, route, &mut attributes),
            None => describe::http(exchange, route, &mut attributes),
        };
        attributes.push(("thread.id".into(), Value::Int(exchange.thread.tid.into())));
        if let Some(failure) = failure {
            attributes.push(("error.type".into(), Value::Str(failure.name())));
        }
        Span {
            trace_id: context.trace_id,
            span_id: context.span_id,
            parent_span_id: context.parent_span_id,
            flags: context.flags,
            trace_state: context.trace_state.clone(),
            name,
            side: exchange.side,
            start_unix_nano: self.clock.unix_ns(exchange.start_ns),
            end_unix_nano: self.clock.unix_ns(exchange.end_ns),
            resource: self.resource(process),
            attributes,
            error: failure.is_some(),
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

#[cfg(test)]
mod tests;

//! Finished spans, ready for an exporter.

use std::sync::Arc;

use crate::{l7::exchange::Side, telemetry::metric::Attributes};

/// One finished span of one exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace_id: [u8; 16],
    /// This span; for a client whose request carried a `traceparent`, the id that it carried.
    pub span_id: [u8; 8],
    /// For a server, the span that the request named; for a client, the server's span that it was a part of. None where that is not known.
    pub parent_span_id: Option<[u8; 8]>,
    /// The trace flags.
    pub flags: u8,
    /// The trace's `tracestate`, where a request brought one.
    pub trace_state: Option<Arc<str>>,
    /// `GET /users/{id}`, or the method alone; of a gRPC call its full method.
    pub name: String,
    /// SERVER or CLIENT.
    pub side: Side,
    /// Nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_unix_nano: u64,
    /// `service.name` and what else is known of the process.
    pub resource: Arc<Resource>,
    /// By the semantic conventions for HTTP or gRPC.
    pub attributes: Attributes,
    /// Whether the span's status is Error: [`super::failure`] says when.
    pub error: bool,
}

/// The process behind a signal, as an OpenTelemetry resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// `service.name`.
    pub service_name: Arc<str>,
    /// The rest: `process.pid`, `process.executable.name`, `container.id`, ….
    pub attributes: Attributes,
}

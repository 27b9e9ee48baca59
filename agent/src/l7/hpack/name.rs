//! Which header fields are read. Of all others not even the name is kept.

/// A header field's name, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:status`
    Status,
    /// `:protocol` (RFC 8441)
    Protocol,
    /// `content-type`
    ContentType,
    /// `grpc-status`
    GrpcStatus,
    /// `traceparent`
    TraceParent,
    /// `tracestate`
    TraceState,
    /// One that is not read.
    Other,
    /// It may be any: it was put into the table before this observer came.
    Unknown,
}

impl Name {
    /// The longest name that is read.
    pub(super) const LONGEST: usize = 12;

    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b":protocol" => Self::Protocol,
            b"content-type" => Self::ContentType,
            b"grpc-status" => Self::GrpcStatus,
            b"traceparent" => Self::TraceParent,
            b"tracestate" => Self::TraceState,
            _ => Self::Other,
        }
    }

    /// Whether its value is kept.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Self::Other | Self::Unknown)
    }

    /// What of a value is kept: a path without its query, which can hold secrets.
    pub(super) fn kept(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Path => value
                .iter()
                .position(|byte| matches!(byte, b'?' | b'#'))
                .map_or(value, |end| &value[..end]),
            _ => value,
        }
    }
}

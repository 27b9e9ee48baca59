//! `error.type`: how an exchange failed, by OpenTelemetry's semantic conventions for HTTP and gRPC (1.44).
//!
//! | value | what happened |
//! |---|---|
//! | `404`, `503`, … | the HTTP status, where it is an error for this side: 5xx for both, 4xx for a client |
//! | `NOT_FOUND`, `UNAVAILABLE`, … | the gRPC status, where it is an error for this side ([`Code::is_error`]) |
//! | `closed` | the connection ended before the answer did |
//! | `reset_cancel`, `reset_refused_stream`, … | HTTP/2: one of the two ends gave the stream up with this error code; `reset` with one that RFC 9113 does not have |
//! | `go_away` | HTTP/2: the server went away without having looked at the request |
//!
//! A status that is an error goes before the way in which its answer was cut. A client that cancels on purpose looks like one whose patience is at
//! an end: both are errors. A gRPC call that was cancelled has a status for its server (`CANCELLED`), which is none.

use std::borrow::Cow;

use super::rpc::Code;
use crate::l7::exchange::{Exchange, Side, Unanswered};

/// HTTP/2's error codes, by number (RFC 9113 section 7).
const RESETS: [&str; 14] = [
    "reset_no_error",
    "reset_protocol_error",
    "reset_internal_error",
    "reset_flow_control_error",
    "reset_settings_timeout",
    "reset_stream_closed",
    "reset_frame_size_error",
    "reset_refused_stream",
    "reset_cancel",
    "reset_compression_error",
    "reset_connect_error",
    "reset_enhance_your_calm",
    "reset_inadequate_security",
    "reset_http_1_1_required",
];

/// How an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Rpc(Code),
    /// The answer has no end, or there is none at all.
    Cut(Cut),
}

/// What kept an answer from its end: few values, whatever a peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut(&'static str);

impl Failure {
    /// None for an exchange that did not fail.
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let code = exchange
            .rpc
            .as_deref()
            .and_then(|call| Code::of(exchange, call));
        if let Some(code) = code {
            return code.is_error(exchange.side).then_some(Self::Rpc(code));
        }
        match (exchange.side, exchange.status) {
            (_, Ok(status @ 500..)) | (Side::Client, Ok(status @ 400..)) => {
                Some(Self::Http(status))
            }
            (_, Ok(_)) => exchange.cut.map(|why| Self::Cut(why.into())),
            (_, Err(why)) => Some(Self::Cut(why.into())),
        }
    }

    /// The value of `error.type`.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Http(status) => status.to_string().into(),
            Self::Rpc(code) => code.name(),
            Self::Cut(cut) => cut.name().into(),
        }
    }
}

impl Cut {
    /// Its value as `error.type`.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl From<Unanswered> for Cut {
    fn from(why: Unanswered) -> Self {
        Self(match why {
            Unanswered::Closed => "closed",
            Unanswered::GoneAway => "go_away",
            Unanswered::Reset(code) => usize::try_from(code)
                .ok()
                .and_then(|code| RESETS.get(code))
                .unwrap_or(&"reset"),
        })
    }
}

#[cfg(test)]
mod tests;

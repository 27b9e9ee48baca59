//! gRPC status codes (grpc/grpc, `doc/statuscodes.md`), and what OpenTelemetry's semantic conventions for gRPC (1.44) make of them.

use std::borrow::Cow;

use crate::l7::{
    exchange::{Exchange, Side, Unanswered},
    grpc::Call,
};

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The attribute with the name of a [`Code`]. The conventions after 1.44 are to call it `rpc.status_code`.
pub const STATUS_CODE: &str = "rpc.response.status_code";

/// HTTP/2's error code CANCEL (RFC 9113 section 7).
const CANCEL: u32 = 8;

/// A status code of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(u32);

impl Code {
    const OK: Self = Self(0);
    const CANCELLED: Self = Self(1);
    const UNKNOWN: Self = Self(2);
    const PERMISSION_DENIED: Self = Self(7);
    const UNIMPLEMENTED: Self = Self(12);
    const INTERNAL: Self = Self(13);
    const UNAVAILABLE: Self = Self(14);
    const UNAUTHENTICATED: Self = Self(16);

    /// How a call ended, where that is certain: the `grpc-status` that was seen; else what gRPC's documents say both ends make of
    /// what was seen in its place.
    ///
    /// A client takes an HTTP error, which only something on the way answers with, for the code of `doc/http-grpc-status-mapping.md`.
    /// A server whose stream was cancelled holds the call for cancelled, whoever did it (`doc/PROTOCOL-HTTP2.md`, "Errors"); a client
    /// that cancels may hold it for a deadline that has passed, so that its code is not known.
    pub fn of(exchange: &Exchange, call: &Call) -> Option<Self> {
        if let Some(code) = call.status {
            return Some(Self(code));
        }
        match (exchange.side, exchange.status, exchange.cut) {
            (Side::Client, Ok(status), None) => Self::of_http(status),
            (Side::Server, Err(Unanswered::Reset(CANCEL)), _)
            | (Side::Server, Ok(200), Some(Unanswered::Reset(CANCEL))) => Some(Self::CANCELLED),
            _ => None,
        }
    }

    /// 200 without a `grpc-status` would be `UNKNOWN`, but may also be one that could not be read.
    fn of_http(status: u16) -> Option<Self> {
        Some(match status {
            200 => return None,
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502..=504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        })
    }

    /// Whether it is an error for this side: for a client all but `OK`, for a server those that it has to answer for.
    pub fn is_error(self, side: Side) -> bool {
        match side {
            Side::Client => self != Self::OK,
            // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, and what is no code at all.
            Side::Server => matches!(self.0, 2 | 4 | 12..=15 | 17..),
        }
    }

    /// Whether the server says that it has no such method.
    pub fn is_unimplemented(self) -> bool {
        self == Self::UNIMPLEMENTED
    }

    /// Its name; of what is no code, the number.
    pub fn name(self) -> Cow<'static, str> {
        let known = usize::try_from(self.0)
            .ok()
            .and_then(|code| NAMES.get(code));
        known.map_or_else(|| self.0.to_string().into(), |&name| name.into())
    }
}

/// Writes `rpc.method`, the full name: `helloworld.Greeter/SayHello`.
pub fn write_method(call: &Call, into: &mut String) {
    into.push_str(&call.service);
    if !call.method.is_empty() {
        into.extend(["/", &call.method]);
    }
}

#[cfg(test)]
mod tests;

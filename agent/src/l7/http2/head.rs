//! What a header block says: of a request, of an answer, or of trailers.

use std::sync::Arc;

use crate::l7::{
    counts::ExchangeOutcome, exchange::TraceParent, grpc, hpack::Name, http1, trace_state,
};

/// The fields of a block that are read.
#[derive(Default)]
pub(super) struct Head {
    method: Option<String>,
    path: Option<String>,
    status: Option<u16>,
    protocol: bool,
    content: Option<Content>,
    pub(super) grpc_status: Option<u32>,
    parent: Option<TraceParent>,
    parents: u32,
    trace_state: Option<String>,
    /// There were fields of names that are not known, so that what is not there may have been.
    unknown: bool,
    /// Something is there twice, or can't be meant.
    malformed: bool,
}

/// What the content type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// gRPC.
    Grpc,
    /// Something else, or nothing.
    Other,
    /// It may be any.
    Unknown,
}

/// A request's head.
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) parent: Option<TraceParent>,
    pub(super) trace_state: Option<Arc<str>>,
    /// Not all of its fields are known.
    pub(super) partial: bool,
}

impl Head {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A part of the block is missing.
    pub(super) fn cut(&mut self) {
        self.unknown = true;
    }

    pub(super) fn field(&mut self, name: Name, value: Option<&[u8]>) {
        if name == Name::Unknown {
            self.unknown = true;
        }
        let Some(value) = value else {
            return;
        };
        match name {
            Name::Method => {
                let method = http1::method(value).map(str::to_owned);
                self.malformed |= method.is_none() || self.method.is_some();
                self.method = method;
            }
            Name::Path => {
                self.malformed |= value.is_empty() || self.path.is_some();
                // The method decides only where there is no path.
                self.path = Some(http1::path("", value));
            }
            Name::Status => {
                let status = status(value);
                self.malformed |= status.is_none() || self.status.is_some();
                self.status = status;
            }
            Name::Protocol => self.protocol = true,
            Name::ContentType => {
                self.content = Some(if grpc::is_content_type(value) {
                    Content::Grpc
                } else {
                    Content::Other
                });
            }
            Name::GrpcStatus => self.grpc_status = grpc::status(value),
            Name::TraceParent => {
                self.parents += 1;
                // More than one, and none is valid.
                self.parent = if self.parents == 1 {
                    http1::trace_parent(value)
                } else {
                    None
                };
            }
            Name::TraceState => trace_state::add(&mut self.trace_state, value),
            Name::Other | Name::Unknown => {}
        }
    }

    /// Whether only a request has what is in it, or only an answer; none where neither is known.
    pub(super) fn is_request(&self) -> Option<bool> {
        match (&self.method, self.status) {
            (Some(_), None) => Some(true),
            (None, Some(_)) => Some(false),
            _ => None,
        }
    }

    /// The status of an answer; none in trailers. An error where it may be there and is not known.
    pub(super) fn answer(&self) -> Result<Option<u16>, ExchangeOutcome> {
        match self.status {
            _ if self.malformed => Err(ExchangeOutcome::BadResponse),
            None if self.unknown => Err(ExchangeOutcome::HeaderUnknown),
            status => Ok(status),
        }
    }

    /// Whether it has fields that are not known.
    pub(super) fn is_partial(&self) -> bool {
        self.unknown
    }

    /// What kind of body comes.
    pub(super) fn content(&self) -> Content {
        match self.content {
            Some(content) => content,
            None if self.unknown => Content::Unknown,
            None => Content::Other,
        }
    }

    /// The request that this is, or why it is none.
    pub(super) fn request(&mut self) -> Result<RequestHead, ExchangeOutcome> {
        let missing = if self.unknown {
            ExchangeOutcome::HeaderUnknown
        } else {
            ExchangeOutcome::BadRequest
        };
        if self.malformed || self.status.is_some() {
            return Err(ExchangeOutcome::BadRequest);
        }
        let method = self.method.take().ok_or(missing)?;
        let path = match self.path.take() {
            Some(path) => path,
            // RFC 9113 section 8.5; with `:protocol` (RFC 8441) there is a path again.
            None if method == "CONNECT" && !self.protocol && !self.unknown => String::new(),
            None => return Err(missing),
        };
        Ok(RequestHead {
            method,
            path,
            parent: self.parent,
            trace_state: self.parent.and(self.trace_state.take()).map(Into::into),
            partial: self.unknown,
        })
    }
}

fn status(value: &[u8]) -> Option<u16> {
    let digits: [u8; 3] = value.try_into().ok()?;
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0')),
    )
}

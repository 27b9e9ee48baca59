//! Trace and span ids. See ARCHITECTURE.md, "Ids".
//!
//! An id is a keyed hash of its exchange's key: whoever holds the key names the span without asking, and whoever does not hold
//! the secret can neither foresee an id nor learn a kernel address from one.

use std::{hash::Hasher as _, sync::Arc};

use siphasher::{sip::SipHasher24, sip128::Hasher128 as _, sip128::SipHasher24 as SipHasher128};

use super::parents::Parent;
use crate::l7::exchange::{Exchange, ExchangeKey, Opened, Side, Started, TraceParent};

/// The flags of a trace that fathom begins: sampled, and (W3C Trace Context level 2) with a random trace id.
const FLAGS: u8 = 0b11;

/// Where a span stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// Its parent.
    pub parent_span_id: Option<[u8; 8]>,
    /// The trace flags.
    pub flags: u8,
    /// The trace's `tracestate`.
    pub trace_state: Option<Arc<str>>,
}

/// Makes ids: the same for the same exchange, for as long as the agent runs.
#[derive(Clone)]
pub struct Ids {
    key: [u8; 16],
}

impl Ids {
    /// Ids under a secret that the kernel's random number generator draws.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self::new(key))
    }

    /// Ids under this secret.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The trace id of an exchange whose request brought none; never all zero.
    pub fn trace_id(&self, exchange: &ExchangeKey) -> [u8; 16] {
        let mut hasher = SipHasher128::new_with_key(&self.key);
        hasher.write(&bytes(exchange));
        let hash = hasher.finish128().as_u128();
        if hash == 0 { 1 } else { hash }.to_be_bytes()
    }

    /// The span id of an exchange; never all zero.
    pub fn span_id(&self, exchange: &ExchangeKey) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&bytes(exchange));
        let hash = hasher.finish();
        if hash == 0 { 1 } else { hash }.to_be_bytes()
    }

    /// Where an exchange's span stands. A server's span is a child of the span that the request named. A client's is where [`super::Parents`]
    /// says: where the application sent a `traceparent` of its own, that *is* the exchange's span, and the server on the other side has
    /// it for its parent.
    pub fn context(&self, exchange: &Exchange, parent: &Parent) -> SpanContext {
        match (exchange.side, parent, &exchange.parent) {
            (Side::Client, Parent::Server(server), _) => {
                let of_server = self.of_request(server);
                SpanContext {
                    span_id: self.span_id(&exchange.key),
                    parent_span_id: Some(of_server.span_id),
                    ..of_server
                }
            }
            (Side::Client, Parent::Own | Parent::Unknown, Some(own)) => SpanContext {
                trace_id: own.trace_id,
                span_id: own.span_id,
                parent_span_id: None,
                flags: own.flags,
                trace_state: exchange.trace_state.clone(),
            },
            (_, _, parent) => {
                self.root_or_child(&exchange.key, parent.as_ref(), &exchange.trace_state)
            }
        }
    }

    /// Where the span of a request that was received stands, which is known as soon as the request is.
    pub fn of_request(&self, request: &Started) -> SpanContext {
        let Opened {
            parent,
            trace_state,
            ..
        } = &request.request;
        self.root_or_child(&request.key, parent.as_ref(), trace_state)
    }

    /// Where a server's span stands: a child of the span that the request named.
    fn root_or_child(
        &self,
        key: &ExchangeKey,
        parent: Option<&TraceParent>,
        trace_state: &Option<Arc<str>>,
    ) -> SpanContext {
        SpanContext {
            trace_id: parent.map_or_else(|| self.trace_id(key), |parent| parent.trace_id),
            span_id: self.span_id(key),
            parent_span_id: parent.map(|parent| parent.span_id),
            flags: parent.map_or(FLAGS, |parent| parent.flags),
            trace_state: trace_state.clone(),
        }
    }
}

fn bytes(exchange: &ExchangeKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&exchange.connection.sock.to_le_bytes());
    bytes[8..16].copy_from_slice(&exchange.connection.born_ns.to_le_bytes());
    bytes[16..20].copy_from_slice(&exchange.message.to_le_bytes());
    bytes[20..].copy_from_slice(&exchange.part.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests;

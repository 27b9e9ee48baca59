//! Which span a CPU sample belongs to.
//!
//! A sample names the exchange that its thread was serving. The exchange's span may continue a trace that the request
//! brought along, which is known for certain only when the exchange has ended; samples and exchanges come through
//! different rings, so that either can be first. [`Links`] holds both for as long as that takes. A sample whose
//! exchange has not ended when its profile goes out has no link: a made-up id would point to a span that never comes.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use super::ids::SpanContext;
use crate::l7::exchange::ExchangeKey;

/// A trace and a span of it.
pub type SpanIds = ([u8; 16], [u8; 8]);

/// Exchanges that ended last: at 50,000 a second those of the last 160 ms, longer than samples wait in their ring.
const RECENT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Sampled exchanges of one window.
const WANTED: usize = 16_384;

/// Joins samples and exchanges by the exchange's key.
#[derive(Debug)]
pub struct Links {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    recent: LruCache<ExchangeKey, SpanIds>,
    /// The exchanges that were sampled in this window, with their spans once they are known.
    wanted: HashMap<ExchangeKey, Option<SpanIds>>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                recent: LruCache::new(RECENT),
                wanted: HashMap::new(),
            }),
        }
    }
}

impl Links {
    /// An exchange has ended; this is where its span stands.
    pub fn ended(&self, exchange: ExchangeKey, context: &SpanContext) {
        let span = (context.trace_id, context.span_id);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = inner.wanted.get_mut(&exchange) {
            *wanted = Some(span);
        }
        inner.recent.put(exchange, span);
    }

    /// A thread was sampled while it served this exchange.
    pub fn sampled(&self, exchange: ExchangeKey) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.wanted.contains_key(&exchange) || inner.wanted.len() >= WANTED {
            return;
        }
        let span = inner.recent.peek(&exchange).copied();
        inner.wanted.insert(exchange, span);
    }

    /// Ends the window: the spans of the exchanges that were sampled in it.
    pub fn take(&self) -> HashMap<ExchangeKey, SpanIds> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .wanted
            .drain()
            .filter_map(|(exchange, span)| Some((exchange, span?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use fathom_abi::ConnectionId;

    use super::*;

    fn exchange(message: u32) -> ExchangeKey {
        ExchangeKey {
            connection: ConnectionId {
                sock: 1,
                born_ns: 2,
            },
            message,
            part: 0,
        }
    }

    fn context(span: u8) -> SpanContext {
        SpanContext {
            trace_id: [span; 16],
            span_id: [span; 8],
            parent_span_id: None,
            flags: 1,
            trace_state: None,
        }
    }

    #[test]
    fn either_can_be_first() {
        let links = Links::default();
        links.ended(exchange(1), &context(1));
        links.sampled(exchange(1));
        links.sampled(exchange(2));
        links.ended(exchange(2), &context(2));
        links.ended(exchange(3), &context(3));
        links.sampled(exchange(4));
        let spans = links.take();
        assert_eq!(spans.len(), 2, "3 was not sampled, 4 has not ended");
        assert_eq!(spans[&exchange(1)], ([1; 16], [1; 8]));
        assert_eq!(spans[&exchange(2)], ([2; 16], [2; 8]));
        assert!(links.take().is_empty());
    }

    #[test]
    fn both_sides_are_bounded() {
        let links = Links::default();
        for message in 0..2 * u32::try_from(WANTED).unwrap_or(u32::MAX) {
            links.sampled(exchange(message));
            links.ended(exchange(message), &context(1));
        }
        assert_eq!(links.take().len(), WANTED);
        // The oldest are gone.
        links.sampled(exchange(0));
        assert!(links.take().is_empty());
    }
}

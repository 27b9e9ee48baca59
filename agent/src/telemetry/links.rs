//! Which span a CPU sample belongs to.
//!
//! A sample names the exchange that its thread was serving. The exchange's span may continue a trace that the request
//! brought along, which is known for certain only when the exchange has ended; samples and exchanges come through
//! different rings, so that either can be first. [`Links`] holds both for as long as that takes. A sample whose
//! exchange has not ended when its profile goes out has no link: a made-up id would point to a span that never comes. Nor has one that was taken when its
//! exchange was over: whoever served it did so without an answer, and the kernel's programs did not see the end.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use crate::l7::exchange::ExchangeKey;

/// A trace and a span of it.
pub type SpanIds = ([u8; 16], [u8; 8]);

/// Exchanges that ended last: at 50,000 a second those of the last 160 ms, longer than samples wait in their ring.
const RECENT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Sampled exchanges of one window, where nobody asks for more.
const WANTED: usize = 16_384;

/// Joins samples and exchanges by the exchange's key. `T` is what is to be known of an exchange that has ended: its span, most often.
#[derive(Debug)]
pub struct Links<T = SpanIds> {
    inner: Mutex<Inner<T>>,
    /// How many sampled exchanges have room.
    room: usize,
}

#[derive(Debug)]
struct Inner<T> {
    recent: LruCache<ExchangeKey, Ended<T>>,
    /// The exchanges that were sampled in this window, with what is known of them once they have ended.
    wanted: HashMap<ExchangeKey, Option<Ended<T>>>,
    /// Samples whose exchange found no room.
    refused: u64,
}

#[derive(Clone, Debug)]
struct Ended<T> {
    end_ns: u64,
    /// Nothing, where nothing is to be known of it.
    known: Option<T>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self::with_room(WANTED)
    }
}

impl<T> Links<T> {
    /// For at most so many sampled exchanges in a window.
    pub fn with_room(room: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                recent: LruCache::new(RECENT),
                wanted: HashMap::new(),
                refused: 0,
            }),
            room,
        }
    }
}

impl<T: Clone> Links<T> {
    /// An exchange has ended at that time (monotonic), and this is known of it.
    pub fn ended(&self, exchange: ExchangeKey, end_ns: u64, known: T) {
        let known = Ended {
            end_ns,
            known: Some(known),
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = inner.wanted.get_mut(&exchange) {
            *wanted = Some(known.clone());
        }
        inner.recent.put(exchange, known);
    }

    /// An exchange has ended of which nothing is to be known: it takes no room any more. Returns whether it had been sampled.
    pub fn passed_over(&self, exchange: ExchangeKey, end_ns: u64) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = Ended {
            end_ns,
            known: None,
        };
        inner.recent.put(exchange, ended);
        inner.wanted.remove(&exchange).is_some()
    }

    /// Somebody was sampled at that time (monotonic) who served this exchange. Returns whether that can be so: the exchange was not over.
    #[must_use]
    pub fn sampled(&self, exchange: ExchangeKey, at_ns: u64) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |ended: &Ended<T>| at_ns <= ended.end_ns;
        if let Some(known) = inner.wanted.get(&exchange) {
            return known.as_ref().is_none_or(is_open);
        }
        let known = inner.recent.peek(&exchange).cloned();
        match &known {
            Some(ended) if !is_open(ended) => return false,
            Some(Ended { known: None, .. }) => return true,
            _ => {}
        }
        if inner.wanted.len() >= self.room {
            inner.refused += 1;
            return true;
        }
        inner.wanted.insert(exchange, known);
        true
    }

    /// How many exchanges were sampled in this window and have not ended.
    pub fn open(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .wanted
            .values()
            .filter(|known| known.is_none())
            .count()
    }

    /// How many samples named an exchange that found no room, so that nothing will be known of it.
    pub fn refused(&self) -> u64 {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.refused
    }

    /// Ends the window: what is known of the exchanges that were sampled in it.
    pub fn take(&self) -> HashMap<ExchangeKey, T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .wanted
            .drain()
            .filter_map(|(exchange, ended)| Some((exchange, ended?.known?)))
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

    fn ids(span: u8) -> SpanIds {
        ([span; 16], [span; 8])
    }

    #[test]
    fn either_can_be_first() {
        let links: Links = Links::default();
        links.ended(exchange(1), 10, ids(1));
        assert!(links.sampled(exchange(1), 9));
        assert!(links.sampled(exchange(2), 20));
        links.ended(exchange(2), 21, ids(2));
        links.ended(exchange(3), 30, ids(3));
        assert!(links.sampled(exchange(4), 40));
        assert_eq!(links.open(), 1);
        let spans = links.take();
        assert_eq!(links.open(), 0, "that window is over");
        assert_eq!(spans.len(), 2, "3 was not sampled, 4 has not ended");
        assert_eq!(spans[&exchange(1)], ([1; 16], [1; 8]));
        assert_eq!(spans[&exchange(2)], ([2; 16], [2; 8]));
        assert!(links.take().is_empty());
    }

    #[test]
    fn both_sides_are_bounded() {
        let links: Links = Links::default();
        for message in 0..2 * u32::try_from(WANTED).unwrap_or(u32::MAX) {
            assert!(links.sampled(exchange(message), 1));
            links.ended(exchange(message), 1, ids(1));
        }
        assert_eq!(links.refused(), WANTED as u64);
        assert_eq!(links.take().len(), WANTED);
        // The oldest are gone.
        assert!(links.sampled(exchange(0), 2));
        assert!(links.take().is_empty());
    }

    #[test]
    fn what_is_passed_over_takes_no_room() {
        let links: Links = Links::with_room(2);
        for message in 0..100 {
            assert!(links.sampled(exchange(message), 9));
            assert!(links.passed_over(exchange(message), 10));
            assert!(
                links.sampled(exchange(message), 9),
                "its last sample is late"
            );
            assert!(!links.sampled(exchange(message), 11));
        }
        assert!(
            !links.passed_over(exchange(200), 10),
            "nobody has sampled it"
        );
        assert!(links.sampled(exchange(201), 9) && links.sampled(exchange(202), 9));
        assert_eq!(links.refused(), 0);
        assert!(links.sampled(exchange(203), 9));
        assert_eq!((links.refused(), links.open()), (1, 2));
        assert!(links.take().is_empty());
    }

    #[test]
    fn a_sample_that_comes_after_the_end_is_not_of_the_exchange() {
        let links: Links = Links::default();
        links.ended(exchange(1), 10, ids(1));
        assert!(!links.sampled(exchange(1), 11));
        assert!(links.take().is_empty());
        // The same of one that was sampled in time before.
        assert!(links.sampled(exchange(1), 10));
        assert!(!links.sampled(exchange(1), 11));
        assert_eq!(links.take().len(), 1);
    }
}

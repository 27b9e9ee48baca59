//! Which client exchanges were made while their thread served a request: those are a part of what the server did, and their spans are
//! children of its span.
//!
//! What can be seen is which thread moved a request's first byte, and when. In a program that gives each request a thread, that is enough. In one that
//! serves many requests on a thread (nginx, Node), or moves a request from thread to thread (Go, tokio), it is not, and nothing says
//! beforehand which kind a program is. So [`Parents`] takes a request for a client exchange's parent only where all of this holds; where
//! any is in doubt there is no parent, as a wrong one is worse:
//!
//! - the client's request came without a `traceparent`: one that has it stays where the application put it;
//! - the same thread of the same process had received the server's request before, and had not finished its answer;
//! - that was the only one: when a thread receives a request while another is unanswered, neither of the two has children from then on;
//! - the process was never seen to serve two requests on a thread at a time ([`Parents::multiplexes`] says it of one beforehand).
//!
//! The server's exchange ends after those that it makes. Its span is known all the same when it has begun, as a span's id depends on
//! its exchange's key alone (`ids.rs`).
//!
//! **Order.** What happened first has to be told first, as the ring of records has it. Then an exchange whose answer was not told to have
//! begun had none when the client's exchange was made. One whose answer has begun may be over, though its end is told later (an answer's
//! end is often known only with the next record): between the two, it is nobody's parent.
//!
//! What is left in doubt: a program that serves one request at a time on a thread of many tasks, and has never served two, may make requests
//! of its own accord meanwhile.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::ConnectionId;
use lru::LruCache;

use crate::l7::exchange::{Exchange, ExchangeKey, Side, TraceParent};

/// Threads that are remembered; one costs about 500 bytes.
const THREADS: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// Requests that are remembered of a thread.
const SERVED: usize = 4;
/// Processes that are known to serve several requests on a thread.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// A request that has been open for so long is taken for one whose end was lost.
const LOST_AFTER_NS: u64 = 3600 * 1_000_000_000;

/// A thread (initial pid namespace).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// Its process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
}

/// A server has received a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The exchange.
    pub key: ExchangeKey,
    /// Who received the request's first byte.
    pub thread: Thread,
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub start_ns: u64,
    /// The `traceparent` that it carried.
    pub parent: Option<TraceParent>,
}

/// What became of the client exchanges: each is counted once.
#[derive(Debug, Default)]
pub struct ParentCounts {
    parented: AtomicU64,
    own: AtomicU64,
    alone: AtomicU64,
    ambiguous: AtomicU64,
}

impl ParentCounts {
    /// Those with a parent.
    pub fn parented(&self) -> u64 {
        self.parented.load(Relaxed)
    }

    /// Those whose application sent a `traceparent`.
    pub fn own(&self) -> u64 {
        self.own.load(Relaxed)
    }

    /// Those whose thread served no request.
    pub fn alone(&self) -> u64 {
        self.alone.load(Relaxed)
    }

    /// Those whose thread served a request, which is not certain to be what they are a part of.
    pub fn ambiguous(&self) -> u64 {
        self.ambiguous.load(Relaxed)
    }
}

/// The requests that threads serve.
pub struct Parents {
    threads: LruCache<Thread, Serving>,
    multiplexing: LruCache<u32, ()>,
    counts: Arc<ParentCounts>,
}

#[derive(Default)]
struct Serving {
    /// In the order in which they were told, at most [`SERVED`].
    served: Vec<Served>,
    /// One that was open found no room: it may be going on.
    forgotten: bool,
}

struct Served {
    started: Started,
    /// When its answer began; none while it has not.
    answered_ns: Option<u64>,
    /// When its answer ended; none while that is not known.
    end_ns: Option<u64>,
    /// Another request was received on the thread while it was unanswered, or the other way round.
    tangled: bool,
}

impl Default for Parents {
    fn default() -> Self {
        Self {
            threads: LruCache::new(THREADS),
            multiplexing: LruCache::new(PROCESSES),
            counts: Arc::default(),
        }
    }
}

impl Parents {
    /// What became of the client exchanges so far; stays current.
    pub fn counts(&self) -> Arc<ParentCounts> {
        Arc::clone(&self.counts)
    }

    /// This process serves several requests on a thread, or one on several: none of its exchanges gets a parent.
    pub fn multiplexes(&mut self, tgid: u32) {
        self.multiplexing.put(tgid, ());
    }

    /// A server has received a request.
    pub fn started(&mut self, started: Started) {
        if self.multiplexing.get(&started.thread.tgid).is_some() {
            return;
        }
        let serving = self
            .threads
            .get_or_insert_mut(started.thread, Serving::default);
        serving
            .served
            .retain(|other| !other.is_lost(started.start_ns));
        if serving.find(&started.key).is_some() {
            return;
        }
        let mut tangled = false;
        for other in &mut serving.served {
            if other.answered_ns.is_none() && other.end_ns.is_none() {
                other.tangled = true;
                tangled = true;
            }
        }
        serving.push(Served {
            started,
            answered_ns: None,
            end_ns: None,
            tangled,
        });
    }

    /// The answer to a request that `thread` had received has begun.
    pub fn answered(&mut self, thread: Thread, key: &ExchangeKey, at_ns: u64) {
        if let Some(served) = self
            .threads
            .peek_mut(&thread)
            .and_then(|serving| serving.find(key))
        {
            served.answered_ns.get_or_insert(at_ns);
        }
    }

    /// What becomes of a request that `thread` had received will not be known.
    pub fn lost(&mut self, thread: Thread, key: &ExchangeKey) {
        if let Some(serving) = self.threads.peek_mut(&thread) {
            serving.served.retain(|served| served.started.key != *key);
        }
    }

    /// An exchange has ended. For a client's, gives the server's exchange that it is a part of.
    pub fn ended(&mut self, exchange: &Exchange) -> Option<Started> {
        match exchange.side {
            Side::Server => {
                self.server_ended(exchange);
                None
            }
            Side::Client => {
                let found = self.find(exchange);
                let count = match found {
                    Found::Parent(_) => &self.counts.parented,
                    Found::Own => &self.counts.own,
                    Found::Nothing => &self.counts.alone,
                    Found::Doubt => &self.counts.ambiguous,
                };
                count.fetch_add(1, Relaxed);
                match found {
                    Found::Parent(started) => Some(started),
                    Found::Own | Found::Nothing | Found::Doubt => None,
                }
            }
        }
    }

    fn server_ended(&mut self, exchange: &Exchange) {
        let thread = Thread {
            tgid: exchange.tgid,
            tid: exchange.tid,
        };
        if self.multiplexing.get(&thread.tgid).is_some() {
            return;
        }
        let serving = self.threads.get_or_insert_mut(thread, Serving::default);
        let is_serial = exchange.version != "2";
        if is_serial {
            // HTTP/1 answers in order, so that the end of an earlier one of the connection was lost.
            serving.served.retain(|other| {
                let key = &other.started.key;
                key.connection != exchange.key.connection
                    || (key.message, key.part) >= (exchange.key.message, exchange.key.part)
                    || other.end_ns.is_some()
            });
        }
        if exchange.status.is_err() {
            // When its thread gave it up is not known: only when the connection ended.
            serving
                .served
                .retain(|served| served.started.key != exchange.key);
            return;
        }
        match serving.find(&exchange.key) {
            Some(served) => served.end_ns = Some(exchange.end_ns),
            None => serving.push(Served {
                started: Started {
                    key: exchange.key,
                    thread,
                    start_ns: exchange.start_ns,
                    parent: exchange.parent,
                },
                answered_ns: None,
                end_ns: Some(exchange.end_ns),
                tangled: false,
            }),
        }
        // A pipeline of HTTP/1 can be worked through by a thread that has nothing else to do.
        let pipeline = is_serial.then_some(exchange.key.connection);
        if serving.overlaps(exchange, pipeline) {
            self.threads.pop(&thread);
            self.multiplexes(thread.tgid);
        }
    }

    fn find(&mut self, exchange: &Exchange) -> Found {
        if exchange.parent.is_some() {
            return Found::Own;
        }
        if self.multiplexing.get(&exchange.tgid).is_some() {
            return Found::Doubt;
        }
        let thread = Thread {
            tgid: exchange.tgid,
            tid: exchange.tid,
        };
        let Some(serving) = self.threads.get(&thread) else {
            return Found::Nothing;
        };
        let mut active = serving
            .served
            .iter()
            .filter(|served| served.may_be_active(exchange.start_ns));
        match (active.next(), active.next()) {
            (None, _) if !serving.forgotten => Found::Nothing,
            (Some(served), None) if !serving.forgotten && served.is_active(exchange.start_ns) => {
                Found::Parent(served.started)
            }
            _ => Found::Doubt,
        }
    }
}

enum Found {
    Parent(Started),
    Own,
    Nothing,
    Doubt,
}

impl Serving {
    fn find(&mut self, key: &ExchangeKey) -> Option<&mut Served> {
        self.served
            .iter_mut()
            .find(|served| served.started.key == *key)
    }

    fn push(&mut self, served: Served) {
        if self.served.len() >= SERVED {
            let over = self.served.iter().position(|other| other.end_ns.is_some());
            self.forgotten |= over.is_none();
            self.served.remove(over.unwrap_or(0));
        }
        self.served.push(served);
    }

    /// Whether the thread had received another request while it served this one, or this one while it served another: for certain, as
    /// an end that is not known may be one that was lost.
    fn overlaps(&self, exchange: &Exchange, pipeline: Option<ConnectionId>) -> bool {
        self.served.iter().any(|other| {
            let Started { key, start_ns, .. } = other.started;
            let began_within = (exchange.start_ns..exchange.end_ns).contains(&start_ns);
            let began_before = start_ns < exchange.start_ns
                && other.end_ns.is_some_and(|end| end > exchange.start_ns);
            key != exchange.key
                && pipeline != Some(key.connection)
                && (began_within || began_before)
        })
    }
}

impl Served {
    /// Whether it may have been going on at this time.
    fn may_be_active(&self, at_ns: u64) -> bool {
        self.started.start_ns <= at_ns && self.end_ns.is_none_or(|end| at_ns <= end)
    }

    /// Of one that may have been: whether it was, and the thread served nothing else.
    fn is_active(&self, at_ns: u64) -> bool {
        let answered_before = self.answered_ns.is_some_and(|answered| answered <= at_ns);
        !self.tangled && (self.end_ns.is_some() || !answered_before)
    }

    fn is_lost(&self, now_ns: u64) -> bool {
        self.end_ns.is_none() && now_ns.saturating_sub(self.started.start_ns) > LOST_AFTER_NS
    }
}

#[cfg(test)]
mod tests;

//! Which client exchanges were made while their thread served a request: those are a part of what the server did, and their spans are
//! children of its span.
//!
//! What can be seen is which thread moved a message's first byte, and when. In a program that gives each request a thread, that is enough. In one that
//! serves many requests on a thread (nginx, Node), or moves a request from thread to thread (tokio), it is not, and nothing says
//! beforehand which kind a program is. So [`Parents`] takes a request for a client exchange's parent only where all of this holds; where
//! any is in doubt there is no parent, as a wrong one is worse:
//!
//! - the client's request came without a `traceparent`: one that has it stays where the application put it;
//! - the same thread of the same process had received the server's request before, and had not finished its answer;
//! - that was the only one: when a thread receives a request while another is unanswered, neither of the two has children from then on;
//! - it was the only one of the whole process; or else the process is *proven* to give each request a thread;
//! - the process was never seen to serve two requests on a thread at a time, nor to answer one by another thread than had received it
//!   ([`Parents::multiplexes`] says it of one beforehand).
//!
//! **Proof.** While several threads served at a time, [`PROOF`] requests were each answered by the thread that had received them, and by one that had waited for
//! what it had asked for. Event loops send for each other: so it counts against that, many times over, when a thread that serves none sends a request, and when
//! one answers with a request of its own unanswered; a program with threads does so now and then (to report metrics; at a time-out). It goes for HTTP/1
//! alone: many threads share an HTTP/2 connection, and who moves its bytes says little.
//!
//! **Goroutines.** In a Go program it is seen which goroutine makes a call, and for which one its HTTP client sends a request, so that goroutines take
//! the place of threads. Nothing has to be proven there: who asks waits for the answer and does nothing else. Only the goroutine that has received a request has
//! children, and none that it starts; and not over HTTP/2, where each call has goroutines of its own on both ends.
//!
//! **What is passed on.** A proxy sends the `traceparent` that it received. Then it names the span of who asked the proxy, and not the proxy's own: it is
//! not the exchange's. Where one request alone had brought that context, the exchange is certain to be a part of it, on whatever thread.
//!
//! The server's exchange ends after those that it makes. Its span is known all the same when it has begun, as a span's id depends on
//! its exchange's key alone (`ids.rs`).
//!
//! **Order.** What happened first has to be told first, as the ring of records has it. Then an exchange whose answer was not told to have
//! begun had none when the client's exchange was made. One whose answer has begun may be over, though its end is told later (an answer's
//! end is often known only with the next record): between the two, it is nobody's parent. A client's exchange is judged when its answer begins,
//! as its thread may have gone on to many other requests until its end is known.
//!
//! **What was not seen.** A request that nobody told of may be what a client's exchange is a part of. So nothing that was received before records
//! were lost has children from then on, and for [`SETTLE_NS`] the process has to be proven.
//!
//! What is left in doubt: a program that serves one request at a time may make requests of its own accord meanwhile. Work that comes in
//! by other protocols than HTTP is not known. And event loops that never have two requests on one of them, and hardly ever none, can look like threads.

mod judge;
mod process;
pub mod runtime;
mod serving;

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lru::LruCache;

use self::{
    judge::{Asked, Found},
    process::Process,
    serving::{Served, Serving},
};
use crate::l7::exchange::{Exchange, ExchangeKey, Opened, Side, Started, Step, Thread};

/// Threads and goroutines that are remembered; one costs about 800 bytes.
const WORKERS: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Spans that requests named, of those received last.
const RECEIVED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Client exchanges that were judged and have not ended.
const JUDGED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// How many requests make a proof.
pub const PROOF: u8 = 128;
/// How many requests a thread that serves none and sends one counts against them.
const SERVES_NONE: u8 = 16;
/// The same of a thread that answers before what it had asked for has come.
const DID_NOT_WAIT: u8 = 64;
/// What was not seen to end is taken to go on for so long, at most.
pub const SETTLE_NS: u64 = 5_000_000_000;

/// Where a client exchange belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing is certain.
    Unknown,
    /// The application named the exchange's span itself.
    Own,
    /// It passed on the context that it had been given: the span that is named is the one of who asked it.
    Passed,
    /// It is a part of what this server's exchange did.
    Server(Box<Started>),
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident,)+) => {
        /// What became of the client exchanges: each is counted once.
        #[derive(Debug, Default)]
        pub struct ParentCounts { $($field: AtomicU64,)+ }

        impl ParentCounts {
            $($(#[$doc])* pub fn $field(&self) -> u64 {
                self.$field.load(Relaxed)
            })+
        }
    };
}

counts! {
    /// Those with a parent.
    parented,
    /// Those whose application sent a `traceparent` of its own.
    own,
    /// Those whose application passed on the `traceparent` that it had received, and that are not certain to be a part of one request.
    passed,
    /// Those whose thread served no request.
    alone,
    /// Those whose thread served a request, which is not certain to be what they are a part of.
    ambiguous,
}

/// Who serves a request: a thread, or in a Go program a goroutine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Worker {
    tgid: u32,
    /// Its id, or the goroutine's address, 0 where that is not known.
    number: u64,
}

/// The requests that threads serve.
pub struct Parents {
    workers: LruCache<Worker, Serving>,
    processes: LruCache<u32, Process>,
    /// Processes, and the spans that requests to them named: with the request, where it was one.
    received: LruCache<(u32, [u8; 8]), Option<Box<Started>>>,
    judged: LruCache<ExchangeKey, Found>,
    /// When records were last found missing.
    lost_ns: u64,
    /// The latest time that was told.
    now_ns: u64,
    counts: Arc<ParentCounts>,
}

impl Parents {
    /// To be told of what happens from now on: what began before is not known.
    pub fn new(now_ns: u64) -> Self {
        Self {
            workers: LruCache::new(WORKERS),
            processes: LruCache::new(PROCESSES),
            received: LruCache::new(RECEIVED),
            judged: LruCache::new(JUDGED),
            lost_ns: now_ns,
            now_ns,
            counts: Arc::default(),
        }
    }

    /// What became of the client exchanges so far; stays current.
    pub fn counts(&self) -> Arc<ParentCounts> {
        Arc::clone(&self.counts)
    }

    /// Whether anything was told of this process.
    pub fn knows(&self, tgid: u32) -> bool {
        self.processes.contains(&tgid)
    }

    /// This process serves several requests on a thread, or one on several: none of its exchanges gets a parent.
    pub fn multiplexes(&mut self, tgid: u32) {
        self.process(tgid).multiplexes = true;
    }

    /// This process is a Go program: each request has a goroutine.
    pub fn has_goroutines(&mut self, tgid: u32) {
        self.process(tgid).has_goroutines = true;
    }

    /// Records are missing that were made up to now.
    pub fn lost(&mut self, now_ns: u64) {
        self.lost_ns = now_ns;
    }

    /// Something happened to a request that is not over.
    pub fn open(&mut self, request: &Started, step: Step) {
        match (request.side, step) {
            (Side::Server, Step::Started) => self.started(request),
            (Side::Server, Step::Answered { thread, at_ns }) => {
                self.answered(request, thread, at_ns);
            }
            (Side::Server, Step::Dropped) => {
                self.abandoned(
                    self.worker(request.request.thread),
                    &request.key,
                    self.now_ns,
                );
            }
            (Side::Client, Step::Started) => {
                let worker = self.worker(request.request.thread);
                if !request.multiplexed
                    && let Some(serving) = self.workers.peek_mut(&worker)
                {
                    serving.asks(request.key);
                }
            }
            (Side::Client, Step::Answered { thread, .. }) => {
                let worker = self.worker(request.request.thread);
                self.asked(worker, &request.key);
                let Opened {
                    start_ns,
                    parent,
                    partial,
                    ..
                } = request.request;
                let found = self.find(&Asked {
                    worker,
                    start_ns,
                    parent,
                    partial,
                    multiplexed: request.multiplexed,
                    answered_by: Some(self.worker(thread)),
                });
                if matches!(found, Found::Parent(_) | Found::Doubt) {
                    self.judged.put(request.key, found);
                }
            }
            (Side::Client, Step::Dropped) => {
                self.asked(self.worker(request.request.thread), &request.key);
                self.judged.pop(&request.key);
            }
        }
    }

    /// An exchange has ended. For a client's, says where it belongs.
    pub fn ended(&mut self, exchange: &Exchange) -> Parent {
        if exchange.side == Side::Server {
            self.server_ended(exchange);
            return Parent::Unknown;
        }
        let worker = self.worker(exchange.thread);
        self.asked(worker, &exchange.key);
        let judged = self.judged.pop(&exchange.key);
        let mut found = judged.unwrap_or_else(|| {
            self.find(&Asked {
                worker,
                start_ns: exchange.start_ns,
                parent: exchange.parent,
                partial: false,
                multiplexed: exchange.version == "2",
                answered_by: None,
            })
        });
        if matches!(found, Found::Parent(_)) && self.is_multiplexing(exchange.thread.tgid) {
            found = Found::Doubt;
        }
        let (count, parent) = match found {
            Found::Parent(started) => (&self.counts.parented, Parent::Server(started)),
            Found::Own => (&self.counts.own, Parent::Own),
            Found::Passed(Some(started)) => (&self.counts.parented, Parent::Server(started)),
            Found::Passed(None) => (&self.counts.passed, Parent::Passed),
            Found::Nothing => (&self.counts.alone, Parent::Unknown),
            Found::Doubt => (&self.counts.ambiguous, Parent::Unknown),
        };
        count.fetch_add(1, Relaxed);
        parent
    }

    fn started(&mut self, started: &Started) {
        let Opened {
            thread,
            start_ns,
            parent,
            ..
        } = started.request;
        self.now_ns = self.now_ns.max(start_ns);
        if let Some(parent) = parent {
            let of_span = self
                .received
                .get_or_insert_mut((thread.tgid, parent.span_id), || {
                    Some(Box::new(started.clone()))
                });
            if of_span
                .as_ref()
                .is_some_and(|other| other.key != started.key)
            {
                *of_span = None;
            }
        }
        let process = self.process(thread.tgid);
        // The first byte of a head may have been read by a goroutine that only waits for the connection's end (`connReader.backgroundRead`): who serves it
        // is known with the rest.
        if process.multiplexes || (process.has_goroutines && started.request.partial) {
            return;
        }
        let worker = self.worker(thread);
        self.make_room(worker);
        let serving = self.workers.get_or_insert_mut(worker, Serving::default);
        if let Some(served) = serving.find(&started.key) {
            // More of its head was read.
            served.started = started.clone();
            return;
        }
        let process = self
            .processes
            .get_or_insert_mut(thread.tgid, Process::default);
        // A thread that has one request at a time is done with the one before.
        process.ended(serving.expire(start_ns, process.is_proven()), start_ns);
        let tangled = serving.tangle();
        if tangled {
            process.doubted(u8::MAX);
        }
        serving.asking.clear();
        process.began(start_ns);
        process.ended(
            serving.push(Served::new(started.clone(), tangled)),
            start_ns,
        );
    }

    fn answered(&mut self, request: &Started, by: Thread, at_ns: u64) {
        self.now_ns = self.now_ns.max(at_ns);
        let worker = self.worker(request.request.thread);
        let by = self.worker(by);
        let Some(serving) = self.workers.peek_mut(&worker) else {
            return;
        };
        let asks = !serving.asking.is_empty();
        serving.asking.clear();
        let Some(served) = serving.find(&request.key) else {
            return;
        };
        served.answered_ns.get_or_insert(at_ns);
        let tangled = served.tangled;
        let process = self.process(worker.tgid);
        if request.multiplexed || process.has_goroutines {
            return;
        }
        if by != worker {
            process.multiplexes = true;
        } else if asks {
            process.doubted(DID_NOT_WAIT);
        } else if !tangled {
            process.kept_its_thread();
        }
    }

    /// What it had asked for came, or will not come.
    fn asked(&mut self, worker: Worker, key: &ExchangeKey) {
        if let Some(serving) = self.workers.peek_mut(&worker) {
            serving.asking.retain(|other| other != key);
        }
    }

    /// What becomes of a request that `worker` had received will not be known: it may be worked on for a while.
    fn abandoned(&mut self, worker: Worker, key: &ExchangeKey, at_ns: u64) {
        if let Some(serving) = self.workers.peek_mut(&worker)
            && let Some(served) = serving.find(key)
            && served.end_ns.is_none()
        {
            served.end_ns = Some(at_ns.saturating_add(SETTLE_NS));
            served.abandoned = true;
            self.process(worker.tgid)
                .abandoned(1, at_ns.saturating_add(SETTLE_NS));
        }
    }

    fn server_ended(&mut self, exchange: &Exchange) {
        let worker = self.worker(exchange.thread);
        if self.is_multiplexing(worker.tgid) {
            return;
        }
        if exchange.status.is_err() {
            // When its thread gave it up is not known: only when the connection ended.
            self.abandoned(worker, &exchange.key, exchange.end_ns);
            return;
        }
        self.make_room(worker);
        let serving = self.workers.get_or_insert_mut(worker, Serving::default);
        let process = self
            .processes
            .get_or_insert_mut(worker.tgid, Process::default);
        let is_serial = exchange.version != "2";
        if is_serial {
            // HTTP/1 answers in order, so that the end of an earlier one of the connection was lost.
            process.ended(serving.drop_before(&exchange.key), exchange.end_ns);
        }
        match serving.find(&exchange.key) {
            Some(served) => {
                if served.end_ns.replace(exchange.end_ns).is_none() {
                    process.ended(1, exchange.end_ns);
                }
            }
            None => {
                let served = Served::ended(exchange);
                process.ended(serving.push(served), exchange.end_ns);
            }
        }
        // A pipeline of HTTP/1 can be worked through by a thread that has nothing else to do.
        let pipeline = is_serial.then_some(exchange.key.connection);
        if serving.overlaps(exchange, pipeline) {
            self.workers.pop(&worker);
            self.multiplexes(worker.tgid);
        }
    }

    /// Whether what a thread or goroutine of this process does may be for another request than the one that it received last: requests share threads, or leave the one
    /// that had received them. As far as is known.
    pub fn is_multiplexing(&self, tgid: u32) -> bool {
        self.processes
            .peek(&tgid)
            .is_some_and(|process| process.multiplexes)
    }

    fn process(&mut self, tgid: u32) -> &mut Process {
        self.processes.get_or_insert_mut(tgid, Process::default)
    }

    /// Who it is that a thread works as.
    fn worker(&self, thread: Thread) -> Worker {
        let process = self.processes.peek(&thread.tgid);
        let has_goroutines = process.is_some_and(|process| process.has_goroutines);
        Worker {
            tgid: thread.tgid,
            number: if has_goroutines {
                thread.goroutine
            } else {
                thread.tid.into()
            },
        }
    }

    /// Makes room for one more, if this is not among those that are held.
    fn make_room(&mut self, worker: Worker) {
        if self.workers.len() >= WORKERS.get()
            && !self.workers.contains(&worker)
            && let Some((evicted, serving)) = self.workers.pop_lru()
            && let Some(process) = self.processes.peek_mut(&evicted.tgid)
        {
            // It may go on serving.
            process.abandoned(serving.open(), self.now_ns.saturating_add(SETTLE_NS));
        }
    }
}

#[cfg(test)]
mod tests;

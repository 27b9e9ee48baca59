//! Records of the `MESSAGES` ring to exchanges.
//!
//! A connection's messages alternate in direction and are numbered without a gap, so that this much is certain: which
//! message answers which, which record is missing, and (by the parity of the numbers) how many requests were in the
//! records that are. What is not certain makes no exchange: it is counted in [`Counts`] under its reason.
//!
//! **When an exchange ends.** At once, where the response's framing says that its first record held it whole (most do).
//! Else with the next record of the connection, which carries the response's totals. Else, on a connection that has
//! gone quiet, by [`Decoder::poll_idle`], which asks the kernel for the totals: a response that has all of its
//! `Content-Length` is done, a chunked one is when nothing was added for a second, and one that lasts until the close
//! waits for the close. In each case `end_ns` is the time of the response's last I/O call, never the time of the look.
//!
//! **Connections from before.** Nobody knows how many requests were under way on them. One that takes turns is exact from its next message on. On one that pipelines, each answer would
//! go to the wrong request: there, exchanges are handed on only when the answer's message is known to hold nothing else, and once two requests or two answers follow each other, nothing is
//! until the connection was silent behind an answer for [`SILENCE_NS`]. The same is true of a pipeline of which records are missing.

mod connection;
mod out;
mod pieces;

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc};

use fathom_abi::{
    ConnectionId, Role,
    message::{ConnectionState, Direction, MessageEvent, MessageKind},
};
use lru::LruCache;

pub use self::out::Listener;
use self::{
    connection::{Connection, Idle},
    out::Out,
    pieces::Pieces,
};
use crate::{
    l7::{
        counts::{Counts, ExchangeOutcome, RecordOutcome},
        record::Record,
    },
    net::{Existing, wire::addresses},
};

/// A message that has been open for this long is looked up.
const LOOK_AFTER_NS: u64 = 100_000_000;
/// After as many looks in vain, a connection is looked up more rarely.
const EAGER_LOOKS: u8 = 10;
/// How long between two such looks.
const LOOK_RARELY_NS: u64 = 1_000_000_000;

/// A connection on which an answer came last and nothing for so long after it has no request under way.
const SILENCE_NS: u64 = 1_000_000_000;

/// Ended connections that are kept for a moment, at most.
const MAX_ENDED: usize = 1024;

/// What the decoder may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections. One costs about 200 bytes, and 300 more while an exchange is open.
    pub connections: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: const { NonZeroUsize::new(16_384).unwrap() },
        }
    }
}

/// A connection, by the gear that it is in.
enum Link {
    Turns(Connection),
    Pieces(Box<Pieces>),
}

impl Link {
    fn drop_open<E: Listener>(self, reason: ExchangeOutcome, out: &mut Out<'_, E>) {
        match self {
            Self::Turns(connection) => connection.drop_open(reason, out),
            Self::Pieces(pieces) => pieces.drop_open(reason, out),
        }
    }
}

/// All connections that speak HTTP, and the exchanges that are open on them.
pub struct Decoder {
    connections: LruCache<ConnectionId, Link>,
    limit: usize,
    /// Connections to look up, oldest first: at most one entry for each connection.
    soon: VecDeque<Look>,
    /// The same, for those that were looked up in vain many times.
    rarely: VecDeque<Look>,
    /// Connections that ended with a request unanswered, by sock; see [`Decoder::hold`].
    ended: LruCache<u64, Connection>,
    counts: Arc<Counts>,
    /// Connections were dropped for want of room: one that seems new may be an old one.
    evicted: bool,
    /// Connections whose bytes travel for nothing; see [`Decoder::take_given_up`].
    given_up: Vec<ConnectionId>,
    /// Connections that are over, and whose end is not told by the kernel; see [`Decoder::take_over`].
    over: Vec<ConnectionId>,
    /// Connections that were open before.
    existing: Arc<Existing>,
}

#[derive(Clone, Copy)]
struct Look {
    since_ns: u64,
    id: ConnectionId,
}

impl Decoder {
    /// A decoder that knows of no connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            connections: LruCache::unbounded(),
            limit: limits.connections.get(),
            soon: VecDeque::new(),
            rarely: VecDeque::new(),
            ended: LruCache::unbounded(),
            counts: Arc::default(),
            evicted: false,
            given_up: Vec::new(),
            over: Vec::new(),
            existing: Arc::default(),
        }
    }

    /// The same, that knows of the connections which were open before.
    pub fn with_existing(mut self, existing: Arc<Existing>) -> Self {
        self.existing = existing;
        self
    }

    /// What came of the records and exchanges so far; stays current.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// How many connections are held.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Takes one record, and says what it tells, the exchanges that it completes among it.
    pub fn record(&mut self, bytes: &[u8], listener: &mut impl Listener) {
        let Some(mut record) = Record::decode(bytes) else {
            self.counts.record(RecordOutcome::Malformed);
            return;
        };
        if record.event.role == Role::UNKNOWN {
            record.event.role = listener.role(record.event.id);
        }
        let counts = Arc::clone(&self.counts);
        let mut out = Out {
            counts: &counts,
            listener,
        };
        let outcome = match record.event.kind {
            MessageKind::HEAD => self.with(&record, &mut out, Connection::head),
            MessageKind::MORE => self.with(&record, &mut out, Connection::more),
            MessageKind::AHEAD => self.with(&record, &mut out, Connection::ahead),
            MessageKind::OVERTAKEN => self.with(&record, &mut out, Connection::overtaken),
            MessageKind::PIECE => self.piece(&record, &mut out),
            MessageKind::TRAVELS => self.travels(&record, &mut out),
            MessageKind::END => match self.connections.pop(&record.event.id) {
                Some(Link::Pieces(pieces)) => pieces.end(&record, &mut out),
                Some(Link::Turns(mut connection)) => {
                    let outcome = connection.end(&record, &mut out);
                    if connection.awaits_answer() {
                        self.hold(connection, &record, &mut out);
                    } else {
                        connection.finish_ended(&mut out);
                    }
                    outcome
                }
                None => {
                    // Its messages' records are missing, all of them.
                    Connection::new(&record, self.evicted).end(&record, &mut out);
                    RecordOutcome::Unknown
                }
            },
            _ => RecordOutcome::Malformed,
        };
        counts.record(outcome);
    }

    /// Connections whose bytes travel though nothing can be made of them any more, since the last call: the caller may
    /// tell the kernel.
    pub fn take_given_up(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.given_up)
    }

    /// Connections that were over when their process took what was left of them, and of which no more is awaited, since the last call: the kernel may forget
    /// what it knows of them.
    pub fn take_over(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.over)
    }

    /// Makes room for one more connection, if `id` is not among those that are held.
    fn make_room<E: Listener>(&mut self, id: ConnectionId, out: &mut Out<'_, E>) {
        if self.connections.len() >= self.limit && !self.connections.contains(&id) {
            while self.connections.len() >= self.limit {
                if let Some((_, link)) = self.connections.pop_lru() {
                    self.evicted = true;
                    link.drop_open(ExchangeOutcome::Evicted, out);
                }
            }
        }
    }

    /// Gives a record to its connection, which is made if need be.
    fn with<'a, E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'a, E>,
        take: impl FnOnce(&mut Connection, &Record<'_>, &mut Out<'a, E>) -> RecordOutcome,
    ) -> RecordOutcome {
        let id = record.event.id;
        self.make_room(id, out);
        let resumed = self.resume(record, out);
        let evicted = self.evicted;
        let link = self.connections.get_or_insert_mut(id, || {
            Link::Turns(resumed.unwrap_or_else(|| Connection::new(record, evicted)))
        });
        let Link::Turns(connection) = link else {
            // A connection whose bytes travel stays one.
            return RecordOutcome::OutOfOrder;
        };
        let outcome = if connection.waits(record, out) {
            RecordOutcome::Delivered
        } else {
            take(connection, record, out)
        };
        let is_watched = connection.is_open() || connection.is_over();
        if is_watched && !std::mem::replace(&mut connection.queued, true) {
            self.soon.push_back(Look {
                since_ns: record.event.at_ns,
                id,
            });
        }
        outcome
    }

    /// Gives a piece to its connection.
    fn piece<E: Listener>(&mut self, record: &Record<'_>, out: &mut Out<'_, E>) -> RecordOutcome {
        let event = &record.event;
        self.make_room(event.id, out);
        let evicted = self.evicted;
        let existing = &self.existing;
        let link = self.connections.get_or_insert_mut(event.id, || {
            let requests = connection::requests_of(event.role);
            let mut pieces = Pieces::starting(event, requests);
            pieces.believe(believed(existing, event));
            if event.message != 1 {
                // Records are missing, or the connection was dropped: where it stands can't be known.
                pieces.lost(out);
            }
            Link::Pieces(Box::new(pieces))
        });
        if let Link::Turns(connection) = link {
            // The record that told of the change is missing.
            let mut pieces = Pieces::starting(event, connection.requests());
            pieces.lost(out);
            let before = std::mem::replace(link, Link::Pieces(Box::new(pieces)));
            let reason = if evicted {
                ExchangeOutcome::Evicted
            } else {
                ExchangeOutcome::RecordLost
            };
            before.drop_open(reason, out);
        }
        let Link::Pieces(pieces) = link else {
            return RecordOutcome::OutOfOrder;
        };
        let was_given_up = pieces.is_given_up() && event.message != 1;
        let outcome = pieces.piece(record, out);
        if pieces.is_given_up() && !was_given_up {
            self.given_up.push(event.id);
        }
        outcome
    }

    /// A connection goes over to pieces.
    fn travels<E: Listener>(&mut self, record: &Record<'_>, out: &mut Out<'_, E>) -> RecordOutcome {
        let id = record.event.id;
        self.make_room(id, out);
        let connection = match self.connections.pop(&id) {
            Some(Link::Turns(connection)) => connection,
            Some(Link::Pieces(pieces)) => {
                self.connections.put(id, Link::Pieces(pieces));
                return RecordOutcome::OutOfOrder;
            }
            None => Connection::new(record, self.evicted),
        };
        let (outcome, mut pieces) = connection.travels(record, out);
        pieces.believe(believed(&self.existing, &record.event));
        self.connections.put(id, Link::Pieces(Box::new(pieces)));
        outcome
    }

    /// Keeps an ended connection with an unanswered request for a moment: the answer may be under way. The kernel closes a sock within
    /// the very call that sends to a peer who has gone, and before the last bytes are read where both ends had finished; that
    /// call's record comes after the end's.
    fn hold<E: Listener>(
        &mut self,
        connection: Connection,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) {
        while self.ended.len() >= MAX_ENDED
            && let Some((_, mut connection)) = self.ended.pop_lru()
        {
            connection.finish_ended(out);
        }
        if let Some(mut other) = self.ended.put(record.event.id.sock, connection) {
            other.finish_ended(out);
        }
    }

    /// The ended connection that this record belongs to, as the kernel knows it under a new name.
    fn resume<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> Option<Connection> {
        if self.ended.is_empty() || self.connections.contains(&record.event.id) {
            return None;
        }
        let mut connection = self.ended.pop(&record.event.id.sock)?;
        if connection.is_resumed_by(record) {
            return Some(connection);
        }
        connection.finish_ended(out);
        None
    }

    /// Asks the kernel about messages that have been open for a while. Call it every 100 ms or so, after the ring has been
    /// drained; `lookup` reads the `CONNECTIONS` map by the sock's address.
    pub fn poll_idle(
        &mut self,
        now_ns: u64,
        lookup: &mut dyn FnMut(u64) -> Option<ConnectionState>,
        listener: &mut impl Listener,
    ) {
        let counts = Arc::clone(&self.counts);
        let mut out = Out {
            counts: &counts,
            listener,
        };
        while let Some((_, connection)) = self.ended.peek_lru()
            && connection.touched_ns.saturating_add(LOOK_AFTER_NS) <= now_ns
            && let Some((_, mut connection)) = self.ended.pop_lru()
        {
            connection.finish_ended(&mut out);
        }
        for (rare, after_ns) in [(false, LOOK_AFTER_NS), (true, LOOK_RARELY_NS)] {
            loop {
                let queue = if rare {
                    &mut self.rarely
                } else {
                    &mut self.soon
                };
                let Some(look) =
                    queue.pop_front_if(|look| look.since_ns.saturating_add(after_ns) <= now_ns)
                else {
                    break;
                };
                let Some(Link::Turns(connection)) = self.connections.peek_mut(&look.id) else {
                    continue;
                };
                if connection.is_over() {
                    self.connections.pop(&look.id);
                    self.over.push(look.id);
                    continue;
                }
                if !connection.is_open() {
                    connection.queued = false;
                    continue;
                }
                if connection.touched_ns.saturating_add(LOOK_AFTER_NS) <= now_ns {
                    let state =
                        lookup(look.id.sock).filter(|state| state.born_ns == look.id.born_ns);
                    match connection.idle(state.as_ref(), now_ns, &mut out) {
                        Idle::Open => {}
                        Idle::Finished if !connection.is_over() => {
                            connection.queued = false;
                            continue;
                        }
                        Idle::Finished | Idle::Gone => {
                            self.connections.pop(&look.id);
                            self.over.push(look.id);
                            continue;
                        }
                    }
                }
                let again = Look {
                    since_ns: now_ns,
                    id: look.id,
                };
                if connection.looks < EAGER_LOOKS {
                    self.soon.push_back(again);
                } else {
                    self.rarely.push_back(again);
                }
            }
        }
    }
}

/// The direction of requests on a connection that was open before, as far as its ports tell.
fn believed(existing: &Existing, event: &MessageEvent) -> Direction {
    if event.role != Role::UNKNOWN {
        return Direction::NONE;
    }
    let (local, remote) = addresses(&event.endpoints);
    connection::requests_of(existing.role(local, remote))
}

#[cfg(test)]
mod tests;

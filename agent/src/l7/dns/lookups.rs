//! Which answer belongs to which query, and which query stays without one.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lru::LruCache;

use super::{Address, Code, Message, Question, name::is_host, record::Datagram};
use crate::net::Names;

/// For how long a query that nobody answers is waited for after it was sent last: a second more than the longest wait between two attempts of the
/// resolvers in use (glibc's and musl's 5 s), so that attempts on one socket are one lookup.
pub const TIMEOUT_NS: u64 = 6_000_000_000;

/// Questions under one number on one socket that are waited for: clients give each another number, or ask for A and AAAA under the same.
const QUESTIONS: usize = 4;

/// Servers that are remembered.
const SERVERS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Answered(Code),
    /// With none in time.
    TimedOut,
}

/// A question to a server, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The process (initial pid namespace).
    pub tgid: u32,
    /// The process's name when it asked, padded with zeros.
    pub comm: [u8; 16],
    /// The server.
    pub server: SocketAddr,
    /// What was asked.
    pub question: Question,
    /// When it was sent first: `CLOCK_MONOTONIC`, nanoseconds.
    pub sent_ns: u64,
    /// From then on to the answer, or to when it was waited for no longer.
    pub duration_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// How often it was sent.
    pub attempts: u32,
    /// Whether the client is to ask again, over TCP, which is not seen.
    pub is_truncated: bool,
    /// The addresses that the answer gives.
    pub addresses: Vec<Address>,
}

impl Lookup {
    /// Notes what its addresses are called.
    pub fn name(&self, names: &Names) {
        if is_host(&self.question.name) {
            for address in &self.addresses {
                names.learn(
                    self.tgid,
                    address.ip,
                    &self.question.name,
                    address.ttl,
                    self.ended_ns(),
                );
            }
        }
    }

    /// The end of it: when the answer came, or when it was waited for no longer.
    pub fn ended_ns(&self) -> u64 {
        self.sent_ns.saturating_add(self.duration_ns)
    }
}

/// Joins answers with queries.
pub struct Lookups {
    /// By socket and number, the one that was sent last at the front.
    open: LruCache<(u64, u16), Vec<Open>>,
    /// Those whose answers were such.
    servers: LruCache<IpAddr, ()>,
    counts: Arc<DnsCounts>,
}

/// A query without an answer so far.
struct Open {
    tgid: u32,
    comm: [u8; 16],
    server: SocketAddr,
    question: Question,
    first_ns: u64,
    last_ns: u64,
    attempts: u32,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident,)+) => {
        /// What came of the records and of the queries. Each record is in one of the counts from `queries` to `malformed`, and each of
        /// `queries` in one of `answered`, `timed_out` and `forgotten` once it is no longer waited for.
        #[derive(Debug, Default)]
        pub struct DnsCounts { $($field: AtomicU64,)+ }

        impl DnsCounts {
            $($(#[$doc])* pub fn $field(&self) -> u64 { self.$field.load(Relaxed) })+
        }
    };
}

counts! {
    /// Queries, each once.
    queries,
    /// Queries that were sent again.
    repeated,
    /// Answers to them.
    answers,
    /// Answers that nobody has asked for, or too long ago.
    unasked,
    /// Queries that came in and answers that went out: this node's end is the server.
    served,
    /// Records that are no message, or none that can be read.
    malformed,
    /// Queries with an answer.
    answered,
    /// Queries without one in time.
    timed_out,
    /// Queries that were forgotten for want of room.
    forgotten,
}

impl Lookups {
    /// Remembers so many sockets and numbers at a time.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            open: LruCache::new(capacity),
            servers: LruCache::new(SERVERS),
            counts: Arc::default(),
        }
    }

    /// What came of the records so far; stays current.
    pub fn counts(&self) -> Arc<DnsCounts> {
        Arc::clone(&self.counts)
    }

    /// How many queries are waited for.
    pub fn open(&self) -> usize {
        self.open.iter().map(|(_, open)| open.len()).sum()
    }

    /// Whether what has this address was seen to answer.
    pub fn is_server(&self, ip: IpAddr) -> bool {
        self.servers.contains(&ip)
    }

    /// Takes a record of the ring; hands a lookup on whose answer it is.
    pub fn record(&mut self, bytes: &[u8], emit: &mut impl FnMut(Lookup)) {
        let read = Datagram::decode(bytes)
            .and_then(|datagram| Some((datagram, Message::parse(datagram.payload).ok()?)));
        let Some((datagram, message)) = read else {
            add(&self.counts.malformed, 1);
            return;
        };
        if datagram.is_sent == message.is_answer {
            add(&self.counts.served, 1);
        } else if datagram.is_sent {
            self.query(&datagram, message);
        } else {
            self.answer(&datagram, message, emit);
        }
    }

    fn query(&mut self, datagram: &Datagram, message: Message) {
        let Some(question) = message.question else {
            add(&self.counts.malformed, 1);
            return;
        };
        let key = (datagram.sock, message.id);
        if let Some(open) = self.open.get_mut(&key) {
            let same = open
                .iter_mut()
                .find(|open| open.question == question && open.tgid == datagram.tgid);
            if let Some(open) = same {
                open.last_ns = datagram.at_ns;
                open.attempts = open.attempts.saturating_add(1);
                add(&self.counts.repeated, 1);
                return;
            }
        }
        add(&self.counts.queries, 1);
        let query = Open {
            tgid: datagram.tgid,
            comm: datagram.comm,
            server: datagram.server,
            question,
            first_ns: datagram.at_ns,
            last_ns: datagram.at_ns,
            attempts: 1,
        };
        if let Some(open) = self.open.get_mut(&key) {
            if open.len() == QUESTIONS {
                open.remove(0);
                add(&self.counts.forgotten, 1);
            }
            open.push(query);
        } else if let Some((_, gone)) = self.open.push(key, vec![query]) {
            add(&self.counts.forgotten, gone.len() as u64);
        }
    }

    fn answer(&mut self, datagram: &Datagram, message: Message, emit: &mut impl FnMut(Lookup)) {
        let key = (datagram.sock, message.id);
        // An answer is no reason to wait longer for others: the order stays.
        let asked = self.open.peek_mut(&key).and_then(|open| {
            let number = open.iter().position(|open| {
                message
                    .question
                    .as_ref()
                    .is_none_or(|question| *question == open.question)
            })?;
            let asked = open.remove(number);
            Some((asked, open.is_empty()))
        });
        let Some((asked, is_last)) = asked else {
            add(&self.counts.unasked, 1);
            return;
        };
        if is_last {
            self.open.pop(&key);
        }
        self.servers.put(asked.server.ip(), ());
        add(&self.counts.answers, 1);
        add(&self.counts.answered, 1);
        emit(Lookup {
            duration_ns: datagram.at_ns.saturating_sub(asked.first_ns),
            is_truncated: message.is_truncated,
            addresses: message.addresses,
            ..asked.end(Outcome::Answered(message.code))
        });
    }

    /// Hands on the lookups that are waited for no longer.
    pub fn expire(&mut self, now_ns: u64, emit: &mut impl FnMut(Lookup)) {
        let is_over = |open: &[Open]| {
            let last = open.iter().map(|open| open.last_ns).max();
            last.is_none_or(|last| last.saturating_add(TIMEOUT_NS) <= now_ns)
        };
        while let Some((_, open)) = self.open.peek_lru()
            && is_over(open)
        {
            for asked in self
                .open
                .pop_lru()
                .map(|(_, open)| open)
                .unwrap_or_default()
            {
                add(&self.counts.timed_out, 1);
                let waited = asked.last_ns.saturating_sub(asked.first_ns);
                emit(Lookup {
                    duration_ns: waited.saturating_add(TIMEOUT_NS),
                    ..asked.end(Outcome::TimedOut)
                });
            }
        }
    }
}

impl Open {
    fn end(self, outcome: Outcome) -> Lookup {
        Lookup {
            tgid: self.tgid,
            comm: self.comm,
            server: self.server,
            question: self.question,
            sent_ns: self.first_ns,
            duration_ns: 0,
            outcome,
            attempts: self.attempts,
            is_truncated: false,
            addresses: Vec::new(),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}

#[cfg(test)]
mod tests;

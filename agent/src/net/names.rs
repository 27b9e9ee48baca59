//! What addresses are called: the names that the node's own processes asked for, from the answers that they got. Nothing is looked up.
//!
//! A process connects to an address soon after it was told it, or takes it from a cache of its own later. So a name holds for its TTL, but for
//! [`FLOOR_NS`] at least: answers that name a service's members often have a TTL of a few seconds or none, and Java keeps addresses for 30 s
//! whatever theirs says. Later than that an address has no name, rather than one that it may have lost.

use std::{
    iter,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

/// For how long a name holds at least.
pub const FLOOR_NS: u64 = 30_000_000_000;

/// For how long it holds at most: a day.
pub const CEILING_NS: u64 = 86_400_000_000_000;

/// What an entry takes beside its name: key, value, and the cache's links and table.
const ENTRY: usize = size_of::<Key>() + size_of::<Entry>() + 48;

/// The process that stands for all of the node: no process has this number.
const NODE: u32 = 0;

type Key = (u32, IpAddr);

/// What [`Names`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Addresses, by process and for the node.
    pub entries: NonZeroUsize,
    /// Bytes of all of them.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: const { NonZeroUsize::new(8192).unwrap() },
            bytes: 2 << 20,
        }
    }
}

/// Addresses' names.
pub struct Names {
    limits: Limits,
    inner: Mutex<Inner>,
}

struct Inner {
    names: LruCache<Key, Entry>,
    bytes: usize,
    counts: NameCounts,
}

#[derive(Clone)]
struct Entry {
    now: Span,
    /// What the address was called until the answer that replaced it: a connection from before that answer may still be on its way here.
    before: Option<Span>,
}

/// A name, and for how long an address has it.
#[derive(Clone)]
struct Span {
    name: Arc<str>,
    since_ns: u64,
    until_ns: u64,
}

/// What came of the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCounts {
    /// Addresses of answers that were taken in.
    pub learned: u64,
    /// Entries that made room for others.
    pub evicted: u64,
}

impl Names {
    /// No names yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: Mutex::new(Inner {
                names: LruCache::new(limits.entries),
                bytes: 0,
                counts: NameCounts::default(),
            }),
        }
    }

    /// A process was told at `at_ns` that `name` has this address, for `ttl` seconds. A later answer for the same address replaces the name from then on; one
    /// that says the same while it holds lengthens it: records of connections from before that answer may still be on their way.
    pub fn learn(&self, tgid: u32, ip: IpAddr, name: &Arc<str>, ttl: u32, at_ns: u64) {
        let holds_ns = (u64::from(ttl) * 1_000_000_000).clamp(FLOOR_NS, CEILING_NS);
        let told = Span {
            name: Arc::clone(name),
            since_ns: at_ns,
            until_ns: at_ns.saturating_add(holds_ns),
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.counts.learned += 1;
        for key in [(tgid, ip), (NODE, ip)] {
            let entry = match inner.names.peek(&key) {
                Some(known) => known.clone().told(told.clone()),
                None => Entry {
                    now: told.clone(),
                    before: None,
                },
            };
            inner.put(key, entry, self.limits.bytes);
        }
    }

    /// What an address was called at `at_ns` (`CLOCK_MONOTONIC`, nanoseconds): by this process, else by any process of the node, as resolvers that are
    /// daemons ask for others.
    pub fn name(&self, tgid: u32, ip: IpAddr, at_ns: u64) -> Option<Arc<str>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        [(tgid, ip), (NODE, ip)].iter().find_map(|key| {
            let span = inner.names.get(key)?.at(at_ns)?;
            Some(Arc::clone(&span.name))
        })
    }

    /// What came of the names so far.
    pub fn counts(&self) -> NameCounts {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.counts
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes
    }
}

impl Entry {
    /// What is known behind one more answer.
    fn told(self, told: Span) -> Self {
        let Self { now, before } = self;
        if !now.holds(told.since_ns) {
            return Self {
                now: told,
                before: None,
            };
        }
        if now.name == told.name {
            let until_ns = now.until_ns.max(told.until_ns);
            return Self {
                now: Span { until_ns, ..now },
                before,
            };
        }
        Self {
            before: Some(Span {
                until_ns: told.since_ns,
                ..now
            }),
            now: told,
        }
    }

    /// The name at a time.
    fn at(&self, at_ns: u64) -> Option<&Span> {
        iter::once(&self.now)
            .chain(&self.before)
            .find(|span| span.holds(at_ns))
    }
}

impl Span {
    fn holds(&self, at_ns: u64) -> bool {
        (self.since_ns..self.until_ns).contains(&at_ns)
    }
}

impl Inner {
    fn put(&mut self, key: Key, entry: Entry, limit: usize) {
        self.bytes += cost(&entry);
        // What comes back is the entry that was there, or the oldest.
        if let Some((gone, entry)) = self.names.push(key, entry) {
            self.bytes -= cost(&entry);
            self.counts.evicted += u64::from(gone != key);
        }
        while self.bytes > limit
            && let Some((_, entry)) = self.names.pop_lru()
        {
            self.bytes -= cost(&entry);
            self.counts.evicted += 1;
        }
    }
}

fn cost(entry: &Entry) -> usize {
    let before = entry.before.as_ref().map_or(0, |span| span.name.len());
    ENTRY + entry.now.name.len() + before
}

#[cfg(test)]
mod tests;

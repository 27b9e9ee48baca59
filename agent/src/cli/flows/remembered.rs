//! The other ends of open connections: what is known of one stays known until the connection's end.

use std::num::NonZeroUsize;

use fathom_abi::ConnectionId;
use lru::LruCache;

use crate::{
    identity::{FarEnd, Peer},
    net::Flow,
};

/// Connections whose other ends are remembered, at some 150 bytes each; the least recently reported go first.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();

/// Those of which more is known than where they are. A process that looks up another name of the same address, or a translation that the kernel has
/// forgotten, changes nothing about a connection that is open.
pub(super) struct Remembered(LruCache<ConnectionId, FarEnd>);

impl Default for Remembered {
    fn default() -> Self {
        Self(LruCache::new(CONNECTIONS))
    }
}

impl Remembered {
    /// The other end of a connection by the best that was said of it; `now` is what is said with this flow.
    pub(super) fn best(&mut self, flow: &Flow, now: FarEnd) -> FarEnd {
        let best = match self.0.get(&flow.id) {
            Some(known) => better(known, now),
            None => now,
        };
        if flow.change.is_end() {
            self.0.pop(&flow.id);
        } else if best.destination.is_some() || !matches!(best.peer, Peer::Class(_)) {
            self.0.put(flow.id, best.clone());
        }
        best
    }
}

fn better(known: &FarEnd, now: FarEnd) -> FarEnd {
    let peer = if now.peer.detail() > known.peer.detail() {
        now.peer
    } else {
        known.peer.clone()
    };
    FarEnd {
        peer,
        destination: now.destination.or(known.destination),
    }
}

#[cfg(test)]
mod tests;

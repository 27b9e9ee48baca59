//! What each listener has dropped since the last sweep.

use std::collections::{HashMap, HashSet};

use super::{
    MAX_LISTENERS,
    list::{Found, List},
};

/// The counters of the last sweep, by cookie.
#[derive(Debug, Default)]
pub(super) struct Drops {
    known: HashMap<u64, Known>,
    /// Namespaces whose list was whole in the last sweep: a listener that is new in one was made since.
    whole: HashSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    namespace: u64,
    /// As the kernel counts, modulo 2^32.
    drops: u32,
    since: u32,
    listed: bool,
}

impl Drops {
    /// Takes the next sweep's counters. Listeners that are gone are forgotten; those of a namespace whose list broke off may be there.
    pub(super) fn update(&mut self, list: &List) {
        for known in self.known.values_mut() {
            known.listed = false;
        }
        for found in &list.found {
            self.take(found);
        }
        let all = list.visited.left_out == 0 && list.broken == 0 && list.overflowed == 0;
        // Where no list is ever whole, what is gone can't be told from what was not listed.
        let all = all || self.known.len() > 2 * MAX_LISTENERS;
        self.known
            .retain(|_, known| known.listed || !all && !list.whole.contains(&known.namespace));
        self.whole.clone_from(&list.whole);
    }

    fn take(&mut self, found: &Found) {
        let Some(drops) = found.drops else {
            return;
        };
        let before = match self.known.get(&found.socket.cookie) {
            Some(known) => known.drops,
            None if self.whole.contains(&found.namespace) => 0,
            // What it dropped before it was first seen may be long ago.
            None => drops,
        };
        let known = Known {
            namespace: found.namespace,
            drops,
            since: drops.wrapping_sub(before),
            listed: true,
        };
        self.known.insert(found.socket.cookie, known);
    }

    /// How much it was, as of the last sweep.
    pub(super) fn since(&self, cookie: u64) -> u32 {
        self.known.get(&cookie).map_or(0, |known| known.since)
    }
}

#[cfg(test)]
mod tests;

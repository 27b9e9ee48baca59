//! The agent's own outgoing connections, so that their accepting ends are known where they are on this machine, too.

use fathom_abi::Endpoints;

use crate::maps::{self, OWN_OPEN, OWN_PORTS, PortPair};

/// Notes one that is established. (A full table: the accepting end is then reported as any other, which is no loss.)
#[inline(always)]
pub fn insert(ends: &Endpoints) {
    if OWN_PORTS.insert(seen_from_there(ends), 1, 0).is_ok() {
        add(1);
    }
}

/// It has ended.
#[inline(always)]
pub fn remove(ends: &Endpoints) {
    if OWN_PORTS.remove(seen_from_there(ends)).is_ok() {
        add(u64::MAX);
    }
}

/// Whether these are the two ends of one, as its accepting end has them.
#[inline(always)]
pub fn has(ends: &Endpoints) -> bool {
    let ports = PortPair {
        local: ends.local_port,
        remote: ends.remote_port,
    };
    // SAFETY: the map's own word.
    let is_none = OWN_OPEN
        .get_ptr(0)
        .is_none_or(|open| unsafe { open.read_volatile() } == 0);
    !is_none && OWN_PORTS.get_ptr(ports).is_some()
}

#[inline(always)]
fn seen_from_there(ends: &Endpoints) -> PortPair {
    PortPair {
        local: ends.remote_port,
        remote: ends.local_port,
    }
}

#[inline(always)]
fn add(count: u64) {
    if let Some(open) = OWN_OPEN.get_ptr_mut(0) {
        maps::add(open, count);
    }
}

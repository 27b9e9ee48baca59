//! What came of the look-ups, for `fathom.events`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What came of a look-up. Each has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The destination is another than it seems.
    Translated,
    /// It is what it seems.
    Plain,
    /// Conntrack has no such connection.
    NotFound,
    /// It was not asked: what was found for the destination a moment ago still holds.
    Cached,
    /// It was not asked: such a destination is never translated (loopback, multicast, no address).
    Local,
    /// It was not asked: look-ups had taken their share of the second.
    Limited,
    /// It was not asked: there is no conntrack here, or none that may be asked.
    Off,
    /// The kernel refused: `CAP_NET_ADMIN` is missing (EPERM).
    Denied,
    /// The kernel refused: it has no `nf_conntrack_netlink` (EINVAL, EOPNOTSUPP).
    Unsupported,
    /// The kernel refused with another errno, or the socket failed.
    Failed,
    /// The answer is missing: no memory or no room in the socket.
    Lost,
    /// The answer could not be read.
    Malformed,
}

impl Lookup {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Translated,
        Self::Plain,
        Self::NotFound,
        Self::Cached,
        Self::Local,
        Self::Limited,
        Self::Off,
        Self::Denied,
        Self::Unsupported,
        Self::Failed,
        Self::Lost,
        Self::Malformed,
    ];

    /// The value of the attribute `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::Plain => "plain",
            Self::NotFound => "not_found",
            Self::Cached => "cached",
            Self::Local => "local",
            Self::Limited => "limited",
            Self::Off => "off",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
        }
    }
}

/// The counts so far.
#[derive(Debug, Default)]
pub struct Counts {
    lookups: [AtomicU64; Lookup::ALL.len()],
    forgotten: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, lookup: Lookup) {
        self.lookups[lookup as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn add_forgotten(&self) {
        self.forgotten.fetch_add(1, Relaxed);
    }

    /// Look-ups of which this came.
    pub fn get(&self, lookup: Lookup) -> u64 {
        self.lookups[lookup as usize].load(Relaxed)
    }

    /// Destinations of which what was found was forgotten early, for want of room. They are no look-ups.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// Each with its name. They add up to the look-ups.
    pub fn each(&self, give: &mut dyn FnMut(&'static str, u64)) {
        for lookup in Lookup::ALL {
            give(lookup.name(), self.get(lookup));
        }
    }
}

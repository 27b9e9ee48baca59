//! Which flows have a record, and which share of them.

use crate::net::Filter;

/// A rule of the configuration's `flows.logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The flows that it is about.
    pub filter: Filter,
    /// The share of their connections that have records.
    pub share: Share,
}

/// A share of connections, from none to all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// From 0 to 1; `None` for any other number.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// Whether a connection with this hash belongs to it. One that belongs to a share belongs to all greater ones.
    pub fn takes(self, hash: u64) -> bool {
        // 53 bits are what an f64 holds exactly; the greatest is less than 1.
        ((hash >> 11) as f64) / ((1_u64 << 53) as f64) < self.0
    }
}

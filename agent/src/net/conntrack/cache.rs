//! What is known of destinations, so that not each connection to one that is what it seems is asked for.
//!
//! What is remembered is only that there is nothing to be found. A service has many backends: where a connection to it ended up is asked for each time.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;

use super::message::Protocol;

/// Destinations that are remembered: about half a megabyte.
const MAX_DESTINATIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// For how long a destination that was not translated is taken for one that is not.
const PLAIN: Duration = Duration::from_secs(30);

/// The same for one of which conntrack knew nothing: it may have been too late for that one connection.
const ABSENT: Duration = Duration::from_secs(5);

/// For how long a destination that was translated is asked for each time, whatever came of a single connection.
const TRANSLATED: Duration = Duration::from_secs(60);

/// What was found for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Its packets arrive elsewhere.
    Translated,
    /// They arrive where they were sent.
    Plain,
    /// There was no entry.
    Absent,
}

impl Finding {
    fn holds(self) -> Duration {
        match self {
            Self::Translated => TRANSLATED,
            Self::Plain => PLAIN,
            Self::Absent => ABSENT,
        }
    }
}

#[derive(Debug)]
pub(super) struct Cache(LruCache<(SocketAddr, Protocol), (Finding, Instant)>);

impl Default for Cache {
    fn default() -> Self {
        Self(LruCache::new(MAX_DESTINATIONS))
    }
}

impl Cache {
    /// What was found a short while ago, where it makes asking needless.
    pub(super) fn get(
        &mut self,
        destination: SocketAddr,
        protocol: Protocol,
        now: Instant,
    ) -> Option<Finding> {
        let &(finding, until) = self.0.get(&(destination, protocol))?;
        (finding != Finding::Translated && now < until).then_some(finding)
    }

    /// Notes what was found. Says whether another destination had to be forgotten for it.
    pub(super) fn put(
        &mut self,
        destination: SocketAddr,
        protocol: Protocol,
        finding: Finding,
        now: Instant,
    ) -> bool {
        let key = (destination, protocol);
        let known = self.0.peek(&key);
        if finding != Finding::Translated
            && known.is_some_and(|&(known, until)| known == Finding::Translated && now < until)
        {
            return false;
        }
        let is_full = known.is_none() && self.0.len() == self.0.cap().get();
        self.0.put(key, (finding, now + finding.holds()));
        is_full
    }
}

#[cfg(test)]
mod tests;

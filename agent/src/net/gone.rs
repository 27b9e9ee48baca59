//! Connections whose last record found the ring full. Nothing tells of their end any more, but that the kernel programs do not know them: they would be open for ever.

use fathom_abi::ConnectionId;

/// Intervals of reports in which connections are looked for behind a loss: a record is lost just before its connection is forgotten, and perhaps between the
/// two an interval begins.
const ROUNDS: u8 = 2;

/// The search for them, which goes with the reports of open connections. It costs a look at each connection, and is made only where records were lost.
#[derive(Debug, Default)]
pub struct Gone {
    lost: u64,
    rounds: u8,
    found: Vec<ConnectionId>,
}

impl Gone {
    /// An interval of reports begins, and so many records were lost since the start.
    pub fn begin(&mut self, lost: u64) {
        if lost != self.lost {
            self.lost = lost;
            self.rounds = ROUNDS;
        } else {
            self.rounds = self.rounds.saturating_sub(1);
        }
    }

    /// Looks for some of the connections that were open when the interval began.
    pub fn look(&mut self, ids: &[ConnectionId], is_known: impl Fn(ConnectionId) -> bool) {
        if self.is_due() {
            self.found
                .extend(ids.iter().copied().filter(|&id| !is_known(id)));
        }
    }

    /// Whether they are looked for in this interval.
    pub fn is_due(&self) -> bool {
        self.rounds > 0
    }

    /// Some that were not found where they were looked for in another way.
    pub fn add(&mut self, ids: Vec<ConnectionId>) {
        self.found.extend(ids);
    }

    /// Those that were not found, once. If the last record of one is not lost, it has its place in the ring: to be called when that was emptied behind the
    /// look, and of those only which are still open then have lost it.
    pub fn take(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: ConnectionId = ConnectionId {
        sock: 1,
        born_ns: 1,
    };
    const FORGOTTEN: ConnectionId = ConnectionId {
        sock: 2,
        born_ns: 1,
    };

    fn look(gone: &mut Gone) -> Vec<ConnectionId> {
        gone.look(&[KNOWN, FORGOTTEN], |id| id == KNOWN);
        gone.take()
    }

    #[test]
    fn connections_are_looked_for_in_two_intervals_behind_a_loss() {
        let mut gone = Gone::default();
        let mut interval = |lost| {
            gone.begin(lost);
            [look(&mut gone), look(&mut gone)].concat()
        };
        assert_eq!(interval(0), []);
        assert_eq!(interval(3), [FORGOTTEN; 2]);
        assert_eq!(interval(3), [FORGOTTEN; 2]);
        assert_eq!(interval(3), []);
        assert_eq!(interval(4), [FORGOTTEN; 2]);
    }
}

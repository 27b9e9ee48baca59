//! When which open connections are asked about: all of them in each interval, a few at a time.

use std::time::{Duration, Instant};

use fathom_abi::ConnectionId;

/// Into how many turns the connections of an interval are spread, so that no turn takes long.
const TURNS: usize = 50;

/// Connections that are asked about at a time, at most: their records find room in the smallest ring.
pub const AT_A_TIME: usize = 256;

/// How much sooner the next interval begins where room is scarce: what is asked about may go to rest, and make room.
const SOONER: u32 = 4;

/// The plan of the periodic reports.
#[derive(Debug)]
pub struct Reports {
    interval: Duration,
    begun: Instant,
    left: Vec<ConnectionId>,
    share: usize,
}

impl Reports {
    /// The first interval begins now.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            begun: Instant::now(),
            left: Vec::new(),
            share: 0,
        }
    }

    /// Those whose turn it is; `open` is asked for all that are open when an interval begins, which is sooner where room `is_scarce`. Until all had their turn no new
    /// interval begins. To be called some fifty times in an interval or more often.
    pub fn turn(
        &mut self,
        now: Instant,
        is_scarce: bool,
        open: impl FnOnce() -> Vec<ConnectionId>,
    ) -> Vec<ConnectionId> {
        if self.left.is_empty() {
            let sooner = if is_scarce { SOONER } else { 1 };
            if now.duration_since(self.begun) < self.interval / sooner {
                return Vec::new();
            }
            self.begun = now;
            self.left = open();
            let turns = TURNS / sooner as usize;
            self.share = self.left.len().div_ceil(turns).max(AT_A_TIME);
        }
        if self.left.len() <= self.share {
            return std::mem::take(&mut self.left);
        }
        self.left.split_off(self.left.len() - self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_asked_about_once_in_an_interval() {
        let interval = Duration::from_secs(10);
        let mut reports = Reports::new(interval);
        let begin = reports.begun;
        let ids: Vec<_> = (0..100_000)
            .map(|sock| ConnectionId { sock, born_ns: 1 })
            .collect();
        let mut asked = Vec::new();
        let early = reports.turn(begin, false, || panic!("the interval has not passed"));
        assert!(early.is_empty());
        for turn in 0..TURNS {
            let some = reports.turn(begin + interval, false, || ids.clone());
            assert_eq!(some.len(), 2000, "turn {turn}");
            asked.extend(some);
        }
        let early = reports.turn(begin + interval, false, || panic!("the next has not begun"));
        assert!(early.is_empty());
        let scarce = begin + interval + interval / 4;
        let early = reports.turn(scarce, false, || panic!("there is room"));
        assert!(early.is_empty());
        let some = reports.turn(scarce, true, || ids.clone());
        assert_eq!(some.len(), 100_000_usize.div_ceil(TURNS / 4));
        asked.sort_unstable_by_key(|id| id.sock);
        assert_eq!(asked, ids);
    }
}

//! When which open connections are asked about: all of them in each interval, a few at a time.

use std::time::{Duration, Instant};

use fathom_abi::ConnectionId;

/// Into how many turns the connections of an interval are spread, so that no turn takes long.
const TURNS: usize = 50;

/// Connections that are asked about at a time, at most: their records find room in the smallest ring.
const AT_A_TIME: usize = 256;

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

    /// Hands on those whose turn it is, a few at a time; `open` is asked for all that are open when an interval begins. Until all had their turn no new
    /// interval begins. To be called some fifty times in an interval or more often.
    pub fn turn(
        &mut self,
        now: Instant,
        open: impl FnOnce() -> Vec<ConnectionId>,
        mut ask: impl FnMut(&[ConnectionId]),
    ) {
        if self.left.is_empty() {
            if now.duration_since(self.begun) < self.interval {
                return;
            }
            self.begun = now;
            self.left = open();
            self.share = self.left.len().div_ceil(TURNS).max(AT_A_TIME);
        }
        let rest = self.left.len().saturating_sub(self.share);
        for ids in self.left[rest..].chunks(AT_A_TIME) {
            ask(ids);
        }
        self.left.truncate(rest);
        if rest == 0 {
            self.left = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_asked_about_once_in_an_interval_and_few_at_a_time() {
        let interval = Duration::from_secs(10);
        let mut reports = Reports::new(interval);
        let begin = reports.begun;
        let ids: Vec<_> = (0..100_000)
            .map(|sock| ConnectionId { sock, born_ns: 1 })
            .collect();
        let mut asked = Vec::new();
        reports.turn(
            begin,
            || panic!("the interval has not passed"),
            |_| panic!(),
        );
        for turn in 0..TURNS {
            let before = asked.len();
            reports.turn(
                begin + interval,
                || ids.clone(),
                |some| {
                    assert!(some.len() <= AT_A_TIME);
                    asked.extend_from_slice(some);
                },
            );
            assert_eq!(asked.len() - before, 2000, "turn {turn}");
        }
        reports.turn(
            begin + interval,
            || panic!("the next has not begun"),
            |_| panic!(),
        );
        asked.sort_unstable_by_key(|id| id.sock);
        assert_eq!(asked, ids);
    }
}

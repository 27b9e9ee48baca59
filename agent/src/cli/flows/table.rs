//! The open connections as they move, and for a few seconds how those ended that did.

mod columns;

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use fathom_abi::ConnectionId;

use self::columns::Layout;
use super::Seen;
use crate::cli::{screen::Size, text};
use crate::{
    identity::{Peer, Process},
    net::{Flow, filter::has_failed, flows::Change, open::Progress},
};

/// Open connections that have a row, at some 450 bytes each; of more, the headline tells.
const ROWS: usize = 1 << 14;

/// Connections that ended of late and are kept, of those that did in order, and of all others.
const OVER: usize = 256;

/// How long they stay.
const STAY_NS: u64 = 5_000_000_000;

/// A connection that was not reported for so long moves nothing that is known.
const STALE_NS: u64 = 3_000_000_000;

/// A rate is that of a second, also where a record came sooner.
const SECOND_NS: u64 = 1_000_000_000;

/// Lines above the rows: the headline, what was lost, and the columns' names.
pub(super) const HEADING: usize = 2;

/// What the table knows.
pub(super) struct Table {
    rows: HashMap<ConnectionId, Row>,
    failed: VecDeque<Row>,
    in_order: VecDeque<Row>,
    window: Window,
    drawn_ns: u64,
    stale_ns: u64,
    /// Open connections that have no row.
    beyond: u64,
}

/// One connection.
struct Row {
    flow: Flow,
    process: Option<Arc<Process>>,
    peer: Peer,
    destination: Option<SocketAddr>,
    /// Bytes a second.
    sent: f64,
    received: f64,
}

/// What came since the last frame.
#[derive(Default)]
struct Window {
    new: u64,
    ended: u64,
    failed: u64,
    /// Bytes of connections that have no row, or none any more.
    sent: u64,
    received: u64,
}

impl Table {
    /// Nothing is open. Open connections are reported each `interval_ns`.
    pub(super) fn new(now_ns: u64, interval_ns: u64) -> Self {
        Self {
            rows: HashMap::new(),
            failed: VecDeque::new(),
            in_order: VecDeque::new(),
            window: Window::default(),
            drawn_ns: now_ns,
            stale_ns: STALE_NS.max(interval_ns.saturating_mul(2)),
            beyond: 0,
        }
    }

    /// Takes a flow that is wanted.
    pub(super) fn take(&mut self, seen: &Seen) {
        let (flow, progress) = (seen.flow, &seen.progress);
        let window = &mut self.window;
        window.new += u64::from(flow.change == Change::Established);
        window.ended += u64::from(matches!(flow.change, Change::Closed | Change::Lost));
        window.failed += u64::from(has_failed(flow));
        if flow.change.is_end() {
            window.sent += progress.sent;
            window.received += progress.received;
            if self.rows.remove(&flow.id).is_none() && progress.ends {
                self.beyond = self.beyond.saturating_sub(1);
            }
            self.over(Row::new(seen));
            return;
        }
        if let Some(row) = self.rows.get_mut(&flow.id) {
            row.advance(seen);
        } else if self.rows.len() < ROWS {
            let mut row = Row::new(seen);
            row.set_rates(progress, SECOND_NS);
            self.rows.insert(flow.id, row);
        } else {
            self.beyond += u64::from(progress.begins);
            window.sent += progress.sent;
            window.received += progress.received;
        }
    }

    /// A flow of this connection is not wanted: nor is what was shown of it.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.rows.remove(&id);
    }

    fn over(&mut self, row: Row) {
        let list = if has_failed(&row.flow) {
            &mut self.failed
        } else {
            &mut self.in_order
        };
        if list.len() == OVER {
            list.pop_front();
        }
        list.push_back(row);
    }

    /// The next frame: as many lines as there is room for. `losses` is what can't be shown.
    pub(super) fn frame(
        &mut self,
        size: Size,
        now_ns: u64,
        time: &str,
        losses: &str,
    ) -> Vec<String> {
        for list in [&mut self.failed, &mut self.in_order] {
            list.retain(|row| now_ns.saturating_sub(row.flow.at_ns) < STAY_NS);
        }
        for row in self.rows.values_mut() {
            if now_ns.saturating_sub(row.flow.at_ns) > self.stale_ns {
                (row.sent, row.received) = (0.0, 0.0);
            }
        }
        let mut lines = vec![self.headline(now_ns, time), format!("lost: {losses}")];
        let rows = self.shown(size.rows.saturating_sub(HEADING + 1));
        let layout = Layout::new(&rows, size.columns);
        lines.push(layout.header());
        lines.extend(rows.iter().map(|row| layout.line(row, now_ns)));
        for line in &mut lines {
            *line = text::clip(line, size.columns);
        }
        lines.truncate(size.rows);
        self.window = Window::default();
        self.drawn_ns = now_ns;
        lines
    }

    fn headline(&self, now_ns: u64, time: &str) -> String {
        let seconds = (now_ns.saturating_sub(self.drawn_ns) as f64 / 1e9).max(0.001);
        let each_second = |count: u64| count as f64 / seconds;
        let sum = |of: fn(&Row) -> f64| self.rows.values().map(of).sum::<f64>();
        let window = &self.window;
        format!(
            "{time} UTC  open {}  new {:.0}/s  ended {:.0}/s  failed {:.0}/s  sent {}/s  received {}/s  (q: quit)",
            self.rows.len() as u64 + self.beyond,
            each_second(window.new),
            each_second(window.ended),
            each_second(window.failed),
            text::size(sum(|row| row.sent) + each_second(window.sent)),
            text::size(sum(|row| row.received) + each_second(window.received)),
        )
    }

    /// The rows of a frame: those that are open, the busiest first, and below them those that are over. Of these a third of the room is kept free, and what
    /// the open ones leave.
    fn shown(&self, room: usize) -> Vec<&Row> {
        let mut open: Vec<&Row> = self.rows.values().collect();
        open.sort_by_cached_key(|row| {
            // Whole bytes are exact enough to sort by; then the newest first, and those whose time is not known last.
            let moved = (row.sent + row.received) as u64;
            Reverse((
                moved,
                row.flow.established_ns,
                row.flow.id.born_ns,
                row.flow.id.sock,
            ))
        });
        let over = self.failed.len() + self.in_order.len();
        let for_over = over.min((room / 3).max(room.saturating_sub(open.len())));
        open.truncate(room.saturating_sub(for_over));
        // Failures first: they are looked for.
        let over = self.failed.iter().rev().chain(self.in_order.iter().rev());
        open.extend(over.take(for_over));
        open
    }
}

impl Row {
    fn new(seen: &Seen) -> Self {
        Self {
            flow: *seen.flow,
            process: seen.process.cloned(),
            peer: seen.peer.clone(),
            destination: seen.destination,
            sent: 0.0,
            received: 0.0,
        }
    }

    fn advance(&mut self, seen: &Seen) {
        let gap = seen.flow.at_ns.saturating_sub(self.flow.at_ns);
        self.set_rates(&seen.progress, gap);
        self.flow = *seen.flow;
        self.process = seen.process.cloned();
        self.peer.clone_from(seen.peer);
        self.destination = seen.destination;
    }

    fn set_rates(&mut self, progress: &Progress, gap_ns: u64) {
        let seconds = gap_ns.max(SECOND_NS) as f64 / 1e9;
        self.sent = progress.sent as f64 / seconds;
        self.received = progress.received as f64 / seconds;
    }
}

#[cfg(test)]
mod tests;

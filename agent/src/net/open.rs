//! The connections that are open, and what was told of each already.

use fathom_abi::ConnectionId;

use super::flows::{Change, Flow};

/// The open connections, at 41 bytes each (a table's size is a power of two).
#[derive(Debug)]
pub struct Open {
    limit: usize,
    table: Table,
    forgotten: u64,
}

/// Its keys are the kernel's addresses and times: nobody chooses them, so that a quick hash will do.
type Table = foldhash::HashMap<ConnectionId, Entry>;

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: u64,
    received: u64,
    retransmits: u32,
    tag: u32,
}

/// What is new with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// It is the first one of its connection.
    pub begins: bool,
    /// It is the last one, and of a connection that had begun.
    pub ends: bool,
    /// Payload bytes sent since the record before.
    pub sent: u64,
    /// Payload bytes received since then.
    pub received: u64,
    /// Segments sent again since then.
    pub retransmits: u64,
    /// What the taker's first record was tagged with.
    pub tag: u32,
}

impl Open {
    /// Room for so many connections. Of those beyond it bytes are known at their end, and not before.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            table: Table::default(),
            forgotten: 0,
        }
    }

    /// Takes one flow and says what is new. `tag` is kept for the connection's other records.
    pub fn take(&mut self, flow: &Flow, tag: u32) -> Progress {
        if let Some(progress) = self.take_known(flow) {
            return progress;
        }
        match flow.change {
            // It never was open.
            Change::ConnectFailed => Progress {
                sent: flow.bytes_sent,
                received: flow.bytes_received,
                retransmits: flow.retransmits.into(),
                tag,
                ..Progress::default()
            },
            Change::Established | Change::Existing | Change::Alive => self.begins(flow, tag),
            Change::Closed | Change::Lost => self.ends_unknown(flow, tag),
        }
    }

    /// Takes one flow of a connection that is remembered and says what is new; `None` of any other, which is not taken.
    pub fn take_known(&mut self, flow: &Flow) -> Option<Progress> {
        match flow.change {
            Change::ConnectFailed => None,
            Change::Established | Change::Existing | Change::Alive => {
                Some(self.table.get_mut(&flow.id)?.advance(flow))
            }
            Change::Closed | Change::Lost => {
                let mut entry = self.table.remove(&flow.id)?;
                if self.table.is_empty() && self.table.capacity() > SMALL {
                    self.table = Table::default();
                }
                let mut progress = entry.advance(flow);
                if flow.change == Change::Lost {
                    (progress.sent, progress.received, progress.retransmits) = (0, 0, 0);
                }
                Some(Progress {
                    ends: true,
                    ..progress
                })
            }
        }
    }

    fn begins(&mut self, flow: &Flow, tag: u32) -> Progress {
        // Of one that is not remembered, its end tells all.
        let mut entry = Entry {
            sent: 0,
            received: 0,
            retransmits: 0,
            tag,
        };
        if self.table.len() >= self.limit {
            self.forgotten += u64::from(flow.change != Change::Alive);
            return Progress {
                begins: flow.change != Change::Alive,
                tag,
                ..Progress::default()
            };
        }
        let mut progress = entry.advance(flow);
        if flow.change == Change::Existing {
            // What it moved before fathom came nobody saw.
            (progress.sent, progress.received, progress.retransmits) = (0, 0, 0);
        }
        self.table.insert(flow.id, entry);
        Progress {
            begins: true,
            ..progress
        }
    }

    fn ends_unknown(&mut self, flow: &Flow, tag: u32) -> Progress {
        // Its first record is missing, or there was no room for it. What was moved by one of before is not known.
        let was_seen = flow.established_ns.is_some();
        let is_forgotten = self.forgotten > 0;
        self.forgotten -= u64::from(is_forgotten);
        let whole = |count: u64| if was_seen { count } else { 0 };
        Progress {
            begins: was_seen && !is_forgotten,
            ends: was_seen || is_forgotten,
            sent: whole(flow.bytes_sent),
            received: whole(flow.bytes_received),
            retransmits: whole(flow.retransmits.into()),
            tag,
        }
    }

    /// All that are remembered and whose ids are of records, in no order: not those that were listed.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.table.keys().copied().filter(|id| id.born_ns != 0)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

/// A table of so many is kept when it is empty.
const SMALL: usize = 4096;

impl Entry {
    fn advance(&mut self, flow: &Flow) -> Progress {
        let progress = Progress {
            sent: flow.bytes_sent.saturating_sub(self.sent),
            received: flow.bytes_received.saturating_sub(self.received),
            retransmits: flow.retransmits.saturating_sub(self.retransmits).into(),
            tag: self.tag,
            ..Progress::default()
        };
        self.sent = self.sent.max(flow.bytes_sent);
        self.received = self.received.max(flow.bytes_received);
        self.retransmits = self.retransmits.max(flow.retransmits);
        progress
    }
}

#[cfg(test)]
mod tests;

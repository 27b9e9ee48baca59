//! The connections that are open, and what was told of each already.

mod resting;
mod table;

use std::collections::HashSet;

use fathom_abi::ConnectionId;

pub use self::resting::Missing;
use self::{resting::Resting, table::Table};
use super::{
    Ends,
    flows::{Change, Flow},
    sockets::{diag::State, info::TcpInfo},
};

/// The open connections, at rest or not, at 41 bytes each (a table's size is a power of two).
#[derive(Debug)]
pub struct Open {
    limit: usize,
    table: Table<ConnectionId, Entry>,
    resting: Resting,
    /// Those of the table that were listed, and have no id of records.
    listed: usize,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: u64,
    received: u64,
    retransmits: u32,
    /// The note is 1 where it was at rest before a byte had moved on it.
    tag: Tag,
}

/// A taker's tag of 24 bits, and a note of eight beside it: there are many.
#[derive(Clone, Copy, Debug)]
struct Tag(u32);

impl Tag {
    const BITS: u32 = 24;
    const MASK: u32 = (1 << Self::BITS) - 1;

    fn new(tag: u32, note: u8) -> Self {
        Self(tag & Self::MASK | u32::from(note) << Self::BITS)
    }

    fn tag(self) -> u32 {
        self.0 & Self::MASK
    }

    fn note(self) -> u8 {
        (self.0 >> Self::BITS) as u8
    }
}

/// What has moved on a connection since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Payload bytes sent, without retransmissions.
    pub sent: u64,
    /// Payload bytes received in order.
    pub received: u64,
    /// Segments sent again.
    pub retransmits: u32,
}

impl Moved {
    /// What the kernel says of a connection whose socket is in this state.
    pub fn by(info: &TcpInfo, state: State) -> Self {
        // The other end's FIN counts as a byte (`tcp_rcv_nxt_update`).
        let fin = u64::from(state == State::CLOSE_WAIT);
        let sent = || info.bytes_sent?.checked_sub(info.bytes_retransmitted?);
        Self {
            sent: sent().unwrap_or(0),
            received: info.bytes_received.unwrap_or(0).saturating_sub(fin),
            retransmits: info.total_retransmits,
        }
    }

    fn on(flow: &Flow) -> Self {
        Self {
            sent: flow.bytes_sent,
            received: flow.bytes_received,
            retransmits: flow.retransmits,
        }
    }
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
    /// It begins, and there was no room for it.
    pub is_forgotten: bool,
    /// It was at rest before a byte had moved on it, and its records had another id then.
    pub was_at_rest: bool,
    /// The tag of one that had the same two ends: it is over, and its end was not seen.
    pub replaces: Option<u32>,
}

impl Open {
    /// Room for so many connections. Of those beyond it bytes are known at their end, and not before.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            table: Table::default(),
            resting: Resting::default(),
            listed: 0,
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
            // Only those that are known are asked to rest: it was given up meanwhile.
            Change::Resting => Progress {
                tag,
                ..Progress::default()
            },
        }
    }

    /// Takes one flow of a connection that is remembered and says what is new; `None` of any other, which is not taken.
    pub fn take_known(&mut self, flow: &Flow) -> Option<Progress> {
        match flow.change {
            Change::ConnectFailed => None,
            Change::Established => Some(self.table.get_mut(&flow.id)?.advance(Moved::on(flow))),
            Change::Existing | Change::Alive => {
                if let Some(entry) = self.table.get_mut(&flow.id) {
                    return Some(entry.advance(Moved::on(flow)));
                }
                let mut entry = self.resting.wake(&Ends::of(flow))?;
                let progress = entry.advance(Moved::on(flow));
                self.insert(flow.id, entry);
                Some(progress)
            }
            Change::Resting => {
                let mut entry = self.remove(flow.id)?;
                let progress = entry.advance(Moved::on(flow));
                let replaced = self.resting.insert(&Ends::of(flow), entry);
                Some(Progress {
                    replaces: replaced.map(|replaced| replaced.tag.tag()),
                    ..progress
                })
            }
            Change::Closed | Change::Lost => {
                let known = self.remove(flow.id);
                let mut entry = known.or_else(|| self.resting.wake(&Ends::of(flow)))?;
                let mut progress = entry.advance(Moved::on(flow));
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

    fn insert(&mut self, id: ConnectionId, entry: Entry) {
        let is_new = self.table.insert(id, entry).is_none();
        self.listed += usize::from(is_new && is_listed(id));
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Entry> {
        let entry = self.table.remove(&id)?;
        self.listed -= usize::from(is_listed(id));
        Some(entry)
    }

    fn begins(&mut self, flow: &Flow, tag: u32) -> Progress {
        // Of one that is not remembered, its end tells all.
        let mut entry = Entry {
            sent: 0,
            received: 0,
            retransmits: 0,
            tag: Tag::new(tag, 0),
        };
        let replaced = match flow.change {
            Change::Established => self.resting.wake(&Ends::of(flow)),
            _ => None,
        };
        let replaces = replaced.map(|replaced| replaced.tag.tag());
        if self.len() >= self.limit {
            self.forgotten += u64::from(flow.change != Change::Alive);
            return Progress {
                begins: flow.change != Change::Alive,
                tag,
                is_forgotten: flow.change != Change::Alive,
                replaces,
                ..Progress::default()
            };
        }
        let mut progress = entry.advance(Moved::on(flow));
        if flow.change == Change::Existing {
            // What it moved before fathom came nobody saw.
            (progress.sent, progress.received, progress.retransmits) = (0, 0, 0);
        }
        self.insert(flow.id, entry);
        Progress {
            begins: true,
            replaces,
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
            ..Progress::default()
        }
    }

    /// All that are remembered but those at rest, and whose ids are of records, in no order: not those that were listed.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.table
            .iter()
            .map(|(&id, _)| id)
            .filter(|&id| !is_listed(id))
    }

    /// A look at the kernel's sockets begins. There is one at a time.
    pub fn look_begins(&mut self) {
        self.resting.look_begins();
    }

    /// The look has found a socket: if it is of a connection at rest, what has moved on that without a call of the process that has it.
    pub fn stands(&mut self, ends: &Ends, moved: Moved) -> Option<Progress> {
        self.resting.stands(ends, moved)
    }

    /// The look is done, and has seen all sockets of these network namespaces. Gives back the connections at rest in them that neither it nor the one before has found.
    pub fn look_is_done(&self, seen: &HashSet<u32>) -> Vec<Missing> {
        self.resting.look_is_done(seen)
    }

    /// The tag of a connection that is open, and was at rest before a byte had moved on it and it got this id.
    pub fn tag_before_rest(&self, id: ConnectionId) -> Option<u32> {
        let tag = self.table.get(&id)?.tag;
        (tag.note() != 0).then(|| tag.tag())
    }

    /// Whether a connection is known by this id.
    pub fn has(&self, id: ConnectionId) -> bool {
        self.table.get(&id).is_some()
    }

    /// One that was missing is over, if it is still at rest now; gives back its tag.
    pub fn lose(&mut self, missing: Missing) -> Option<u32> {
        self.resting.lose(missing)
    }

    /// How many are remembered, at rest or not.
    pub fn len(&self) -> usize {
        self.table.len() + self.resting.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many [`Open::ids`] are.
    pub fn asked(&self) -> usize {
        self.table.len() - self.listed
    }

    /// How many are at rest.
    pub fn resting(&self) -> usize {
        self.resting.len()
    }
}

/// Whether the id is a list's and not of records.
const fn is_listed(id: ConnectionId) -> bool {
    id.born_ns == 0
}

impl Entry {
    fn advance(&mut self, moved: Moved) -> Progress {
        let progress = Progress {
            sent: moved.sent.saturating_sub(self.sent),
            received: moved.received.saturating_sub(self.received),
            retransmits: moved.retransmits.saturating_sub(self.retransmits).into(),
            tag: self.tag.tag(),
            was_at_rest: self.tag.note() != 0,
            ..Progress::default()
        };
        self.sent = self.sent.max(moved.sent);
        self.received = self.received.max(moved.received);
        self.retransmits = self.retransmits.max(moved.retransmits);
        progress
    }
}

#[cfg(test)]
mod tests;

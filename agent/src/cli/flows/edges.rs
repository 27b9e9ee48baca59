//! Who speaks with whom: connections by service, role and whose the other end is, as a service map has them.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use fathom_abi::Role;
use serde_json::{Map, Value, json};

use super::{Seen, show};
use crate::cli::text;
use crate::{
    cli::live::duration,
    identity::Peer,
    net::{Outcome, filter::has_failed, flows::Change, open::Progress},
};

/// Edges that are told apart, at some 300 bytes each. Of more, the other ends are told apart by where they are, and at last services not at all.
const EDGES: usize = 4096;

/// The service that stands for those beyond [`EDGES`], as on `/metrics`.
const OTHER: &str = "other";

/// The service where no process is known.
const UNKNOWN: &str = "unknown";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    service: Arc<str>,
    role: Role,
    peer: Peer,
}

/// All edges.
pub(super) struct Edges {
    numbers: HashMap<Key, u32>,
    edges: Vec<(Key, Edge)>,
    other: Arc<str>,
    unknown: Arc<str>,
}

/// One edge.
#[derive(Clone, Debug, Default)]
struct Edge {
    /// Those that began, or failed to, or were there before.
    connections: u64,
    open: u64,
    /// Those that ended otherwise than in order, by outcome.
    failures: [u64; Outcome::ALL.len()],
    /// Those whose end was not seen.
    lost: u64,
    sent: u64,
    received: u64,
    retransmits: u64,
    worst_srtt_us: Option<u32>,
    worst_connect_ns: Option<u64>,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            edges: Vec::new(),
            other: OTHER.into(),
            unknown: UNKNOWN.into(),
        }
    }
}

impl Edges {
    /// The number of the edge that a flow is on now.
    pub(super) fn number(&mut self, service: Option<&Arc<str>>, role: Role, peer: &Peer) -> u32 {
        let mut key = Key {
            service: Arc::clone(service.unwrap_or(&self.unknown)),
            role,
            peer: peer.clone(),
        };
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        if self.edges.len() >= EDGES {
            key.peer = key.peer.anywhere();
            if !self.numbers.contains_key(&key) {
                key.service = Arc::clone(&self.other);
            }
        }
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        let number = u32::try_from(self.edges.len()).unwrap_or(u32::MAX);
        self.edges.push((key.clone(), Edge::default()));
        self.numbers.insert(key, number);
        number
    }

    /// Takes a flow on the edge with this number, or on the one where its connection began, where no more is known now than was then.
    pub(super) fn take(&mut self, seen: &Seen, number: u32) {
        let (flow, progress) = (seen.flow, &seen.progress);
        // How many are open counts where the connection began: since then more may have come to be known of it.
        if progress.ends
            && !progress.begins
            && let Some((_, began)) = self.edges.get_mut(progress.tag as usize)
        {
            began.open = began.open.saturating_sub(1);
        }
        let number = self.better(progress.tag, number);
        let Some((_, edge)) = self.edges.get_mut(number as usize) else {
            return;
        };
        edge.connections += u64::from(progress.begins || flow.change == Change::ConnectFailed);
        edge.open += u64::from(progress.begins && !progress.ends);
        edge.lost += u64::from(flow.change == Change::Lost);
        if let Some(outcome) = flow.outcome.filter(|_| has_failed(flow)) {
            edge.failures[outcome as usize] += 1;
        }
        edge.sent += progress.sent;
        edge.received += progress.received;
        edge.retransmits += progress.retransmits;
        edge.worst_srtt_us = edge.worst_srtt_us.max(flow.srtt_us);
        edge.worst_connect_ns = edge.worst_connect_ns.max(flow.connect_duration_ns());
    }

    /// The end of a connection was lost.
    pub(super) fn lost(&mut self, progress: &Progress) {
        if let Some((_, edge)) = self.edges.get_mut(progress.tag as usize)
            // Else the connection was not wanted.
            && edge.open > 0
        {
            edge.open -= 1;
            edge.lost += 1;
        }
    }

    /// Which of two edges a connection is on: it keeps its first one, unless the other says more of its ends, and of none less.
    fn better(&self, first: u32, now: u32) -> u32 {
        let detail = |number: u32| {
            let (key, _) = self.edges.get(number as usize)?;
            let is_known = key.service != self.unknown;
            let has_role = key.role != Role::UNKNOWN;
            Some([is_known.into(), has_role.into(), key.peer.detail()])
        };
        let (Some(then), Some(is)) = (detail(first), detail(now)) else {
            return now;
        };
        let is_less = is.iter().zip(&then).any(|(is, then)| is < then);
        if is == then || is_less { first } else { now }
    }

    /// Those on which anything was seen, those that moved most first.
    fn sorted(&self) -> Vec<&(Key, Edge)> {
        let mut all: Vec<_> = self
            .edges
            .iter()
            .filter(|(_, edge)| edge.is_used())
            .collect();
        all.sort_by_key(|(_, edge)| Reverse((edge.sent + edge.received, edge.connections)));
        all
    }

    /// The list for people; the first line names the columns.
    pub(super) fn lines(&self) -> Vec<String> {
        let header = format!(
            "{:<24} {:<7} {:<30} {:>8} {:>6} {:>7} {:>9} {:>9} {:>6} {:>9} {:>9}  HOW",
            "SERVICE",
            "ROLE",
            "PEER",
            "CONNS",
            "OPEN",
            "FAILED",
            "SENT",
            "RECEIVED",
            "RETR",
            "RTT",
            "CONNECT"
        );
        let rows = self.sorted().into_iter().map(|(key, edge)| {
            let dash = || "-".to_owned();
            format!(
                "{:<24} {:<7} {:<30} {:>8} {:>6} {:>7} {:>9} {:>9} {:>6} {:>9} {:>9}  {}",
                text::clip(&text::printable(&key.service), 24),
                show::role(key.role),
                text::clip(&text::printable(&peer_name(&key.peer)), 30),
                edge.connections,
                edge.open,
                edge.failures.iter().sum::<u64>(),
                text::size(edge.sent as f64),
                text::size(edge.received as f64),
                edge.retransmits,
                edge.worst_srtt_us
                    .map_or_else(dash, |us| duration(u64::from(us) * 1000)),
                edge.worst_connect_ns.map_or_else(dash, duration),
                edge.ways().join(", "),
            )
            .trim_end()
            .to_owned()
        });
        std::iter::once(header).chain(rows).collect()
    }

    /// An object an edge. RTT and connect are the longest that were seen.
    pub(super) fn documents(&self) -> Vec<Value> {
        let sorted = self.sorted().into_iter();
        sorted
            .map(|(key, edge)| {
                let failures: Map<String, Value> = edge
                    .failed()
                    .map(|(outcome, count)| (outcome.name().to_owned(), count.into()))
                    .collect();
                json!({
                    "service": &*key.service,
                    "role": show::role(key.role),
                    "peer": show::peer(&key.peer),
                    "connections": edge.connections,
                    "open": edge.open,
                    "failures": failures,
                    "lost": edge.lost,
                    "bytes_sent": edge.sent,
                    "bytes_received": edge.received,
                    "retransmits": edge.retransmits,
                    "worst_srtt_us": edge.worst_srtt_us,
                    "worst_connect_ns": edge.worst_connect_ns,
                })
            })
            .collect()
    }
}

impl Edge {
    fn is_used(&self) -> bool {
        self.connections > 0
            || self.lost > 0
            || self.sent > 0
            || self.received > 0
            || self.failed().next().is_some()
    }

    fn failed(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = self.failures.iter();
        Outcome::ALL
            .into_iter()
            .zip(counts.copied())
            .filter(|(_, count)| *count > 0)
    }

    /// How connections ended that did otherwise than in order.
    fn ways(&self) -> Vec<String> {
        self.failed()
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect()
    }
}

/// A service's or a host's name, or in brackets where it is.
fn peer_name(peer: &Peer) -> String {
    match peer {
        Peer::Service(name) | Peer::Name(name) => name.to_string(),
        Peer::Class(class) => format!("({})", class.name()),
    }
}

#[cfg(test)]
mod tests;

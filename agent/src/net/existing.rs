//! The connections that were open when fathom came.
//!
//! Nobody saw them opening, so that no record says which end did. What is kept of them for that is a number each, in which their two ends and the role
//! are folded together: 100,000 take 800 kB.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::SocketAddr,
    thread::JoinHandle,
    time::Duration,
};

use fathom_abi::Role;
use tracing::warn;

use super::{
    before,
    sockets::{self, Extensions, List, Listed, Socket},
};

/// Connections whose role is remembered; of more, it is unknown. They take 1 MiB.
const MAX_CONNECTIONS: usize = 1 << 17;

/// The lowest bits hold the role.
const ROLE: u64 = 3;

/// How many there were, by role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// This end accepted.
    pub server: u64,
    /// This end connected.
    pub client: u64,
    /// Who did is not known.
    pub unknown: u64,
    /// Of the first two, those whose role is not remembered for want of room.
    pub forgotten: u64,
    /// Those beyond [`before::LISTED`]: only records tell of them.
    pub unlisted: u64,
    /// What the search came to.
    pub listed: Listed,
}

/// The search for them, under way.
pub struct Search(JoinHandle<List<(Table, Vec<before::Listed>)>>);

/// The connections that were open when fathom came.
#[derive(Debug, Default)]
pub struct Existing {
    table: Table,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Table {
    hasher: RandomState,
    /// See `fold`; in order, once it is whole.
    folded: Vec<u64>,
    counts: Counts,
}

impl Search {
    /// Starts it. It lasts no longer than `limit`, but for one namespace's last datagram.
    ///
    /// To be called once the taps are attached: what is opened later, they see.
    ///
    /// # Errors
    /// Where its thread can't be started.
    pub fn start(limit: Duration) -> io::Result<Self> {
        let take = |(table, list): &mut (Table, Vec<before::Listed>),
                    found: &sockets::Found<'_>| {
            table.take(found.socket, found.role);
            match before::Listed::of(found) {
                Some(one) if list.len() < before::LISTED => list.push(one),
                Some(_) => table.counts.unlisted += 1,
                None => {}
            }
        };
        let into = (Table::default(), Vec::new());
        sockets::list(limit, Extensions::TCP_INFO, into, take).map(Self)
    }

    /// Waits for its end: what is to be known of all of them, and the first [`before::LISTED`] one by one.
    pub fn finish(self) -> (Existing, Vec<before::Listed>) {
        let Ok(all) = self.0.join() else {
            warn!("the search for connections of before had panicked");
            return Default::default();
        };
        let ((table, list), listed) = (all.into, all.listed);
        if let Some(error) = all.broke_off {
            warn!("connections that were open before are not all known: {error}");
        }
        if listed.denied > 0 {
            warn!(
                "{} network namespaces, or processes that may be in others, could not be entered: of connections there that were open before, the role is not known (it takes CAP_SYS_ADMIN and CAP_SYS_PTRACE)",
                listed.denied
            );
        }
        (Existing::new(table, listed), list)
    }
}

impl Existing {
    fn new(mut table: Table, listed: Listed) -> Self {
        table.folded.sort_unstable();
        table.folded.dedup();
        // The same ends twice, in two namespaces, with two roles: it is not known then which one a record is about.
        let same = |a: u64, b: u64| a & !ROLE == b & !ROLE;
        let all = std::mem::take(&mut table.folded);
        table.folded = all
            .chunk_by(|&a, &b| same(a, b))
            .filter(|group| group.len() == 1)
            .flatten()
            .copied()
            .collect();
        let counts = Counts {
            listed,
            ..table.counts
        };
        Self { table, counts }
    }

    /// The role of the connection with these ends, if it was open when fathom came.
    pub fn role(&self, local: SocketAddr, remote: SocketAddr) -> Role {
        let folded = &self.table.folded;
        if folded.is_empty() {
            return Role::UNKNOWN;
        }
        let wanted = self.table.fold(local, remote, Role::UNKNOWN);
        let at = folded.partition_point(|&one| one < wanted);
        match folded.get(at) {
            Some(&found) if found & !ROLE == wanted => match found & ROLE {
                1 => Role::CLIENT,
                2 => Role::SERVER,
                _ => Role::UNKNOWN,
            },
            _ => Role::UNKNOWN,
        }
    }

    /// How many there were.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Table {
    fn take(&mut self, socket: &Socket, role: Role) {
        match role {
            Role::SERVER => self.counts.server += 1,
            Role::CLIENT => self.counts.client += 1,
            _ => {
                self.counts.unknown += 1;
                return;
            }
        }
        if self.folded.len() < MAX_CONNECTIONS {
            self.folded
                .push(self.fold(socket.local, socket.remote, role));
        } else {
            self.counts.forgotten += 1;
        }
    }

    /// Both ends and the role in a number. That two pairs of ends have the same is as unlikely as one in 2^62, as nobody knows the key.
    fn fold(&self, local: SocketAddr, remote: SocketAddr, role: Role) -> u64 {
        let ends = (local.ip(), local.port(), remote.ip(), remote.port());
        self.hasher.hash_one(ends) & !ROLE | u64::from(role.0)
    }
}

#[cfg(test)]
mod tests;

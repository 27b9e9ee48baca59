//! The sockets that listen, in all network namespaces: how many connections wait in each, how many may, how many were dropped, and whose it is.
//!
//! A queue that is full is what a service's clients feel as a second of delay, or as an error, while the service itself sees nothing at all.

mod drops;
mod holders;
mod list;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use self::{drops::Drops, holders::Holders, list::List};
use super::owners::Walked;

/// How long the lists of one sweep may take.
const LIST_LIMIT: Duration = Duration::from_secs(2);

/// How long a walk over all processes' descriptors may take; the next one goes on where it broke off.
const WALK_LIMIT: Duration = Duration::from_secs(2);

/// Sockets that are listed, at most: a proxy may have one for each of its threads, in each pod. They take about 2 MB.
const MAX_LISTENERS: usize = 1 << 14;

/// One socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Names it for as long as the machine runs.
    pub cookie: u64,
    /// Of its file.
    pub inode: u32,
    /// The inode of its network namespace.
    pub namespace: u64,
    /// The address that it listens on. An IPv4 address is given as such, whatever the family.
    pub local: SocketAddr,
    /// Connections that were not accepted so far.
    pub queue: u32,
    /// How many of them may wait: what listen(2) was given, `net.core.somaxconn` at most. The kernel refuses when there are more than that.
    pub limit: u32,
    /// SYNs and ends of handshakes that were dropped since the last sweep: mostly as the queue was full. A client that is not answered tries again, and each try counts.
    pub drops: u32,
    /// A process that has it; of several the one with the lowest number, which is the parent of workers. None where nobody is known so far.
    pub owner: Option<u32>,
}

/// What one sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// The sockets that listen.
    pub listeners: Vec<Listener>,
    /// Network namespaces whose listeners these are.
    pub namespaces: u64,
    /// Namespaces that this process may not enter, and processes whose namespace it may not see.
    pub denied: u64,
    /// Namespaces whose list broke off or could not be had, among them those that were left out for want of time.
    pub incomplete: u64,
    /// Listeners that were left out, as there were too many.
    pub overflowed: u64,
    /// Listeners of which the kernel did not say what they dropped.
    pub without_drops: u64,
    /// The walk over all processes' descriptors, where one was made.
    pub walked: Option<Walked>,
}

/// What is remembered from one sweep to the next.
#[derive(Debug)]
pub struct Listeners {
    drops: Drops,
    holders: Holders,
}

impl Listeners {
    /// Nothing is known so far. `proc` is where the procfs of the initial pid namespace is mounted.
    pub fn new(proc: &Path) -> Self {
        Self {
            drops: Drops::default(),
            holders: Holders::new(proc),
        }
    }

    /// Lists all of them. To be called every some seconds, on a thread that may wait for it: for 2 s at most, and 2 s more where a listener was found whose owner is not known, at
    /// most once a minute.
    ///
    /// What a listener dropped that is gone before the next sweep is not told of.
    ///
    /// # Errors
    /// Where the thread can't be started that goes through the namespaces.
    pub fn sweep(&mut self) -> io::Result<Sweep> {
        let list = List::make(Instant::now() + LIST_LIMIT)?;
        let mut sweep = Sweep {
            namespaces: list.visited.entered,
            denied: list.visited.denied,
            incomplete: list.broken + list.visited.left_out,
            overflowed: list.overflowed,
            ..Sweep::default()
        };
        let now = Instant::now();
        sweep.walked = self.holders.update(
            list.found.iter().map(|found| found.socket.inode),
            now,
            now + WALK_LIMIT,
        );
        self.drops.update(&list);
        for found in &list.found {
            let socket = &found.socket;
            sweep.without_drops += u64::from(found.drops.is_none());
            sweep.listeners.push(Listener {
                cookie: socket.cookie,
                inode: socket.inode,
                namespace: found.namespace,
                local: socket.local,
                queue: socket.receive_queue,
                limit: socket.send_queue,
                drops: self.drops.since(socket.cookie),
                owner: self.holders.of(socket.inode),
            });
        }
        Ok(sweep)
    }
}

#[cfg(test)]
mod tests;

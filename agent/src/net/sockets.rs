//! The TCP sockets of this machine, as the kernel and /proc list them: for what no probe has seen, as it was there before.

pub mod diag;
pub mod dump;
pub mod info;
pub mod listeners;
pub mod namespaces;
pub mod owners;
pub mod roles;

use std::{
    collections::HashSet,
    fs, io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub use self::diag::{Details, Extensions, Socket};
use self::{
    diag::{Family, States},
    dump::Dump,
    namespaces::Visited,
    roles::Roles,
};
use fathom_abi::Role;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What a list came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Connections that were handed on.
    pub connections: u64,
    /// Network namespaces whose connections these are.
    pub namespaces: u64,
    /// Namespaces that this process may not enter, and processes whose namespace it may not see.
    pub denied: u64,
    /// Namespaces whose list broke off or could not be had, among them those that were left out for want of time.
    pub incomplete: u64,
    /// How long it took.
    pub took: Duration,
}

/// A list that was made.
#[derive(Debug, Default)]
pub struct List<T> {
    /// What the connections that were handed on were put into.
    pub into: T,
    /// What it came to.
    pub listed: Listed,
    /// The namespaces, by inode, of which all connections are among them.
    pub whole: HashSet<u32>,
    /// Why one broke off, the first that did.
    pub broke_off: Option<dump::Error>,
}

/// One connection of a list.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its socket.
    pub socket: &'a Socket,
    /// What was asked for of it.
    pub details: Details<'a>,
    /// Which end opened it, as far as ports tell.
    pub role: Role,
    /// The inode of its network namespace.
    pub namespace: u64,
}

/// Hands each open TCP connection of the machine to `f`, namespace after namespace. All of it happens on a thread of its own, as a thread has to enter a
/// namespace to see what is in it, and the process must stay where it is.
///
/// Nothing is kept but who listens in one namespace at a time. What the list misses: namespaces that only other threads than a process's first are in, or none; and
/// connections that were opened meanwhile.
///
/// # Errors
/// Where the thread can't be started.
pub fn list<T: Send + 'static>(
    limit: Duration,
    extensions: Extensions,
    mut into: T,
    mut f: impl FnMut(&mut T, &Found<'_>) + Send + 'static,
) -> io::Result<JoinHandle<List<T>>> {
    thread::Builder::new()
        .name("fathom-sockets".to_owned())
        .spawn(move || {
            let begun = Instant::now();
            let until = begun + limit;
            let mut listed = Listed::default();
            let (mut whole, mut broke_off) = (HashSet::new(), None);
            let Visited {
                entered,
                denied,
                left_out,
            } = namespaces::each(until, |namespace| {
                let list = here(until, extensions, &mut |socket, details, role| {
                    listed.connections += 1;
                    let found = Found {
                        socket,
                        details,
                        role,
                        namespace,
                    };
                    f(&mut into, &found);
                });
                match list {
                    Ok(()) => {
                        whole.insert(u32::try_from(namespace).unwrap_or_default());
                    }
                    Err(error) => {
                        listed.incomplete += 1;
                        broke_off.get_or_insert(error);
                    }
                }
            });
            listed.namespaces = entered;
            listed.denied = denied;
            listed.incomplete += left_out;
            listed.took = begun.elapsed();
            List {
                into,
                listed,
                whole,
                broke_off,
            }
        })
}

/// The same for the namespace that this thread is in.
///
/// # Errors
/// Where the list ends early.
pub fn here(
    until: Instant,
    extensions: Extensions,
    f: &mut impl FnMut(&Socket, Details<'_>, Role),
) -> Result<(), dump::Error> {
    let mut dump = Dump::open()?;
    let port_range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let mut roles = Roles::new(&port_range.unwrap_or_default());
    // Both families first: a listening socket of IPv6 may accept IPv4.
    for family in FAMILIES {
        dump.each(
            family,
            States::LISTEN,
            Extensions::NONE,
            until,
            &mut |socket, _| {
                roles.listens(&socket);
            },
        )?;
    }
    for family in FAMILIES {
        dump.each(
            family,
            States::OPEN,
            extensions,
            until,
            &mut |socket, details| {
                f(&socket, details, roles.role(socket.local));
            },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

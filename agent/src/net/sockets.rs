//! The TCP sockets of this machine, as the kernel and /proc list them: for what no probe has seen, as it was there before.

pub mod diag;
pub mod dump;
pub mod info;
pub mod listeners;
pub mod namespaces;
pub mod owners;
pub mod roles;

use std::{
    fs, io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fathom_abi::Role;
use tracing::warn;

pub use self::diag::{Details, Extensions, Socket};
use self::{
    diag::{Family, States},
    dump::Dump,
    namespaces::Visited,
    roles::Roles,
};

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
) -> io::Result<JoinHandle<(T, Listed)>> {
    thread::Builder::new()
        .name("fathom-sockets".to_owned())
        .spawn(move || {
            let begun = Instant::now();
            let until = begun + limit;
            let mut listed = Listed::default();
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
                if let Err(error) = list {
                    // What one namespace lacks all do: once is enough.
                    if listed.incomplete == 0 {
                        warn!("connections that were open before are not all known: {error}");
                    }
                    listed.incomplete += 1;
                }
            });
            listed.namespaces = entered;
            listed.denied = denied;
            listed.incomplete += left_out;
            listed.took = begun.elapsed();
            (into, listed)
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

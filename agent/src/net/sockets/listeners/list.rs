//! The list that one sweep makes.

use std::{collections::HashSet, io, thread, time::Instant};

use tracing::debug;

use super::MAX_LISTENERS;
use crate::net::sockets::{
    FAMILIES, Socket,
    diag::{Details, Extensions, States},
    dump::{self, Dump},
    namespaces::{self, Visited},
};

/// A socket that listens, as the kernel tells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) namespace: u64,
    pub(super) socket: Socket,
    /// Since it was made, modulo 2^32.
    pub(super) drops: Option<u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) found: Vec<Found>,
    /// Namespaces of which nothing is missing.
    pub(super) whole: HashSet<u64>,
    pub(super) visited: Visited,
    /// Namespaces whose list broke off.
    pub(super) broken: u64,
    pub(super) overflowed: u64,
}

impl List {
    /// Goes through the namespaces, on a thread of its own that ends behind it: it is left in the last of them.
    pub(super) fn make(until: Instant) -> io::Result<Self> {
        thread::scope(|scope| {
            thread::Builder::new()
                .name("fathom-listen".to_owned())
                .spawn_scoped(scope, || Self::make_here(until))?
                .join()
                .map_err(|_| io::Error::other("the search for listening sockets had panicked"))
        })
    }

    fn make_here(until: Instant) -> Self {
        let mut list = Self::default();
        list.visited = namespaces::each(until, |namespace| {
            let overflowed = list.overflowed;
            match list.add(namespace, until) {
                Ok(()) if overflowed == list.overflowed => drop(list.whole.insert(namespace)),
                Ok(()) => {}
                Err(error) => {
                    debug!("listening sockets are not all known: {error}");
                    list.broken += 1;
                }
            }
        });
        list
    }

    /// Those of the namespace that this thread is in.
    fn add(&mut self, namespace: u64, until: Instant) -> Result<(), dump::Error> {
        let mut dump = Dump::open()?;
        for family in FAMILIES {
            let each = &mut |socket, details: Details<'_>| {
                if self.found.len() >= MAX_LISTENERS {
                    self.overflowed += 1;
                    return;
                }
                self.found.push(Found {
                    namespace,
                    socket,
                    drops: details.drops(),
                });
            };
            dump.each(family, States::LISTEN, Extensions::MEMORY, until, each)?;
        }
        Ok(())
    }
}

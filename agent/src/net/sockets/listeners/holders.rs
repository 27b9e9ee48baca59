//! Whose a listening socket is, remembered by its inode: to find that out all descriptors of all processes are read, and to see that it is still so, one.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::net::sockets::owners::{self, Descriptor, Walked};

/// From one walk to the next, at least.
const INTERVAL: Duration = Duration::from_secs(60);

/// Who has which sockets. It is as large as the list of sockets that it is asked for.
#[derive(Debug)]
pub(super) struct Holders {
    proc: PathBuf,
    known: HashMap<u32, Option<Descriptor>>,
    walked: Option<Instant>,
    /// The process with which the next walk begins.
    from: u32,
}

impl Holders {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_path_buf(),
            known: HashMap::new(),
            walked: None,
            from: 0,
        }
    }

    /// A process that has this socket, as of the last update.
    pub(super) fn of(&self, inode: u32) -> Option<u32> {
        self.known.get(&inode).copied().flatten().map(|one| one.pid)
    }

    /// Looks for those who have these sockets, and forgets all others. A walk is made where there is a new one among them, or one that its holder has no more, and none was made within a minute.
    pub(super) fn update(
        &mut self,
        inodes: impl Iterator<Item = u32>,
        now: Instant,
        until: Instant,
    ) -> Option<Walked> {
        // 0 is a socket without a file, which nobody can have a descriptor of.
        let mut missing: HashSet<u32> = inodes.filter(|&inode| inode != 0).collect();
        let proc = &self.proc;
        self.known.retain(|inode, holder| {
            let listed = missing.contains(inode);
            listed && holder.is_none_or(|holder| holder.inode(proc) == Some(*inode))
        });
        let is_new = missing.iter().any(|inode| !self.known.contains_key(inode));
        let is_soon = |walked| now.saturating_duration_since(walked) < INTERVAL;
        if !is_new || self.walked.is_some_and(is_soon) {
            return None;
        }
        missing.retain(|inode| !matches!(self.known.get(inode), Some(Some(_))));
        self.walked = Some(now);
        let known = &mut self.known;
        let walked = owners::each(proc, self.from, until, |descriptor, inode| {
            if missing.remove(&inode) {
                known.insert(inode, Some(descriptor));
            }
            match missing.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if self.from == 0 && walked.cut_short.is_none() {
            // Sockets of the kernel's own, and of processes that may not be looked into: no reason for a walk any more.
            known.extend(missing.into_iter().map(|inode| (inode, None)));
        }
        // What is left of a process that alone takes too long is left out.
        self.from = walked.cut_short.map_or(0, |pid| pid.saturating_add(1));
        Some(walked)
    }
}

#[cfg(test)]
mod tests;

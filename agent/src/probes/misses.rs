//! Calls that the kernel kept from the programs.
//!
//! The kernel does not run a program on a CPU where the same program was interrupted or, on a preemptible kernel,
//! preempted (`bpf_prog.active`); what it would have seen is missing. The kernel counts that for each program
//! (`recursion_misses`, since 5.12; before, there is nothing of the kind).

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::OnceLock,
};

use aya::programs::Program;

use super::fdinfo;

/// The kernel's count of some programs.
#[derive(Debug)]
pub(super) struct Counted(Vec<OwnedFd>);

impl Counted {
    /// Those of loaded programs.
    pub(super) fn of<'a>(programs: impl Iterator<Item = &'a Program>) -> Self {
        let fds = programs.filter_map(|program| {
            let fd = program.fd().ok()?;
            fd.as_fd().try_clone_to_owned().ok()
        });
        Self(fds.collect())
    }

    fn count(&self) -> u64 {
        self.0
            .iter()
            .filter_map(|fd| fdinfo(fd.as_raw_fd(), "recursion_misses:"))
            .sum()
    }
}

/// What no program of a tap saw.
#[derive(Debug)]
pub struct Misses {
    flow: Counted,
    /// Those on accept(2) and connect(2), which have no spares.
    socket_calls: Counted,
    first: Counted,
    /// Once the spares are attached: what the first programs had missed then, and the spares.
    spares: OnceLock<(u64, Counted)>,
}

impl Misses {
    pub(super) fn new(flow: Counted, socket_calls: Counted, first: Counted) -> Self {
        Self {
            flow,
            socket_calls,
            first,
            spares: OnceLock::new(),
        }
    }

    /// Changes of a socket's state that were not seen; at most, for the programs before the last may have seen some.
    pub fn flows(&self) -> u64 {
        self.flow.count()
    }

    /// I/O calls that were not seen; once the spares are attached at most, for the first programs may have seen some.
    pub fn calls(&self) -> u64 {
        match self.spares.get() {
            Some((before, spares)) => before + spares.count(),
            None => self.of_first(),
        }
    }

    /// Returns of accept(2) and connect(2) that were not seen.
    pub fn socket_calls(&self) -> u64 {
        self.socket_calls.count()
    }

    /// I/O calls that the first programs did not see.
    pub(super) fn of_first(&self) -> u64 {
        self.first.count()
    }

    /// From now on a miss of the first programs is no loss.
    pub(super) fn spares_attached(&self, spares: Counted) {
        // Only the first time counts.
        let _ = self.spares.set((self.of_first(), spares));
    }
}

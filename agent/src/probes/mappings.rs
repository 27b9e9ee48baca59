//! What processes map to run: the programs and libraries in memory now, and each that is mapped later, without looking through /proc over and over.
//!
//! The kernel reports each executable mapping, exec, fork and exit through one perf event on each CPU ([`Mappings`]); it is the way in which perf(1) learns where code is.
//! What was mapped before comes from one walk over /proc ([`sweep`]): open the events first, then sweep, so that nothing falls between the two. [`Files`] opens
//! what was mapped, once for each file.
//!
//! *Minimum kernel version*: 4.1 for all of it (`PERF_COUNT_SW_DUMMY`, `mmap2`, `comm_exec`). It needs `CAP_PERFMON` (5.8) or `CAP_SYS_ADMIN`, or `kernel.perf_event_paranoid` of 0 or less.

use std::{
    fmt, io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::util::online_cpus;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event as Ready, EventData, EventFlags},
};

mod files;
mod records;
mod ring;
mod sweep;

pub use files::{Files, OpenError};
pub use records::{Code, Event, Malformed, Mapped, parse};
pub use sweep::sweep;

use ring::Ring;

use super::ring::RingReader;

/// What tells the other ring's call for attention from those of the mappings, which have 0.
const OTHER: u64 = 1;

/// Why the kernel's events can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Which CPUs there are is unknown.
    #[error("the CPUs that are online ({file}): {error}")]
    Cpus {
        /// The file that says so.
        file: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The event was refused.
    #[error(
        "a perf event for mappings on CPU {cpu}: {error}; it needs CAP_PERFMON (CAP_SYS_ADMIN before 5.8), or kernel.perf_event_paranoid of 0 or less"
    )]
    Open {
        /// On which CPU.
        cpu: u32,
        /// What the kernel said.
        error: io::Error,
    },
    /// Its ring buffer was refused.
    #[error(
        "a ring of {bytes} bytes for mappings on CPU {cpu}: {error}; kernel.perf_event_mlock_kb limits it without CAP_IPC_LOCK"
    )]
    Ring {
        /// On which CPU.
        cpu: u32,
        /// Its size.
        bytes: usize,
        /// What the kernel said.
        error: io::Error,
    },
    /// No way to wait.
    #[error("waiting for mappings: {0}")]
    Wait(io::Error),
}

/// How many records there were, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were read, those that mean nothing to us (a library's data, a thread's new name) included.
    pub records: u64,
    /// Records that the kernel had no room for, as far as it has said so: it does when there is room again.
    pub lost: u64,
    /// Records that contradict their format.
    pub malformed: u64,
}

/// The kernel's word on what is mapped from now on. Dropping it ends that.
pub struct Mappings {
    rings: Vec<Ring>,
    attention: OwnedFd,
    /// One record; here so that it is not allocated each time.
    record: Vec<u8>,
    counts: Counts,
}

impl fmt::Debug for Mappings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mappings")
            .field("rings", &self.rings.len())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Mappings {
    /// Listens on each CPU that is online, with a ring of `bytes` for each (rounded up to a power of two of at least a page). A record of a mapping has
    /// about 120 bytes, and starting a program of ten libraries makes about fifteen. A CPU that comes online later is not heard.
    ///
    /// # Errors
    /// When the kernel refuses the events, mostly for want of privileges.
    pub fn open(bytes: usize) -> Result<Self, Error> {
        let cpus = online_cpus().map_err(|(file, error)| Error::Cpus { file, error })?;
        let attention =
            epoll::create(CreateFlags::CLOEXEC).map_err(|error| Error::Wait(error.into()))?;
        let mut rings = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let ring = match Ring::open(cpu, bytes) {
                // It went offline a moment ago.
                Err(Error::Open { error, .. }) if error.raw_os_error() == Some(libc::ENODEV) => {
                    continue;
                }
                ring => ring?,
            };
            // The kernel says once for each filling of a quarter that a ring wants to be read, so this does not return again and again.
            epoll::add(
                &attention,
                ring.as_fd(),
                EventData::new_u64(0),
                EventFlags::IN,
            )
            .map_err(|error| Error::Wait(error.into()))?;
            rings.push(ring);
        }
        Ok(Self {
            rings,
            attention,
            record: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Hands what is there to `f` with the time when it happened (`CLOCK_MONOTONIC`, nanoseconds), at most `max` records of each CPU; returns how many records were read. The
    /// order is each CPU's own: a process that moves between CPUs may be seen to exit before it is seen to start, unless its records are put in the order of their times.
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(u64, Event<'_>)) -> usize {
        self.drain_records(max, |at_ns, event, _| f(at_ns, event))
    }

    /// As [`Self::drain`], with the record as well: it outlives the call where it is copied, and [`parse`] makes the event of it again.
    pub fn drain_records(&mut self, max: usize, mut f: impl FnMut(u64, Event<'_>, &[u8])) -> usize {
        let mut read = 0;
        for ring in &mut self.rings {
            for _ in 0..max {
                match ring.next(&mut self.record) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Malformed) => {
                        self.counts.malformed += 1;
                        break;
                    }
                }
                read += 1;
                let parsed = records::time(&self.record)
                    .and_then(|at_ns| Ok(parse(&self.record)?.map(|event| (at_ns, event))));
                match parsed {
                    Ok(event) => {
                        if let Some((_, Event::Lost(lost))) = event {
                            self.counts.lost += lost;
                        } else {
                            self.counts.records += 1;
                        }
                        if let Some((at_ns, event)) = event {
                            f(at_ns, event, &self.record);
                        }
                    }
                    Err(Malformed) => self.counts.malformed += 1,
                }
            }
            ring.release();
        }
        read
    }

    /// How many records there were.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Sleeps until a ring is a quarter full, or another one asks for attention ([`Self::wakes_for`]), but no longer than `timeout`. Returns whether the other
    /// one did.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut events = [Ready {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; 8];
        match epoll::wait(&self.attention, &mut events, Some(&timeout)) {
            Ok(ready) => Ok(events[..ready]
                .iter()
                .any(|ready| ready.data.u64() == OTHER)),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// From now on [`Self::wait`] ends when a ring of samples asks for attention, too. That one is to live as long as this one is waited for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wakes_for(&self, samples: &RingReader) -> io::Result<()> {
        let events = EventFlags::IN | EventFlags::ET;
        let other = EventData::new_u64(OTHER);
        Ok(epoll::add(
            &self.attention,
            samples.ring_fd(),
            other,
            events,
        )?)
    }

    /// Bytes of the process's address space that the rings take.
    pub fn mapped_bytes(&self) -> u64 {
        self.rings
            .iter()
            .map(|ring| ring.mapped_bytes() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests;

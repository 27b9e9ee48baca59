//! Reading a ring buffer on a timer.

use std::{
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    param::page_size,
};

/// One ring buffer's consumer.
pub struct RingReader {
    ring: RingBuf<MapData>,
    bytes: usize,
    /// Edge-triggered: a ring that merely holds something is no reason to wake up, one whose producer asks for it is.
    /// poll(2) would not wait at all on a ring that is never empty for long.
    attention: OwnedFd,
}

impl fmt::Debug for RingReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingReader")
    }
}

impl RingReader {
    /// A consumer of a ring of `bytes`.
    pub(super) fn new(ring: RingBuf<MapData>, bytes: usize) -> io::Result<Self> {
        let attention = epoll::create(CreateFlags::CLOEXEC)?;
        // SAFETY: the ring owns the descriptor, and outlives the call.
        let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        epoll::add(
            &attention,
            fd,
            EventData::new_u64(0),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            ring,
            bytes,
            attention,
        })
    }

    /// Bytes of the process's address space that the ring takes: its data twice, so that no record has a seam, and a page for
    /// each side's position.
    pub fn mapped_bytes(&self) -> u64 {
        (2 * self.bytes + 2 * page_size()) as u64
    }

    /// Hands each record that is there to `f`, at most `max`; returns how many.
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(&[u8])) -> usize {
        let mut read = 0;
        while read < max
            && let Some(record) = self.ring.next()
        {
            f(&record);
            read += 1;
        }
        read
    }

    /// From now on [`RingReader::wait`] ends when the other ring asks for attention, too. The other one is to live as long as this one is waited for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn wakes_for(&self, other: &Self) -> io::Result<()> {
        // SAFETY: the ring owns the descriptor, and outlives the call.
        let fd = unsafe { BorrowedFd::borrow_raw(other.ring.as_raw_fd()) };
        let events = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(
            &self.attention,
            fd,
            EventData::new_u64(1),
            events,
        )?)
    }

    /// The ring's descriptor, to wait for together with others.
    pub(super) fn ring_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor, and the borrow ends before it.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Sleeps until the ring asks for attention because it fills up, but no longer than `timeout`.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }];
        match epoll::wait(&self.attention, &mut events, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

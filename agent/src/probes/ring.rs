//! Reading a ring buffer on a timer.

use std::{
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One ring buffer's consumer.
pub struct RingReader {
    ring: RingBuf<MapData>,
}

impl fmt::Debug for RingReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingReader")
    }
}

impl RingReader {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
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

    /// Sleeps until the ring asks for attention because it fills up, but no longer than `timeout`.
    ///
    /// # Errors
    /// When the kernel refuses to poll.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        // SAFETY: the ring owns the descriptor, and outlives the call.
        let fd = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

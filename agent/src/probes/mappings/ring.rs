//! One CPU's perf event and its ring buffer (perf_event_open(2), "mmap layout").

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::param::page_size;

use super::{Error, Malformed};

/// `struct perf_event_attr` as it was in its fourth version (`PERF_ATTR_SIZE_VER3`), which holds all that is asked for, and which every kernel since 4.1 takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clock: i32,
}

const TYPE_SOFTWARE: u32 = 1;
/// Counts nothing: it is there for the records.
const COUNT_SW_DUMMY: u64 = 9;

/// Bits of [`Attributes::flags`]: records of mappings, of new names, of forks and exits; wake-ups by bytes and not by samples; a time in each
/// record; the file's inode in the records of mappings; a mark on names that are new because of an exec; the clock is the one that is named.
const MMAP: u64 = 1 << 8;
const COMM: u64 = 1 << 9;
const TASK: u64 = 1 << 13;
const WATERMARK: u64 = 1 << 14;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const MMAP2: u64 = 1 << 23;
const COMM_EXEC: u64 = 1 << 24;
const USE_CLOCK: u64 = 1 << 25;

/// `PERF_SAMPLE_TIME`: what `SAMPLE_ID_ALL` adds to each record.
const SAMPLE_TIME: u64 = 1 << 2;

const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// Where in the first page the kernel says up to where it has written, and the reader up to where it has read (`struct perf_event_mmap_page`).
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// The smallest record: its header.
const HEADER: usize = 8;

pub(super) struct Ring {
    event: OwnedFd,
    /// The page of positions, and `size` bytes of data behind it.
    base: NonNull<u8>,
    size: usize,
    /// Up to where records were read. Behind it the kernel may write as soon as [`Ring::release`] says so.
    tail: u64,
}

// SAFETY: the mapping belongs to this value alone, and no thread has a claim on it.
unsafe impl Send for Ring {}

impl Ring {
    pub(super) fn open(cpu: u32, bytes: usize) -> Result<Self, Error> {
        let size = bytes.clamp(page_size(), 1 << 30).next_power_of_two();
        let attributes = Attributes {
            kind: TYPE_SOFTWARE,
            size: size_of::<Attributes>() as u32,
            config: COUNT_SW_DUMMY,
            sample_type: SAMPLE_TIME,
            flags: MMAP | COMM | TASK | WATERMARK | SAMPLE_ID_ALL | MMAP2 | COMM_EXEC | USE_CLOCK,
            wakeup: (size / 4) as u32,
            // That of kernel programs (`bpf_ktime_get_ns`), so that records and samples can be put in order.
            clock: libc::CLOCK_MONOTONIC,
            ..Attributes::default()
        };
        let event =
            perf_event_open(&attributes, cpu).map_err(|error| Error::Open { cpu, error })?;
        let failed = |error| Error::Ring {
            cpu,
            bytes: size,
            error,
        };
        // SAFETY: a new mapping of a descriptor that is open, wherever the kernel likes.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page_size() + size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(failed(io::Error::last_os_error()));
        }
        let base = NonNull::new(base.cast())
            .ok_or_else(|| failed(io::Error::other("mapped at address 0")))?;
        Ok(Self {
            event,
            base,
            size,
            tail: 0,
        })
    }

    pub(super) fn mapped_bytes(&self) -> usize {
        page_size() + self.size
    }

    /// Copies the next record to `into`; whether there was one. What contradicts itself is skipped with all that is behind it, as nothing says where the next record begins.
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Malformed> {
        // The kernel writes a record, and then the new head: whoever sees the head sees the record.
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        let available = head.wrapping_sub(self.tail);
        if available == 0 {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        self.copy(&mut header);
        let length = u16::from_ne_bytes([header[6], header[7]]);
        if usize::from(length) < HEADER
            || u64::from(length) > available
            || available > self.size as u64
        {
            self.tail = head;
            return Err(Malformed);
        }
        into.resize(usize::from(length), 0);
        self.copy(into);
        self.tail = self.tail.wrapping_add(u64::from(length));
        Ok(true)
    }

    /// Gives the room of what was read back to the kernel.
    pub(super) fn release(&self) {
        // After all reads of the records.
        self.position(DATA_TAIL).store(self.tail, Ordering::Release);
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: within the first page, aligned, and shared with the kernel, which uses it as an atomic number, too.
        unsafe { self.base.add(offset).cast::<AtomicU64>().as_ref() }
    }

    /// Copies bytes from the tail on, around the ring's end. `into` is no longer than the ring.
    fn copy(&self, into: &mut [u8]) {
        let length = into.len().min(self.size);
        let start = (self.tail % self.size as u64) as usize;
        let first = length.min(self.size - start);
        // SAFETY: the data is `size` bytes behind the first page. Both parts lie within it, and the kernel does not write to what is between tail and head.
        unsafe {
            let data = self.base.as_ptr().add(page_size());
            ptr::copy_nonoverlapping(data.add(start), into.as_mut_ptr(), first);
            ptr::copy_nonoverlapping(data, into.as_mut_ptr().add(first), length - first);
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.mapped_bytes());
        }
    }
}

fn perf_event_open(attributes: &Attributes, cpu: u32) -> io::Result<OwnedFd> {
    let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
    let (every_process, no_group): (libc::pid_t, libc::c_int) = (-1, -1);
    // SAFETY: the attributes live through the call, and their size is the one that they say.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            ptr::from_ref(attributes),
            every_process,
            cpu,
            no_group,
            FLAG_FD_CLOEXEC,
        )
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    let event = i32::try_from(event).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(event) })
}

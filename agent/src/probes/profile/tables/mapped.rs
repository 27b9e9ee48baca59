//! An array map of the kernel's, in this process's memory: reads and writes are no system calls.
//!
//! *Minimum kernel version*: 5.5 (`BPF_F_MMAPABLE`).

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
};

use fathom_abi::unwind::{CHUNK_ROWS, Chunk, Page, Row, Rule, Segment};
use rustix::param::page_size;

/// A type whose values are bytes that may be anything.
///
/// # Safety
/// `#[repr(C)]` or transparent, without padding or pointers, any bits are valid, and its size is a multiple of eight: so the entries of an array map lie next
/// to each other (`array_map_alloc` in kernel/bpf/arraymap.c).
pub(super) unsafe trait Plain: Copy {}

// SAFETY: the ABI's tests hold each of them to that.
unsafe impl Plain for Chunk {}
// SAFETY: as above.
unsafe impl Plain for Page {}
// SAFETY: as above.
unsafe impl Plain for Rule {}
// SAFETY: as above.
unsafe impl Plain for Segment {}

/// The entries of an array map.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    base: NonNull<T>,
    entries: u32,
    _values: PhantomData<T>,
}

// SAFETY: the memory belongs to this value, and no thread has a claim on it.
unsafe impl<T: Plain> Send for Mapped<T> {}

impl<T: Plain> Mapped<T> {
    /// Maps an array map of `entries` values of `T`. It lives as long as its memory is mapped, with or without the descriptor.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn new(map: BorrowedFd<'_>, entries: u32) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 8) };
        // SAFETY: a new mapping of a descriptor that is open, wherever the kernel likes; it refuses one that is longer than the map.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length::<T>(entries),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self {
            base,
            entries,
            _values: PhantomData,
        })
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes of the address space that it takes; all of them are resident.
    pub(super) fn bytes(&self) -> u64 {
        length::<T>(self.entries) as u64
    }

    /// An entry; `None` behind the last one.
    pub(super) fn get(&self, index: u32) -> Option<T> {
        // SAFETY: within the mapping; nobody but this value writes there, as the programs only read.
        (index < self.entries).then(|| unsafe { self.base.add(index as usize).read_volatile() })
    }

    /// Replaces an entry, and returns whether there is one. A program that reads it meanwhile may see a part of each: entries are written
    /// before anything points at them.
    pub(super) fn set(&mut self, index: u32, value: T) -> bool {
        let is_there = index < self.entries;
        if is_there {
            // SAFETY: within the mapping, which no reference points into.
            unsafe { self.base.add(index as usize).write_volatile(value) };
        }
        is_there
    }
}

impl Mapped<Chunk> {
    /// One row of a chunk, of which not all is read; `None` where there is none.
    pub(super) fn row(&self, index: u32, within: usize) -> Option<Row> {
        if index >= self.entries || within >= CHUNK_ROWS {
            return None;
        }
        let first = self.base.cast::<Row>();
        // SAFETY: within the mapping, as in `get`; a chunk is its rows.
        Some(unsafe {
            first
                .add(index as usize * CHUNK_ROWS + within)
                .read_volatile()
        })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and not used any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), length::<T>(self.entries)) };
    }
}

fn length<T>(entries: u32) -> usize {
    (size_of::<T>() * entries as usize).next_multiple_of(page_size())
}

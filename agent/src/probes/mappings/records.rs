//! The records of the kernel's events (`enum perf_event_type` in `include/uapi/linux/perf_event.h`).

/// `PERF_RECORD_…`.
const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const FORK: u32 = 7;
const MMAP2: u32 = 10;

/// `PERF_RECORD_MISC_…`.
const COMM_EXEC: u16 = 1 << 13;
const MMAP_BUILD_ID: u16 = 1 << 14;

const PROT_EXEC: u32 = 4;

/// Something that happened to a process. Processes are named by their number (tgid) in the pid namespace of whoever opened the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file was mapped to be executed.
    Mapped(Mapped<'a>),
    /// Memory that no file is behind became executable.
    Code(Code),
    /// A process runs another program now.
    Exec {
        /// Which process.
        pid: u32,
        /// The kernel's name of it: up to 15 bytes.
        comm: &'a [u8],
    },
    /// A process was made, as a copy of another: it has mapped what that has.
    Forked {
        /// Which process.
        pid: u32,
        /// The one that it is a copy of.
        parent: u32,
    },
    /// A process's first thread ended, and with it nearly always the process.
    Exited {
        /// Which process.
        pid: u32,
    },
    /// So many records found no room. What they said is unknown: [`super::sweep`] finds what is there still.
    Lost(u64),
}

/// A file that is mapped to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// The process.
    pub pid: u32,
    /// The thread that mapped it; as `pid` where that is unknown.
    pub tid: u32,
    /// Where it is mapped.
    pub address: u64,
    /// How many bytes.
    pub length: u64,
    /// From where in the file.
    pub file_offset: u64,
    /// The device of the file's inode, major and minor number. As the kernel knows it: on overlayfs, btrfs and others stat(2) says something else.
    pub device: (u32, u32),
    /// The inode's number.
    pub inode: u64,
    /// The inode's generation, which changes as a number is used again; unknown from [`super::sweep`].
    pub generation: Option<u64>,
    /// Its path as the process sees it, perhaps with ` (deleted)` behind it. `/memfd:…` is a file without a path.
    pub path: &'a [u8],
}

/// Executable memory that no file is behind. The kernel says so again, for the whole of it, when its protection changes (mprotect(2)), as compilers do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The process.
    pub pid: u32,
    /// Where it is.
    pub address: u64,
    /// How many bytes.
    pub length: u64,
    /// Whether it is the kernel's code in user space, vdso(7).
    pub is_vdso: bool,
}

/// A record contradicts its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of perf that contradicts its format")]
pub struct Malformed;

/// One record, from its header on; nothing where it says nothing that anybody here asks for.
///
/// # Errors
/// When it is cut short.
pub fn parse(record: &[u8]) -> Result<Option<Event<'_>>, Malformed> {
    let kind = u32_at(record, 0)?;
    let misc = u16_at(record, 4)?;
    let body = record.get(8..).ok_or(Malformed)?;
    match kind {
        MMAP2 => mapped(misc, body),
        COMM if misc & COMM_EXEC != 0 => Ok(Some(Event::Exec {
            pid: u32_at(body, 0)?,
            comm: until_nul(body.get(8..).ok_or(Malformed)?),
        })),
        FORK | EXIT => {
            let (pid, parent) = (u32_at(body, 0)?, u32_at(body, 4)?);
            let tid = u32_at(body, 8)?;
            Ok(match kind {
                // A new thread has its own process for a parent.
                FORK if pid != parent => Some(Event::Forked { pid, parent }),
                EXIT if pid == tid => Some(Event::Exited { pid }),
                _ => None,
            })
        }
        LOST => u64_at(body, 8).map(|lost| Some(Event::Lost(lost))),
        _ => Ok(None),
    }
}

/// When a record was written, by `CLOCK_MONOTONIC` in nanoseconds: its last eight bytes, as [`super::ring`] asks for a time in each (`sample_id_all`).
///
/// # Errors
/// When it is shorter than that.
pub(super) fn time(record: &[u8]) -> Result<u64, Malformed> {
    let at = record.len().checked_sub(8).ok_or(Malformed)?;
    u64_at(record, at.max(8))
}

fn mapped(misc: u16, body: &[u8]) -> Result<Option<Event<'_>>, Malformed> {
    let mapped = Mapped {
        pid: u32_at(body, 0)?,
        tid: u32_at(body, 4)?,
        address: u64_at(body, 8)?,
        length: u64_at(body, 16)?,
        file_offset: u64_at(body, 24)?,
        device: (u32_at(body, 32)?, u32_at(body, 36)?),
        inode: u64_at(body, 40)?,
        generation: Some(u64_at(body, 48)?),
        path: until_nul(body.get(64..).ok_or(Malformed)?),
    };
    let executable = u32_at(body, 56)? & PROT_EXEC != 0;
    // With a build id in the place of the inode (nobody asked for it), it is unknown which file it is.
    if !executable || misc & MMAP_BUILD_ID != 0 {
        return Ok(None);
    }
    if mapped.inode != 0 {
        return Ok(Some(Event::Mapped(mapped)));
    }
    // The kernel names what has no file: `//anon`, `[heap]`, `[vdso]`, `[uprobes]`.
    Ok(Some(Event::Code(Code {
        pid: mapped.pid,
        address: mapped.address,
        length: mapped.length,
        is_vdso: mapped.path == b"[vdso]",
    })))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end]
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.copied().ok_or(Malformed)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Malformed> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests;

//! What can go wrong between an address and its name.

use std::{io, sync::Arc};

/// Why something could not be read or understood. Each says which file, and which part of it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A part of a file could not be read.
    #[error("{file}: reading {what}: {cause}")]
    Read {
        /// The file.
        file: String,
        /// The part.
        what: &'static str,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// A file could not be written.
    #[error("{file}: writing it: {cause}")]
    Write {
        /// The file.
        file: String,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// What lies in a folder can't be trusted.
    #[error(
        "{file}: it belongs to another user, or others may write to it: give it to this one and take away their right (chmod go-w)"
    )]
    Unsafe {
        /// The folder.
        file: String,
    },
    /// The file is no ELF file.
    #[error("{file}: not an ELF file")]
    NotElf {
        /// The file.
        file: String,
    },
    /// The file is of a kind that no unwind tables are made for.
    #[error(
        "{file}: {found}: unwind tables are made for executables and shared objects of x86-64 and aarch64"
    )]
    NotUnwindable {
        /// The file.
        file: String,
        /// What it is instead.
        found: String,
    },
    /// A part contradicts itself or the file.
    #[error("{file}: {what}: {why}")]
    Malformed {
        /// The file.
        file: String,
        /// The part.
        what: &'static str,
        /// The contradiction.
        why: String,
    },
    /// A part is larger than the caller wants to hold.
    #[error("{file}: {what} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// The part.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// As many files are open as may be, and all of them are in use.
    #[error("{file}: not read, as {limit} files are open already: allow more of them")]
    TooManyFiles {
        /// The file.
        file: String,
        /// How many may be open.
        limit: usize,
    },
    /// Whoever was asked for a debug file could not tell whether there is one.
    #[error("the debug file of {build_id}: {cause}")]
    Elsewhere {
        /// The build id, in hexadecimal.
        build_id: String,
        /// What went wrong.
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel shows no addresses to this process.
    #[error(
        "{file}: every address is zero: the kernel hides them; set the sysctl kernel.kptr_restrict to 0 or 1 and run with CAP_SYSLOG"
    )]
    Restricted {
        /// The file.
        file: String,
    },
    /// The path leads to another file than the one that is mapped, which was replaced since.
    #[error("{file}: was replaced since it was mapped, and the mapped one is out of reach")]
    Replaced {
        /// The file.
        file: String,
    },
    /// The mapping has no regular file behind it.
    #[error("{file}: not a regular file")]
    NotRegular {
        /// The file, or what stands in its place.
        file: String,
    },
}

impl Error {
    pub(crate) fn read(file: &str, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Read {
            file: file.to_owned(),
            what,
            cause: Arc::new(cause),
        }
    }

    pub(crate) fn malformed(file: &str, what: &'static str, why: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            what,
            why: why.into(),
        }
    }
}

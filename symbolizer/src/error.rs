//! What can go wrong between an address and its name.

use std::io;

/// Why something could not be read or understood. Each says which file, and which part of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of a file could not be read.
    #[error("{file}: reading {what}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The part.
        what: &'static str,
        /// What the system said.
        source: io::Error,
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
        move |source| Self::Read {
            file: file.to_owned(),
            what,
            source,
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

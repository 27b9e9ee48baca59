//! What came of looking for what samples lead to: processes' mappings and files, and of telling the kernel's program.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that was looked for, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A process's mappings were read from /proc.
    ProcessRead,
    /// They were to be read, and the process was gone or out of reach.
    ProcessUnreadable,
    /// What was known of a process was forgotten to stay within the limit; it is read again when it is asked for.
    ProcessForgotten,
    /// A process had too many mappings for one more.
    RegionsFull,
    /// A file was opened through a process that has it mapped.
    FileOpened,
    /// A file was opened by its path, as its process was gone.
    FileByPath,
    /// A file could not be opened.
    FileUnreachable,
    /// A process's mappings were put into the maps of the kernel's program.
    Published,
    /// A process was taken out of these, as others needed the room.
    PublishedEvicted,
    /// A process found no room in these, or was refused.
    PublishFailed,
    /// A process's perf map is there, and named nothing of what was sampled of it in a window.
    PerfMapUnused,
}

impl Lookup {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::ProcessRead,
        Self::ProcessUnreadable,
        Self::ProcessForgotten,
        Self::RegionsFull,
        Self::FileOpened,
        Self::FileByPath,
        Self::FileUnreachable,
        Self::Published,
        Self::PublishedEvicted,
        Self::PublishFailed,
        Self::PerfMapUnused,
    ];

    /// The value of the attribute `outcome`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ProcessRead => "process_read",
            Self::ProcessUnreadable => "process_unreadable",
            Self::ProcessForgotten => "process_forgotten",
            Self::RegionsFull => "regions_full",
            Self::FileOpened => "file_opened",
            Self::FileByPath => "file_by_path",
            Self::FileUnreachable => "file_unreachable",
            Self::Published => "published",
            Self::PublishedEvicted => "published_evicted",
            Self::PublishFailed => "publish_failed",
            Self::PerfMapUnused => "perf_map_unused",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct LookupCounts([AtomicU64; Lookup::ALL.len()]);

impl LookupCounts {
    /// How often.
    pub(super) fn of(&self, lookup: Lookup) -> u64 {
        self.0[lookup as usize].load(Relaxed)
    }

    /// Gives out each outcome with its count.
    pub fn each(&self, give: &mut dyn FnMut(&'static str, u64)) {
        for lookup in Lookup::ALL {
            give(lookup.name(), self.of(lookup));
        }
    }

    pub(super) fn add(&self, lookup: Lookup) {
        self.0[lookup as usize].fetch_add(1, Relaxed);
    }
}

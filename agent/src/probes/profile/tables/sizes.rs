//! How large the maps of the unwinder are, from a limit in bytes.

use fathom_abi::unwind::{CHUNK_ROWS, Chunk, Page, Rule, Segment, Space};

/// The kernel's memory for one entry of a preallocated hash map, beside key and value (`struct htab_elem`, and its share of the buckets).
const HASH_ENTRY: u64 = 48 + 16;

/// A key and a value of `SPACES`.
const SPACE: u64 = 8 + size_of::<Space>() as u64 + HASH_ENTRY;

/// More rules than the files of a machine have.
const MAX_RULES: u64 = 16_384;

/// Entries of each map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows, of which pages take [`CHUNK_ROWS`] or a multiple.
    pub rows: u32,
    /// Pages of 64 KiB of files' code.
    pub pages: u32,
    /// Executable mappings.
    pub segments: u32,
    /// Processes.
    pub processes: u32,
    /// Rules.
    pub rules: u32,
}

impl Sizes {
    /// The least that is of use: enough for a few small programs.
    pub const LEAST_BYTES: u64 = 1 << 20;

    /// Where nothing is unwound.
    pub const NONE: Self = Self {
        rows: 0,
        pages: 0,
        segments: 0,
        processes: 0,
        rules: 0,
    };

    /// Sizes whose sum stays within `bytes`, brought up to [`Sizes::LEAST_BYTES`]: rows take all that the others leave, about eight tenths.
    pub fn within(bytes: u64) -> Self {
        let bytes = bytes.max(Self::LEAST_BYTES);
        let entries = |part: u64, size: usize| count(bytes / part / size as u64);
        let mut sizes = Self {
            rows: 0,
            pages: entries(24, size_of::<Page>()),
            segments: entries(16, size_of::<Segment>()),
            processes: count((bytes / 24 / SPACE).min(32_768)),
            rules: count((bytes / 24 / size_of::<Rule>() as u64).min(MAX_RULES)),
        };
        let left = bytes.saturating_sub(sizes.bytes());
        // An index of a row has 32 bits.
        let chunks =
            (left / size_of::<Chunk>() as u64).min(u64::from(u32::MAX) / CHUNK_ROWS as u64);
        sizes.rows = count(chunks * CHUNK_ROWS as u64);
        sizes
    }

    /// Bytes of memory that maps of these sizes take, roughly.
    pub fn bytes(&self) -> u64 {
        let of = |entries: u32, size: u64| u64::from(entries) * size;
        of(self.rows, 4)
            + of(self.pages, size_of::<Page>() as u64)
            + of(self.segments, size_of::<Segment>() as u64)
            + of(self.processes, SPACE)
            + of(self.rules, size_of::<Rule>() as u64)
    }

    /// Chunks of rows.
    pub(in crate::probes::profile) fn chunks(&self) -> u32 {
        self.rows / CHUNK_ROWS as u32
    }
}

fn count(entries: u64) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_within_every_limit_and_most_of_it_is_rows() {
        for mebibytes in [1, 2, 4, 12, 16, 64, 1024] {
            let bytes = mebibytes << 20;
            let sizes = Sizes::within(bytes);
            assert!(sizes.bytes() <= bytes, "{mebibytes}: {sizes:?}");
            assert!(sizes.bytes() > bytes / 100 * 99, "{mebibytes}: {sizes:?}");
            assert!(u64::from(sizes.rows) * 4 > bytes / 10 * 8, "{sizes:?}");
            assert_eq!(sizes.chunks() * CHUNK_ROWS as u32, sizes.rows);
        }
        assert_eq!(Sizes::within(0), Sizes::within(Sizes::LEAST_BYTES));
    }

    #[test]
    fn twelve_mebibytes_are_enough_for_a_busy_node() {
        let sizes = Sizes::within(12 << 20);
        // Text of half a GiB, which has more rows than there is room for; 200 processes of 60 libraries each, and some that come and go.
        assert!(sizes.pages >= 8192, "{sizes:?}");
        assert!(sizes.segments >= 200 * 60, "{sizes:?}");
        assert!(sizes.processes >= 2000, "{sizes:?}");
        assert_eq!(u64::from(sizes.rules), MAX_RULES);
    }
}

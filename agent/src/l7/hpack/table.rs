//! The dynamic table (RFC 7541 section 2.3.2), of which an observer may know only the newest part.
//!
//! Indices count from the newest entry. So whatever was in the table before this observer came, and however large the table
//! is, the n-th newest insertion that was seen has index n for as long as the encoder may refer to it. Sizes decide only when
//! an entry can no longer be meant, which a right encoder knows itself: here they bound the memory, and tell a wrong
//! reference from one to an entry that was not seen.

use std::collections::VecDeque;

use super::name::Name;

/// RFC 9113 section 6.5.2: the size that a table starts with.
const INITIAL: u32 = 4096;
/// What is held of a table, however large its encoder made it.
pub const MAX_HELD: u32 = 64 << 10;
/// RFC 7541 section 4.1: what an entry counts beside its texts.
const OVERHEAD: u32 = 32;

pub(super) struct Entry {
    pub(super) name: Name,
    /// Bytes of the name; a lower bound where it is unknown.
    pub(super) name_length: u32,
    /// Bytes of the value; a lower bound where it was too long to be read.
    pub(super) value_length: u32,
    /// The value, of a name that is read.
    pub(super) value: Option<Box<[u8]>>,
}

impl Entry {
    fn size(&self) -> u32 {
        OVERHEAD
            .saturating_add(self.name_length)
            .saturating_add(self.value_length)
    }
}

pub(super) struct Table {
    /// Newest first.
    entries: VecDeque<Entry>,
    /// The sizes of these.
    size: u32,
    /// The size that the encoder keeps to, where it is known.
    capacity: Option<u32>,
    /// No entry is missing: an index behind the last one means nothing.
    whole: bool,
}

/// An index that no right encoder would send.
#[derive(Debug)]
pub(super) struct NoSuchEntry;

impl Table {
    /// The table of a connection that is seen from its start.
    pub(super) fn empty() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            capacity: Some(INITIAL),
            whole: true,
        }
    }

    /// A table that holds nobody knows what.
    pub(super) fn unknown() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            capacity: None,
            whole: false,
        }
    }

    /// The entry at `index`, which starts at zero; none where it may be one that was not seen.
    pub(super) fn get(&self, index: u32) -> Result<Option<&Entry>, NoSuchEntry> {
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| self.entries.get(index));
        match entry {
            None if self.whole => Err(NoSuchEntry),
            entry => Ok(entry),
        }
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(size);
        if size <= self.limit() {
            self.size += size;
            self.entries.push_front(entry);
        } else {
            // Section 4.4: one that is larger than the table only empties it.
            self.whole = self.capacity.is_some_and(|capacity| size > capacity);
        }
    }

    /// The encoder changed the size that it keeps to.
    pub(super) fn resize(&mut self, capacity: u32) {
        self.capacity = Some(capacity);
        self.evict(0);
        if capacity < OVERHEAD {
            self.whole = true;
        }
    }

    fn limit(&self) -> u32 {
        self.capacity
            .map_or(MAX_HELD, |capacity| capacity.min(MAX_HELD))
    }

    fn evict(&mut self, room_for: u32) {
        let limit = self.limit();
        while self.size.saturating_add(room_for) > limit
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.size();
            // The encoder has dropped this one, too, and all that were older; or it has not, and it is missed.
            self.whole = self.capacity.is_some_and(|capacity| capacity <= MAX_HELD);
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, u32) {
        (self.entries.len(), self.size)
    }
}

//! One process's executable memory.

use std::sync::Arc;

use super::MappedFile;

/// The most regions of one process. Compilers' memory is joined where it lies side by side, so that this many are rarely seen.
const MAX_REGIONS: usize = 8192;

/// The executable memory of a process, by address.
#[derive(Clone, Debug, Default)]
pub(in crate::profile) struct Space {
    regions: Vec<Region>,
}

/// Executable memory of one kind, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::profile) struct Region {
    /// Its first address.
    pub(in crate::profile) start: u64,
    /// The address behind its last.
    pub(in crate::profile) end: u64,
    /// Where in the file it starts; 0 without one.
    pub(in crate::profile) offset: u64,
    /// What is there.
    pub(in crate::profile) backing: Backing,
}

/// What is behind a region.
#[derive(Clone, Debug)]
pub(in crate::profile) enum Backing {
    /// A file. Files that are the same are the same `Arc`, as long as anybody has one.
    File(Arc<MappedFile>),
    /// The kernel's code in user space.
    Vdso,
    /// Memory without a file: what a compiler made.
    Anonymous,
}

impl PartialEq for Backing {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => Arc::ptr_eq(one, other),
            (Self::Vdso, Self::Vdso) | (Self::Anonymous, Self::Anonymous) => true,
            _ => false,
        }
    }
}

impl Eq for Backing {}

impl Space {
    /// What is at an address.
    pub(in crate::profile) fn find(&self, address: u64) -> Option<&Region> {
        let behind = self.behind(address);
        let region = self.regions.get(behind.checked_sub(1)?)?;
        (address < region.end).then_some(region)
    }

    /// All of it, in the order of addresses.
    pub(in crate::profile) fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Adds a region, which covers what was there before; `false` where there are too many already.
    pub(super) fn map(&mut self, region: Region) -> bool {
        if region.start >= region.end {
            return true;
        }
        let first = self.regions.partition_point(|old| old.end <= region.start);
        let last = self.regions.partition_point(|old| old.start < region.end);
        let covered = &self.regions[first..last];
        let before = covered
            .first()
            .filter(|old| old.start < region.start)
            .map(|old| Region {
                end: region.start,
                ..old.clone()
            });
        let after = covered
            .last()
            .filter(|old| old.end > region.end)
            .map(|old| Region {
                start: region.end,
                offset: old.offset_of(region.end),
                ..old.clone()
            });
        let parts = [before, Some(region), after];
        let count = parts.iter().flatten().count();
        if self.regions.len() - covered.len() + count > MAX_REGIONS {
            return false;
        }
        self.regions
            .splice(first..last, parts.into_iter().flatten());
        // What has come together: only around the new parts.
        for index in (first.saturating_sub(1)..first + count).rev() {
            self.join(index);
        }
        true
    }

    /// Makes one of a region and the next where they go on from one to the other.
    fn join(&mut self, index: usize) {
        let Some([left, right]) = self.regions.get(index..index + 2) else {
            return;
        };
        let is_one = left.end == right.start
            && left.backing == right.backing
            && match &left.backing {
                Backing::File(_) => left.offset_of(left.end) == right.offset,
                Backing::Vdso => false,
                Backing::Anonymous => true,
            };
        if is_one {
            let end = right.end;
            self.regions[index].end = end;
            self.regions.remove(index + 1);
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.regions.capacity() * size_of::<Region>()
    }

    fn behind(&self, address: u64) -> usize {
        self.regions
            .partition_point(|region| region.start <= address)
    }
}

impl Region {
    /// The offset in the file of an address in it.
    pub(in crate::profile) fn offset_of(&self, address: u64) -> u64 {
        match self.backing {
            Backing::File(_) => self.offset.wrapping_add(address.wrapping_sub(self.start)),
            Backing::Vdso | Backing::Anonymous => 0,
        }
    }
}

//! The kernel programs' list of Go programs: what they serve goes by goroutine there (`ebpf-programs/src/worker.rs`).

use aya::maps::{HashMap, MapData, MapError};

/// The list.
#[derive(Debug)]
pub struct GoProcesses(pub(super) HashMap<MapData, u32, u8>);

impl GoProcesses {
    /// How many it holds.
    pub const CAPACITY: u32 = 1024;

    /// A process is a Go program.
    ///
    /// # Errors
    /// When the list is full.
    pub fn insert(&mut self, tgid: u32) -> Result<(), MapError> {
        self.0.insert(tgid, 1, 0)
    }

    /// What has its number now may be none.
    pub fn remove(&mut self, tgid: u32) {
        // Not there where it had found no room.
        let _ = self.0.remove(&tgid);
    }
}

#[cfg(test)]
impl GoProcesses {
    /// A list that no program reads; none where the kernel gives none, for want of privileges.
    pub fn alone() -> Option<Self> {
        let form =
            aya_obj::Map::new_from_params(aya::maps::MapType::Hash as u32, 4, 1, Self::CAPACITY, 0);
        let map = MapData::create(form, "GO_PROCESSES", None).ok()?;
        HashMap::try_from(aya::maps::Map::HashMap(map))
            .ok()
            .map(Self)
    }

    /// Whether a process is on it.
    pub fn has(&self, tgid: u32) -> bool {
        self.0.get(&tgid, 0).is_ok()
    }
}

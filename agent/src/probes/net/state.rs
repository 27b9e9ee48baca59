//! What user space reads of the object: the kernel's memory of connections, and the counters.

use std::fmt;

use aya::maps::{HashMap, MapData, PerCpuArray};
use fathom_abi::{
    ConnectionId,
    counters::NetCounter,
    message::{ConnectionState, Told},
    udp::{UdpFlow, UdpKey},
};

use crate::probes::sizes::FRAMINGS_SIZE;

/// The kernel's memory of each connection.
#[derive(Debug)]
pub struct Connections {
    pub(super) map: HashMap<MapData, u64, ConnectionRecord>,
    pub(super) capacity: u32,
}

/// A value of `FRAMINGS`, which is the kernel programs' alone.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct FramingsRecord([u8; FRAMINGS_SIZE]);

// SAFETY: bytes.
unsafe impl aya::Pod for FramingsRecord {}

/// [`ConnectionState`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct ConnectionRecord(ConnectionState);

// SAFETY: `#[repr(C)]`, no padding and no pointer (the ABI's tests hold it to that), any bits are valid.
unsafe impl aya::Pod for ConnectionRecord {}

impl Connections {
    /// How many they can know.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Whether the kernel's programs know a connection.
    pub fn has(&self, id: ConnectionId) -> bool {
        self.get(id.sock)
            .is_some_and(|state| state.born_ns == id.born_ns)
    }

    /// Connections that are over, and of which the process took what was left. The whole table is read.
    pub fn over(&self) -> Vec<ConnectionId> {
        let entries = self.map.iter().filter_map(Result::ok);
        entries
            .filter(|(_, record)| record.0.told == Told::OVER)
            .map(|(sock, record)| ConnectionId {
                sock,
                born_ns: record.0.born_ns,
            })
            .collect()
    }

    /// What the kernel knows of a sock; `None` when it is gone.
    pub fn get(&self, sock: u64) -> Option<ConnectionState> {
        self.map.get(&sock, 0).ok().map(|record| record.0)
    }
}

/// Who speaks to whom over UDP, and how much.
#[derive(Debug)]
pub struct UdpFlows {
    pub(super) map: HashMap<MapData, KeyRecord, FlowRecord>,
    pub(super) capacity: u32,
}

/// [`UdpKey`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct KeyRecord(UdpKey);

// SAFETY: as for `ConnectionRecord`.
unsafe impl aya::Pod for KeyRecord {}

/// [`UdpFlow`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct FlowRecord(UdpFlow);

// SAFETY: as for `ConnectionRecord`.
unsafe impl aya::Pod for FlowRecord {}

impl UdpFlows {
    /// Each entry that has begun. One that another program makes or removes meanwhile may be missing or come twice.
    pub fn read(&self) -> impl Iterator<Item = (UdpKey, UdpFlow)> {
        self.map
            .iter()
            .filter_map(|entry| entry.ok().map(|(key, flow)| (key.0, flow.0)))
            .filter(|(_, flow)| flow.born_ns != 0)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &UdpKey) {
        // It may be gone by now.
        let _ = self.map.remove(&KeyRecord(*key));
    }

    /// How many entries there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }
}

/// What the programs counted.
pub struct Counters(pub(super) PerCpuArray<MapData, u64>);

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read()).finish()
    }
}

impl Counters {
    /// One counter's sum over all CPUs, since the object was loaded.
    pub fn get(&self, counter: NetCounter) -> u64 {
        let values = self.0.get(&(counter as u32), 0);
        values.map_or(0, |values| values.iter().sum())
    }

    /// Each counter's sum over all CPUs, since the object was loaded.
    pub fn read(&self) -> Vec<(NetCounter, u64)> {
        NetCounter::ALL
            .iter()
            .map(|&counter| (counter, self.get(counter)))
            .collect()
    }
}

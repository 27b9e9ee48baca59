//! The object's maps. The loader sets their sizes from the memory budget; the sizes here are for none.
//!
//! Hash maps are preallocated: their memory is declared when they are made, and no program allocates while it stands in
//! the way of a watched one.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use fathom_abi::{
    counters::NetCounter,
    message::{ConnectionState, MAX_CAPTURE, MessageEvent},
    sample::ActiveExchange,
};

use crate::kernel;

/// Records of flows.
#[map]
pub static FLOWS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Records of messages.
#[map]
pub static MESSAGES: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Every connection that was seen and is open, by its sock.
#[map]
pub static CONNECTIONS: HashMap<u64, ConnectionState> = HashMap::with_max_entries(1, 0);

/// Listening sockets' processes, by [`ListenerKey`].
#[map]
pub static LISTENERS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(1024, 0);

/// The agent's own outgoing connections, by their ports as the accepting end sees them.
#[map]
pub static OWN_PORTS: HashMap<PortPair, u8> = HashMap::with_max_entries(64, 0);

/// I/O calls between entry and return, by `pid_tgid` (the taps that see the buffer only at entry).
#[map]
pub static INFLIGHT: HashMap<u64, Inflight> = HashMap::with_max_entries(1, 0);

/// The exchange that a thread is serving, by `pid_tgid`. The profiler reads it.
#[map]
pub static ACTIVE: HashMap<u64, ActiveExchange> = HashMap::with_max_entries(1, 0);

/// By [`NetCounter`].
#[map]
pub static NET_COUNTERS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(NetCounter::ALL.len() as u32, 0);

/// A record under construction, one for each direction and each turn: two programs that use the same one never run on a CPU
/// at the same time.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(4, 0);

/// A listening socket's name that its children share.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ListenerKey {
    /// The network namespace (`struct net`'s address).
    pub net: u64,
    /// The port, in host byte order.
    pub port: u32,
    /// Zero.
    pub reserved: u32,
}

/// Two ports in host byte order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct PortPair {
    /// Of the accepting end.
    pub local: u16,
    /// Of the agent's end.
    pub remote: u16,
}

/// An I/O call that has not returned yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Inflight {
    /// Its sock.
    pub sock: u64,
    /// Where its first bytes lie in user memory; 0 for nowhere.
    pub buffer: u64,
    /// Bytes there.
    pub len: u64,
}

/// A record of `MESSAGES` with room for its bytes.
#[repr(C)]
pub struct Scratch {
    /// The header.
    pub event: MessageEvent,
    /// The bytes. Twice the bound, so that the verifier sees every masked length fit.
    pub data: [u8; MAX_CAPTURE * 2],
}

/// Counts one.
#[inline(always)]
pub fn count(counter: NetCounter) {
    kernel::count(&NET_COUNTERS, counter as u32);
}

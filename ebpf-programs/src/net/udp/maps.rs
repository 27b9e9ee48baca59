//! The maps of UDP. Their sizes come from the loader, as those of all maps.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, LruHashMap, RingBuf},
};
use fathom_abi::udp::{UdpFlow, UdpKey, UdpSock};

/// Who speaks to whom, and how much. User space reads it, and removes what is idle.
#[map]
pub static UDP_FLOWS: HashMap<UdpKey, UdpFlow> = HashMap::with_max_entries(1, 0);

/// Sockets that datagrams went through, by their sock. Nothing tells of their ends.
#[map]
pub static UDP_SOCKS: LruHashMap<u64, UdpSock> = LruHashMap::with_max_entries(1, 0);

/// Datagrams of DNS clients. A ring of its own: a flood of names leaves the other signals alone.
#[map]
pub static DNS: RingBuf = RingBuf::with_byte_size(4096, 0);

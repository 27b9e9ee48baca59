//! What went by over UDP since the last look: the kernel's table `UDP_FLOWS` to differences.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fathom_abi::{
    Role,
    udp::{RemoteClass, UdpFlow, UdpKey},
};

/// For how long an entry may stay in the kernel's table while nothing goes by. A datagram that goes by while its entry is taken out, within
/// microseconds after so long an idle time, is in no count.
const IDLE_NS: u64 = 60_000_000_000;

/// The same while the table is nearly full.
const SCARCE_NS: u64 = 5_000_000_000;

/// What a process sent to and received from one other end, or as a server from all that have the same class of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The process (initial pid namespace).
    pub tgid: u32,
    /// The process's name when it began, padded with zeros.
    pub comm: [u8; 16],
    /// Client or server.
    pub role: Role,
    /// The port that a server serves on; 0 of a client.
    pub local_port: u16,
    /// The other end's address, where this one is a client and it is known.
    pub remote: Option<IpAddr>,
    /// Its port; 0 where it is not known or ephemeral.
    pub remote_port: u16,
    /// What kind of an address it has.
    pub class: RemoteClass,
    /// Whether a packet was seen that starts a QUIC connection.
    pub is_quic: bool,
    /// When something went by last: `CLOCK_MONOTONIC`, nanoseconds.
    pub last_ns: u64,
    /// Payload bytes received and sent since the last look.
    pub bytes: [u64; 2],
    /// Datagrams received and sent since the last look.
    pub packets: [u64; 2],
}

impl Traffic {
    /// The other end with its port, where both are known.
    pub fn peer(&self) -> Option<SocketAddr> {
        let remote = self.remote?;
        (self.remote_port != 0).then(|| SocketAddr::new(remote, self.remote_port))
    }
}

/// What was read so far of the kernel's table.
pub struct Udp {
    capacity: usize,
    known: HashMap<UdpKey, Known>,
    looks: u64,
    counts: Arc<UdpCounts>,
}

/// An entry of the kernel's table.
struct Known {
    /// What it said when it was looked at last.
    flow: UdpFlow,
    /// In which look that was.
    look: u64,
    /// What the other end was called when it was first known. A conversation goes on longer than its name's TTL.
    name: Option<Arc<str>>,
}

/// What came out of the table.
#[derive(Debug, Default)]
pub struct UdpCounts {
    packets: AtomicU64,
}

impl UdpCounts {
    /// Datagrams that were handed on.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }
}

impl Udp {
    /// The kernel's table has room for so many entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            known: HashMap::new(),
            looks: 0,
            counts: Arc::default(),
        }
    }

    /// What came out of the table so far; stays current.
    pub fn counts(&self) -> Arc<UdpCounts> {
        Arc::clone(&self.counts)
    }

    /// Hands on what went by since the last look, each with the place for the other end's name, which stays as long as the entry. Returns the entries that are idle, which are to be taken out of the kernel's table.
    pub fn look(
        &mut self,
        entries: impl Iterator<Item = (UdpKey, UdpFlow)>,
        now_ns: u64,
        emit: &mut impl FnMut(&Traffic, &mut Option<Arc<str>>),
    ) -> Vec<UdpKey> {
        self.looks += 1;
        let look = self.looks;
        for (key, flow) in entries {
            // One that was taken out and made again starts anew; so does what a hostile kernel would say of it.
            let before = self
                .known
                .remove(&key)
                .filter(|Known { flow: before, .. }| {
                    before.born_ns == flow.born_ns
                        && before.packets[0] <= flow.packets[0]
                        && before.packets[1] <= flow.packets[1]
                });
            let (before, mut name) =
                before.map_or_else(Default::default, |known| (known.flow, known.name));
            let traffic = traffic(&key, &flow, &before);
            let packets = traffic.packets[0].saturating_add(traffic.packets[1]);
            if packets > 0 {
                self.counts.packets.fetch_add(packets, Relaxed);
                emit(&traffic, &mut name);
            }
            self.known.insert(key, Known { flow, look, name });
        }
        // Those that are gone from the table.
        self.known.retain(|_, known| known.look == look);
        let is_scarce = self.known.len() > self.capacity / 4 * 3;
        let idle_ns = if is_scarce { SCARCE_NS } else { IDLE_NS };
        self.known
            .iter()
            .filter(|(_, known)| known.flow.last_ns.saturating_add(idle_ns) < now_ns)
            .map(|(key, _)| *key)
            .collect()
    }
}

fn traffic(key: &UdpKey, flow: &UdpFlow, before: &UdpFlow) -> Traffic {
    let since = |now: [u64; 2], then: [u64; 2]| {
        [
            now[0].saturating_sub(then[0]),
            now[1].saturating_sub(then[1]),
        ]
    };
    let is_known = key.remote_addr != [0; 16];
    Traffic {
        tgid: key.tgid,
        comm: flow.comm,
        role: key.role,
        local_port: key.local_port,
        remote: is_known.then(|| IpAddr::V6(Ipv6Addr::from(key.remote_addr)).to_canonical()),
        remote_port: key.remote_port,
        class: if is_known {
            RemoteClass::of(&key.remote_addr)
        } else {
            key.class
        },
        is_quic: flow.quic != 0,
        last_ns: flow.last_ns,
        bytes: since(flow.bytes, before.bytes),
        packets: since(flow.packets, before.packets),
    }
}

#[cfg(test)]
mod tests;

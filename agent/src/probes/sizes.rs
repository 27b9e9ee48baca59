//! Map sizes from a memory budget.

/// The kernel's memory for one entry of a preallocated hash map, beside key and value (`struct htab_elem`, and its
/// share of the buckets).
const HASH_ENTRY: u64 = 48 + 16;

/// How large the `net` object's maps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetSizes {
    /// Bytes of the ring of message records.
    pub messages: u32,
    /// Bytes of the ring of flow records.
    pub flows: u32,
    /// Connections that can be open at the same time.
    pub connections: u32,
    /// I/O calls that can be under way at the same time (the taps that need it).
    pub inflight: u32,
    /// Threads that can serve an exchange at the same time.
    pub active: u32,
    /// Connections that can pipeline or speak HTTP/2 at the same time.
    pub framings: u32,
    /// Calls of TLS libraries that can be under way at the same time.
    pub tls_calls: u32,
    /// TLS libraries' objects that can be open at the same time.
    pub tls_objects: u32,
    /// Threads that move bytes between sockets and such objects themselves.
    pub tls_threads: u32,
    /// Connections of Go's HTTP clients, of which it is known for which goroutine a request is sent.
    pub go_connections: u32,
    /// Relations of a process and a remote over UDP that are remembered at the same time.
    pub udp_flows: u32,
    /// UDP sockets that are remembered.
    pub udp_socks: u32,
    /// Bytes of the ring of DNS messages.
    pub dns: u32,
}

/// A key and a value of the calls of TLS libraries.
const TLS_CALL: u64 = 16 + 48 + HASH_ENTRY;

/// A key and a value of their objects.
const TLS_OBJECT: u64 = 16 + 32 + HASH_ENTRY + 16;

/// A key and a value of the threads that move bytes between sockets and objects themselves.
const TLS_THREAD: u64 = 8 + 16 + HASH_ENTRY + 16;

/// A key and a value of the goroutine that writes on such a connection, and of the one that has asked.
const GO_CONNECTION: u64 = 2 * (16 + 8 + HASH_ENTRY + 16);

/// A key and a value of such a relation.
const UDP_FLOW: u64 = size_of_u64::<fathom_abi::udp::UdpKey>()
    + size_of_u64::<fathom_abi::udp::UdpFlow>()
    + HASH_ENTRY;

/// A key and a value of such a socket.
const UDP_SOCK: u64 = 8 + size_of_u64::<fathom_abi::udp::UdpSock>() + HASH_ENTRY + 16;

/// A connection whose bytes travel (`Framings` of the kernel programs): the two directions, and when it began.
pub(super) const FRAMINGS_SIZE: usize = 2 * 80 + 8;

/// Their entry in the map.
const FRAMING: u64 = 8 + FRAMINGS_SIZE as u64 + HASH_ENTRY;

impl NetSizes {
    /// Sizes whose sum stays within `budget` bytes, which is at least 2 MiB.
    pub fn within(budget: u64) -> Self {
        let budget = budget.max(2 << 20);
        let inflight = 8 + 40 + HASH_ENTRY;
        let active = 16 + size_of_u64::<fathom_abi::sample::ActiveExchange>() + HASH_ENTRY;
        let mut sizes = Self {
            messages: power_of_two_below(budget / 3),
            flows: power_of_two_below(budget / 12),
            connections: 0,
            inflight: entries(budget / 32 / inflight, 16_384),
            active: entries(budget / 32 / active, 16_384),
            framings: entries(budget / 32 / FRAMING, 16_384),
            tls_calls: entries(budget / 64 / TLS_CALL, 16_384),
            tls_objects: entries(budget / 64 / TLS_OBJECT, 65_536),
            tls_threads: entries(budget / 256 / TLS_THREAD, 4096),
            go_connections: entries(budget / 128 / GO_CONNECTION, 16_384),
            udp_flows: entries(budget / 64 / UDP_FLOW, 16_384),
            udp_socks: entries(budget / 64 / UDP_SOCK, 16_384),
            dns: power_of_two_below(budget / 64),
        };
        // A connection that finds no room is not seen at all, so they get whatever is left.
        let left = budget.saturating_sub(sizes.declared_bytes());
        sizes.connections = entries(left / connection(), 1 << 20);
        sizes
    }

    /// Whose memory this is, roughly: the kernel's own figure is read after the maps were made.
    pub fn declared_bytes(&self) -> u64 {
        u64::from(self.messages)
            + u64::from(self.flows)
            + u64::from(self.connections) * connection()
            + u64::from(self.inflight) * (48 + HASH_ENTRY)
            + u64::from(self.framings) * FRAMING
            + u64::from(self.tls_calls) * TLS_CALL
            + u64::from(self.tls_objects) * TLS_OBJECT
            + u64::from(self.tls_threads) * TLS_THREAD
            + u64::from(self.go_connections) * GO_CONNECTION
            + u64::from(self.udp_flows) * UDP_FLOW
            + u64::from(self.udp_socks) * UDP_SOCK
            + u64::from(self.dns)
            + u64::from(self.active) * (40 + HASH_ENTRY)
    }
}

/// A connection's entry.
fn connection() -> u64 {
    8 + size_of_u64::<fathom_abi::message::ConnectionState>() + HASH_ENTRY
}

const fn size_of_u64<T>() -> u64 {
    size_of::<T>() as u64
}

fn entries(wanted: u64, at_most: u32) -> u32 {
    u32::try_from(wanted)
        .unwrap_or(u32::MAX)
        .clamp(256, at_most)
}

/// The kernel wants a ring's size to be a power of two of pages.
fn power_of_two_below(bytes: u64) -> u32 {
    let bytes = u32::try_from(bytes).unwrap_or(1 << 31).max(64 << 10);
    1 << bytes.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_within_every_budget_and_grow_with_it() {
        let mut before = 0;
        for mebibytes in [2, 4, 8, 16, 20, 32, 64, 256, 4096, 65_536] {
            let budget = mebibytes << 20;
            let sizes = NetSizes::within(budget);
            assert!(sizes.declared_bytes() <= budget, "{mebibytes}: {sizes:?}");
            assert!(sizes.declared_bytes() >= before);
            assert!(sizes.messages.is_power_of_two() && sizes.flows.is_power_of_two());
            before = sizes.declared_bytes();
        }
    }

    #[test]
    fn a_hundred_thousand_connections_fit_into_little() {
        let sizes = NetSizes::within(40 << 20);
        assert!(sizes.connections >= 100_000, "{sizes:?}");
        assert!(100_000 * connection() < 24 << 20);
    }
}

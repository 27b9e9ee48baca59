//! How a connection does: `struct tcp_info` of `linux/tcp.h`.

use super::diag::State;
use crate::net::netlink::{u32_at, u64_at};

/// Up to the end of `tcpi_total_retrans`: all that the oldest kernels give.
const SHORTEST: usize = 104;

/// What the kernel says of a connection. The struct grows at its end; what a kernel does not give is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Its state.
    pub state: State,
    /// The smoothed round-trip time, in microseconds; none where none was measured.
    pub rtt_us: Option<u32>,
    /// The shortest round-trip time of the last minutes (`net.ipv4.tcp_min_rtt_wlen`), in microseconds; none where none was measured.
    pub min_rtt_us: Option<u32>,
    /// Segments that were sent again.
    pub total_retransmits: u32,
    /// Bytes that the other end has acknowledged. The kernel counts sequence numbers, of which a SYN and a FIN of this end have one each.
    pub bytes_acked: Option<u64>,
    /// Bytes that were sent, those that were sent again among them (Linux 4.19).
    pub bytes_sent: Option<u64>,
    /// Bytes that were sent again (Linux 4.19).
    pub bytes_retransmitted: Option<u64>,
    /// Bytes that came in, in order; a FIN counts as one.
    pub bytes_received: Option<u64>,
    /// Segments that were sent.
    pub segments_sent: Option<u32>,
    /// Segments that came in.
    pub segments_received: Option<u32>,
}

impl TcpInfo {
    /// Reads the struct, of whatever length; none where it is too short to be one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SHORTEST {
            return None;
        }
        Some(Self {
            state: State::of(*bytes.first()?),
            rtt_us: u32_at(bytes, 68).filter(|&rtt| rtt != 0),
            // Before the first measurement all bits are set.
            min_rtt_us: u32_at(bytes, 148).filter(|&rtt| rtt != u32::MAX && rtt != 0),
            total_retransmits: u32_at(bytes, 100)?,
            bytes_acked: u64_at(bytes, 120),
            bytes_sent: u64_at(bytes, 200),
            bytes_retransmitted: u64_at(bytes, 208),
            bytes_received: u64_at(bytes, 128),
            segments_sent: u32_at(bytes, 136),
            segments_received: u32_at(bytes, 140),
        })
    }
}

#[cfg(test)]
mod tests;

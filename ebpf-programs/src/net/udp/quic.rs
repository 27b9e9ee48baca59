//! QUIC, by its first packets.

use fathom_abi::udp::UdpFlow;

use super::message::Message;

/// What a datagram with a connection's first packet has at least (RFC 9000 section 14.1).
const INITIAL: u64 = 1200;

/// Large datagrams of an entry that are looked at.
const LOOKS: u32 = 1024;

/// A long header with the fixed bit (RFC 9000 section 17.2; RFC 9369 changes only the types).
const LONG: u8 = 0xc0;

/// Versions 1 (RFC 9000) and 2 (RFC 9369).
const VERSIONS: [u32; 2] = [0x0000_0001, 0x6b33_43cf];

/// The longest connection id of these versions (RFC 9000 section 17.2).
const MAX_ID: u8 = 20;

/// Looks whether a datagram starts as a QUIC packet with a long header does, and notes it in its entry.
#[inline(always)]
pub fn look(flow: &mut UdpFlow, bytes: u64, message: &Message) {
    if flow.quic != 0 || bytes < INITIAL || flow.looked >= LOOKS {
        return;
    }
    flow.looked += 1;
    let [first, a, b, c, d, id_length] = message.first_bytes();
    let version = u32::from_be_bytes([a, b, c, d]);
    if first & LONG == LONG
        && (version == VERSIONS[0] || version == VERSIONS[1])
        && id_length <= MAX_ID
    {
        flow.quic = 1;
    }
}

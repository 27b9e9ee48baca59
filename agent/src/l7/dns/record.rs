//! The records of the ring `DNS`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use fathom_abi::{message::Direction, udp::DnsEvent};

use crate::net::wire::Wire;

/// A datagram to or from a DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The socket (`struct sock`'s address).
    pub sock: u64,
    /// When it went by: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// The process (initial pid namespace).
    pub tgid: u32,
    /// The process's name then, padded with zeros.
    pub comm: [u8; 16],
    /// The server; of an answer on a socket that is not connected the one that was asked last.
    pub server: SocketAddr,
    /// Whether this node's end has sent it.
    pub is_sent: bool,
    /// Its first bytes; all of them but for what a record has no room for.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads one record; `None` where it is too short or says neither direction.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut wire = Wire::new(bytes);
        let event = DnsEvent {
            sock: wire.u64()?,
            at_ns: wire.u64()?,
            tgid: wire.u32()?,
            tid: wire.u32()?,
            bytes: wire.u32()?,
            captured: wire.u16()?,
            remote_port: wire.u16()?,
            remote_addr: wire.bytes()?,
            direction: Direction(wire.u8()?),
            remembered: wire.u8()?,
            reserved: wire.bytes()?,
            comm: wire.bytes()?,
        };
        let is_sent = match event.direction {
            Direction::SENT => true,
            Direction::RECEIVED => false,
            _ => return None,
        };
        let ip = IpAddr::V6(Ipv6Addr::from(event.remote_addr)).to_canonical();
        Some(Self {
            sock: event.sock,
            at_ns: event.at_ns,
            tgid: event.tgid,
            comm: event.comm,
            server: SocketAddr::new(ip, event.remote_port),
            is_sent,
            payload: wire.rest().get(..usize::from(event.captured))?,
        })
    }
}

/// A record as the kernel program writes it, for tests.
pub fn encode(event: &DnsEvent, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<DnsEvent>() + payload.len());
    bytes.extend(event.sock.to_ne_bytes());
    bytes.extend(event.at_ns.to_ne_bytes());
    bytes.extend(event.tgid.to_ne_bytes());
    bytes.extend(event.tid.to_ne_bytes());
    bytes.extend(event.bytes.to_ne_bytes());
    bytes.extend(event.captured.to_ne_bytes());
    bytes.extend(event.remote_port.to_ne_bytes());
    bytes.extend(event.remote_addr);
    bytes.extend([event.direction.0, event.remembered]);
    bytes.extend(event.reserved);
    bytes.extend(event.comm);
    bytes.extend(payload);
    bytes
}

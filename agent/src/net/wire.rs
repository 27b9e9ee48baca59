//! Reads the fixed part of a kernel record, field by field, without `unsafe`: a record that is too short is `None`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use fathom_abi::{ConnectionId, Endpoints};

/// What is left of a record.
pub(crate) struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    /// The next `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }

    pub(crate) fn connection(&mut self) -> Option<ConnectionId> {
        Some(ConnectionId {
            sock: self.u64()?,
            born_ns: self.u64()?,
        })
    }

    pub(crate) fn endpoints(&mut self) -> Option<Endpoints> {
        Some(Endpoints {
            local_addr: self.bytes()?,
            remote_addr: self.bytes()?,
            local_port: self.u16()?,
            remote_port: self.u16()?,
            ip_version: self.u8()?,
            reserved: self.bytes()?,
        })
    }

    /// What follows the fields that were read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A connection's two ends, this node's first. IPv4 addresses come out as such, whatever the family of the socket.
pub fn addresses(endpoints: &Endpoints) -> (SocketAddr, SocketAddr) {
    let ip = |octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
    (
        SocketAddr::new(ip(endpoints.local_addr), endpoints.local_port),
        SocketAddr::new(ip(endpoints.remote_addr), endpoints.remote_port),
    )
}

//! The types that fathom's kernel programs and its agent share, and nothing else.
//!
//! Every type is `#[repr(C)]`, has no implicit padding and no pointer, and holds integers in the
//! machine's own byte order. Times are nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
//! A change of any layout or meaning here increases [`VERSION`]; the objects carry it as the
//! global `ABI_VERSION`, and the loader refuses an object of another version.

#![no_std]
#![forbid(unsafe_code)]

pub mod counters;
pub mod flow;
pub mod message;
pub mod offsets;
pub mod sample;
pub mod signal_frame;
pub mod udp;
pub mod unwind;

/// The version of everything in this crate.
pub const VERSION: u32 = 14;

/// A connection's two ends. IPv4 addresses are held as IPv4-mapped IPv6 addresses (RFC 4291
/// section 2.5.5.2); ports are in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Endpoints {
    /// The address of this node's end, in network byte order.
    pub local_addr: [u8; 16],
    /// The address of the other end, in network byte order.
    pub remote_addr: [u8; 16],
    /// The port of this node's end.
    pub local_port: u16,
    /// The port of the other end.
    pub remote_port: u16,
    /// 4 or 6: the family of the socket; 0 while unknown.
    pub ip_version: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Names one connection for as long as the agent runs: a socket's address in the kernel is used
/// again, the pair is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectionId {
    /// The `struct sock`'s address.
    pub sock: u64,
    /// When fathom first saw it.
    pub born_ns: u64,
}

impl ConnectionId {
    /// Whether its bytes are those of a TLS library's calls ([`message::PLAIN_TEXT`]).
    #[must_use]
    pub const fn is_plain_text(&self) -> bool {
        self.sock & message::PLAIN_TEXT != 0
    }
}

/// Which end opened the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Role(pub u8);

impl Role {
    /// The connection was open before fathom started.
    pub const UNKNOWN: Self = Self(0);
    /// This end connected.
    pub const CLIENT: Self = Self(1);
    /// This end accepted.
    pub const SERVER: Self = Self(2);
}

#[cfg(test)]
mod tests;

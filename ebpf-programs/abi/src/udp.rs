//! What the taps say of UDP: bytes and packets by process and remote, in the map `UDP_FLOWS`, and the datagrams of DNS clients, in
//! the ring `DNS`.

use crate::{Role, message::Direction};

/// Ports from here on are drawn for sockets that ask for none (the start of Linux's default `net.ipv4.ip_local_port_range`). A remote port of
/// the kind says nothing of what is spoken there.
pub const EPHEMERAL: u16 = 32_768;

/// The port of DNS servers (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// Bytes of a DNS message that one record can carry: what DNS over UDP is kept to today (the EDNS buffer size of 1,232 bytes); without EDNS the
/// bound is 512 (RFC 1035 section 4.2.1).
pub const MAX_DNS: usize = 1232;

/// What kind of an address the other end has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct RemoteClass(pub u8);

impl RemoteClass {
    /// The address is not known.
    pub const UNKNOWN: Self = Self(0);
    /// This host (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3).
    pub const LOOPBACK: Self = Self(1);
    /// A private or shared network (RFC 1918, RFC 6598, RFC 4193).
    pub const PRIVATE: Self = Self(2);
    /// This link (RFC 3927, RFC 4291 section 2.5.6).
    pub const LINK_LOCAL: Self = Self(3);
    /// Several hosts: multicast (RFC 5771, RFC 4291 section 2.7), and the limited broadcast (RFC 919).
    pub const MULTICAST: Self = Self(4);
    /// Any other.
    pub const PUBLIC: Self = Self(5);

    /// That of an address in network byte order, IPv4 as IPv4-mapped IPv6.
    #[must_use]
    #[inline(always)]
    pub const fn of(address: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let low = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
        if high == 0 && low >> 32 == 0xffff {
            return Self::of_v4(low as u32);
        }
        match (high, a, b) {
            // The unspecified address leads to this host.
            (0, ..) if low <= 1 => Self::LOOPBACK,
            (_, 0xff, _) => Self::MULTICAST,
            (_, 0xfe, 0x80..=0xbf) => Self::LINK_LOCAL,
            (_, 0xfc | 0xfd, _) => Self::PRIVATE,
            _ => Self::PUBLIC,
        }
    }

    #[inline(always)]
    const fn of_v4(address: u32) -> Self {
        match address >> 16 {
            0x7f00..=0x7fff => Self::LOOPBACK,
            0x0a00..=0x0aff | 0xac10..=0xac1f | 0xc0a8 | 0x6440..=0x647f => Self::PRIVATE,
            0xa9fe => Self::LINK_LOCAL,
            0xe000..=0xefff => Self::MULTICAST,
            _ if address == u32::MAX => Self::MULTICAST,
            _ if address == 0 => Self::LOOPBACK,
            _ => Self::PUBLIC,
        }
    }

    /// The name that metrics carry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LOOPBACK => "loopback",
            Self::PRIVATE => "private",
            Self::LINK_LOCAL => "link-local",
            Self::MULTICAST => "multicast",
            Self::PUBLIC => "public",
            _ => "unknown",
        }
    }
}

/// A key of `UDP_FLOWS`: who speaks to whom. There is no ephemeral port in it, so that a table's size is that of the relations and not
/// of the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UdpKey {
    /// The process.
    pub tgid: u32,
    /// The port that a server serves on; 0 of a client.
    pub local_port: u16,
    /// The port that a client speaks to; 0 of a server, where it is not known, and where it is ephemeral.
    pub remote_port: u16,
    /// The address that a client speaks to, as in [`crate::Endpoints`]; zeros of a server, and where it is not known.
    pub remote_addr: [u8; 16],
    /// Client or server.
    pub role: Role,
    /// What kind of an address a server's other end has; unknown of a client, whose key holds the address.
    pub class: RemoteClass,
    /// Zero.
    pub reserved: [u8; 6],
}

/// A value of `UDP_FLOWS`: what went by since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UdpFlow {
    /// When it was made.
    pub born_ns: u64,
    /// When something went by last.
    pub last_ns: u64,
    /// Payload bytes received and sent, in this order.
    pub bytes: [u64; 2],
    /// Datagrams, in the same order. One I/O call is one, also where the kernel cuts it into several (`UDP_SEGMENT`, `UDP_GRO`).
    pub packets: [u64; 2],
    /// 1 once a packet was seen that starts a QUIC connection.
    pub quic: u32,
    /// Datagrams that were looked at for that.
    pub looked: u32,
    /// The process's name (`comm`) when the entry was made, padded with zeros.
    pub comm: [u8; 16],
}

/// The header of a record of the ring `DNS`: a datagram to or from port 53 of another end. `captured` bytes of it follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DnsEvent {
    /// The `struct sock`'s address.
    pub sock: u64,
    /// When the I/O call returned.
    pub at_ns: u64,
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// Bytes of the datagram.
    pub bytes: u32,
    /// Bytes of it that follow, at most [`MAX_DNS`].
    pub captured: u16,
    /// The other end's port.
    pub remote_port: u16,
    /// The other end's address, as in [`crate::Endpoints`].
    pub remote_addr: [u8; 16],
    /// Which way it went.
    pub direction: Direction,
    /// 1 where the other end is not known, and is taken to be the one that the socket has sent to last.
    pub remembered: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// The process's name (`comm`), padded with zeros.
    pub comm: [u8; 16],
}

/// A memory of a socket, as the kernel programs keep it in `UDP_SOCKS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UdpSock {
    /// Where it has sent to last; zeros for nowhere.
    pub last_addr: [u8; 16],
    /// The array of the call that moves several messages.
    pub array: u64,
    /// Threads of which one of two programs on an event has taken a call, received and sent.
    pub taken: [u32; 2],
    /// The thread of that call.
    pub array_tid: u32,
    /// How many of its messages were moved.
    pub index: u32,
    /// The thread whose call an inner function has taken already.
    pub inner_tid: u32,
    /// Where it has sent to last; 0 for nowhere.
    pub last_port: u16,
    /// Its own port: a sock's address is used again.
    pub local_port: u16,
    /// Which end it is.
    pub role: Role,
    /// Zero.
    pub reserved: [u8; 7],
}

//! What the kernel's socket monitoring says (sock_diag(7), `linux/inet_diag.h`): requests to bytes, bytes to sockets.
//!
//! Two fixed structs and three attributes are all that is needed of netlink here; the crates that speak it parse each socket into a list of owned attributes,
//! of which none is looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::info::TcpInfo;
use crate::net::netlink::{
    self, HEADER, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, attribute, i32_at, u32_at,
};

/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Bytes of `struct inet_diag_msg`.
const SOCKET: usize = 72;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct tcp_info`.
const INET_DIAG_INFO: u16 = 2;
/// What the socket's buffers hold, as an array of 32-bit numbers.
const INET_DIAG_SKMEMINFO: u16 = 7;
/// The place of the drops in that array (`linux/sock_diag.h`).
const SK_MEMINFO_DROPS: usize = 8;
/// Only IPv6 (`IPV6_V6ONLY`); of listening sockets.
const INET_DIAG_SKV6ONLY: u16 = 11;
const IPPROTO_TCP: u8 = 6;

/// The address family of a socket. One of IPv6 may carry IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// A state of RFC 9293, numbered as `net/tcp_states.h` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State(u8);

impl State {
    /// Both ends may send.
    pub const ESTABLISHED: Self = Self(1);
    /// connect(2) was called, and nobody has answered.
    pub const SYN_SENT: Self = Self(2);
    /// This end has closed, and the other has not heard of it.
    pub const FIN_WAIT1: Self = Self(4);
    /// This end has closed, and the other may still send.
    pub const FIN_WAIT2: Self = Self(5);
    /// The other end has closed, and this one may still send.
    pub const CLOSE_WAIT: Self = Self(8);
    /// Waits for connections.
    pub const LISTEN: Self = Self(10);

    /// The one with this number.
    pub(super) const fn of(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Some of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Those in which bytes can move, or soon will.
    pub const OPEN: Self = Self::of(&[
        State::ESTABLISHED,
        State::SYN_SENT,
        State::FIN_WAIT1,
        State::FIN_WAIT2,
        State::CLOSE_WAIT,
    ]);
    /// Only [`State::LISTEN`].
    pub const LISTEN: Self = Self::of(&[State::LISTEN]);

    const fn of(states: &[State]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < states.len() {
            bits |= 1 << states[at].0;
            at += 1;
        }
        Self(bits)
    }
}

/// What is to be said of each socket besides what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions(u8);

impl Extensions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// [`Details::tcp_info`]. The kernel takes each socket's lock for it, but that of a listening one.
    pub const TCP_INFO: Self = Self(1 << (INET_DIAG_INFO - 1));
    /// [`Details::drops`].
    pub const MEMORY: Self = Self(1 << (INET_DIAG_SKMEMINFO - 1));
}

/// One TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its family.
    pub family: Family,
    /// Its state.
    pub state: State,
    /// This end. An IPv4 address is given as such, whatever the family.
    pub local: SocketAddr,
    /// The other end; of a listening socket the unspecified address and port 0.
    pub remote: SocketAddr,
    /// The interface that it is bound to, 0 for none.
    pub interface: u32,
    /// Names the socket for as long as the machine runs.
    pub cookie: u64,
    /// Of its file, as `/proc/PID/fd` has it (`socket:[inode]`); 0 where no process holds it any more.
    pub inode: u32,
    /// The user whose it is.
    pub uid: u32,
    /// Bytes that came in and were not read; of a listening socket connections that were not accepted.
    pub receive_queue: u32,
    /// Bytes that were written and not acknowledged; of a listening socket how many may wait.
    pub send_queue: u32,
    /// Of a listening socket: it takes no IPv4.
    pub only_v6: bool,
}

/// What else was said of a socket. It is read where it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details<'a>(&'a [u8]);

impl Details<'_> {
    /// How its connection does, where [`Extensions::TCP_INFO`] was asked for.
    pub fn tcp_info(self) -> Option<TcpInfo> {
        attribute(self.0, INET_DIAG_INFO).and_then(TcpInfo::parse)
    }

    /// Packets that were dropped at this socket since it was made, modulo 2^32, where [`Extensions::MEMORY`] was asked for. Of a listening socket these are
    /// SYNs and handshakes' ends that found its queue full, or were dropped for another reason (`tcp_listendrop`).
    pub fn drops(self) -> Option<u32> {
        let numbers = attribute(self.0, INET_DIAG_SKMEMINFO)?;
        u32_at(numbers, SK_MEMINFO_DROPS * size_of::<u32>())
    }
}

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A socket.
    Socket(Socket, Details<'a>),
    /// The list is over.
    Done,
    /// The kernel refuses, with this errno.
    Refused(i32),
    /// Of a kind that says nothing here.
    Other,
}

/// Bytes that are no netlink message, or no socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of sock_diag is no such message, or is cut short")]
pub struct Malformed;

/// The request for all TCP sockets of a family that are in one of these states.
pub fn request(
    family: Family,
    states: States,
    extensions: Extensions,
    sequence: u32,
) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    let request = &mut bytes[HEADER..];
    request[0] = family.number();
    request[1] = IPPROTO_TCP;
    request[2] = extensions.0;
    request[4..8].copy_from_slice(&states.0.to_ne_bytes());
    bytes
}

/// The messages of one datagram that belong to the request with this number. It ends behind the first that is malformed: where the next one would start
/// is not known then.
pub fn messages(
    datagram: &[u8],
    sequence: u32,
) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((message, behind)) = netlink::split(rest) else {
                rest = &[];
                return Some(Err(Malformed));
            };
            rest = behind;
            if message.sequence != sequence {
                // Of a request before, whose list was not read to its end.
                continue;
            }
            let message = read(message).ok_or(Malformed);
            if message.is_err() {
                rest = &[];
            }
            return Some(message);
        }
        None
    })
}

fn read(message: netlink::Message<'_>) -> Option<Message<'_>> {
    let payload = message.payload;
    Some(match message.kind {
        SOCK_DIAG_BY_FAMILY => {
            let (fixed, attributes) = payload.split_at_checked(SOCKET)?;
            Message::Socket(socket(fixed, attributes)?, Details(attributes))
        }
        // A list that was broken off ends with an errno, too.
        NLMSG_DONE => match i32_at(payload, 0) {
            None | Some(0..) => Message::Done,
            Some(errno) => Message::Refused(errno.saturating_neg()),
        },
        NLMSG_ERROR => Message::Refused(i32_at(payload, 0)?.saturating_neg()),
        _ => Message::Other,
    })
}

/// `struct inet_diag_msg` and the attributes behind it.
fn socket(fixed: &[u8], attributes: &[u8]) -> Option<Socket> {
    let family = match fixed[0] {
        2 => Family::V4,
        10 => Family::V6,
        _ => return None,
    };
    let address = |at: usize, port: usize| {
        let bytes: [u8; 16] = *fixed.get(at..)?.first_chunk()?;
        let ip = match family {
            Family::V4 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(),
        };
        let port = u16::from_be_bytes(*fixed.get(port..)?.first_chunk()?);
        Some(SocketAddr::new(ip, port))
    };
    Some(Socket {
        family,
        state: State(fixed[1]),
        local: address(8, 4)?,
        remote: address(24, 6)?,
        interface: u32_at(fixed, 40)?,
        cookie: u64::from(u32_at(fixed, 48)?) << 32 | u64::from(u32_at(fixed, 44)?),
        receive_queue: u32_at(fixed, 56)?,
        send_queue: u32_at(fixed, 60)?,
        uid: u32_at(fixed, 64)?,
        inode: u32_at(fixed, 68)?,
        only_v6: attribute(attributes, INET_DIAG_SKV6ONLY).is_some_and(|value| value != [0]),
    })
}

#[cfg(test)]
mod tests;

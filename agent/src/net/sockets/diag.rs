//! What the kernel's socket monitoring says (sock_diag(7), `linux/inet_diag.h`): requests to bytes, bytes to sockets.
//!
//! Two fixed structs and one attribute are all that is needed of netlink here; the crates that speak it parse each socket into a list of owned attributes,
//! of which none is looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bytes of a netlink message's header (`struct nlmsghdr`).
const HEADER: usize = 16;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Bytes of `struct inet_diag_msg`.
const SOCKET: usize = 72;
/// Bytes of an attribute's header (`struct nlattr`).
const ATTRIBUTE: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
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

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A socket.
    Socket(Socket),
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
pub fn request(family: Family, states: States, sequence: u32) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    let request = &mut bytes[HEADER..];
    request[0] = family.number();
    request[1] = IPPROTO_TCP;
    request[4..8].copy_from_slice(&states.0.to_ne_bytes());
    bytes
}

/// The messages of one datagram that belong to the request with this number. It ends behind the first that is malformed: where the next one would start
/// is not known then.
pub fn messages(
    datagram: &[u8],
    sequence: u32,
) -> impl Iterator<Item = Result<Message, Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((header, payload, behind)) = split(rest) else {
                rest = &[];
                return Some(Err(Malformed));
            };
            rest = behind;
            if header.sequence != sequence {
                // Of a request before, whose list was not read to its end.
                continue;
            }
            let message = message(header.kind, payload).ok_or(Malformed);
            if message.is_err() {
                rest = &[];
            }
            return Some(message);
        }
        None
    })
}

struct Header {
    kind: u16,
    sequence: u32,
}

/// The first message's header and payload, and what is behind it.
fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let header = Header {
        kind: u16_at(bytes, 4)?,
        sequence: u32_at(bytes, 8)?,
    };
    let payload = bytes.get(HEADER..length)?;
    // Messages start at multiples of four.
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, payload, behind))
}

fn message(kind: u16, payload: &[u8]) -> Option<Message> {
    Some(match kind {
        SOCK_DIAG_BY_FAMILY => Message::Socket(socket(payload)?),
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
fn socket(payload: &[u8]) -> Option<Socket> {
    let (fixed, attributes) = payload.split_at_checked(SOCKET)?;
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

/// The value of an attribute; none, too, where the list is broken before it.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(ATTRIBUTE..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;

//! What conntrack is asked and what it says (`linux/netfilter/nfnetlink_conntrack.h`): tuples to bytes, bytes to tuples.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::netlink::{self, NLM_F_REQUEST, NLMSG_ERROR, Writer, attribute, i32_at};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: an entry.
const NEW: u16 = 0x0100;
/// Bytes of `struct nfgenmsg`.
const FIXED: usize = 4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const ENOENT: i32 = 2;

/// A protocol with ports, by its number in IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
}

/// One direction of a connection, as its packets are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The protocol.
    pub protocol: Protocol,
    /// Where they come from.
    pub source: SocketAddr,
    /// Where they go.
    pub destination: SocketAddr,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Packets of the end that opened it, as they were sent.
    pub original: Tuple,
    /// The answers, as they are sent: their source is where the others arrived.
    pub reply: Tuple,
}

/// What is answered to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is such a connection.
    Entry(Entry),
    /// There is none.
    NoEntry,
    /// The kernel refuses, with this errno.
    Refused(i32),
    /// Of a kind that says nothing here.
    Other,
}

/// Bytes that are no netlink message, or no entry's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of conntrack is no such message, or is cut short")]
pub struct Malformed;

/// Writes the request for the entry that has this tuple, as one of its directions. Both ends are to be of one family.
pub(super) fn request(writer: &mut Writer, sequence: u32, tuple: &Tuple) {
    let family = match tuple.source {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    };
    writer.message(GET, NLM_F_REQUEST, sequence, |writer| {
        writer.raw(&[family, 0, 0, 0]);
        writer.nested(CTA_TUPLE_ORIG, |writer| {
            writer.nested(CTA_TUPLE_IP, |writer| {
                address(writer, tuple.source.ip(), CTA_IP_V4_SRC, CTA_IP_V6_SRC);
                address(writer, tuple.destination.ip(), CTA_IP_V4_DST, CTA_IP_V6_DST);
            });
            writer.nested(CTA_TUPLE_PROTO, |writer| {
                writer.attribute(CTA_PROTO_NUM, &[tuple.protocol.0]);
                writer.attribute(CTA_PROTO_SRC_PORT, &tuple.source.port().to_be_bytes());
                writer.attribute(CTA_PROTO_DST_PORT, &tuple.destination.port().to_be_bytes());
            });
        });
    });
}

fn address(writer: &mut Writer, ip: IpAddr, v4: u16, v6: u16) {
    match ip {
        IpAddr::V4(ip) => writer.attribute(v4, &ip.octets()),
        IpAddr::V6(ip) => writer.attribute(v6, &ip.octets()),
    }
}

/// The answers in one datagram, each with the number of its request. They end before a header that leads nowhere.
pub fn answers(datagram: &[u8]) -> impl Iterator<Item = (u32, Result<Answer, Malformed>)> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (message, behind) = netlink::split(rest)?;
        rest = behind;
        Some((message.sequence, answer(message).ok_or(Malformed)))
    })
}

fn answer(message: netlink::Message<'_>) -> Option<Answer> {
    Some(match message.kind {
        NEW => Answer::Entry(entry(message.payload.get(FIXED..)?)?),
        NLMSG_ERROR => match i32_at(message.payload, 0)?.saturating_neg() {
            ENOENT => Answer::NoEntry,
            // An acknowledgement, for which nobody has asked.
            0 => Answer::Other,
            errno => Answer::Refused(errno),
        },
        _ => Answer::Other,
    })
}

fn entry(attributes: &[u8]) -> Option<Entry> {
    Some(Entry {
        original: tuple(attribute(attributes, CTA_TUPLE_ORIG)?)?,
        reply: tuple(attribute(attributes, CTA_TUPLE_REPLY)?)?,
    })
}

fn tuple(attributes: &[u8]) -> Option<Tuple> {
    let ip = attribute(attributes, CTA_TUPLE_IP)?;
    let protocol = attribute(attributes, CTA_TUPLE_PROTO)?;
    let end = |v4, v6, port| {
        let port = *attribute(protocol, port)?.first_chunk()?;
        let ip = match attribute(ip, v4) {
            Some(octets) => Ipv4Addr::from(*octets.first_chunk::<4>()?).into(),
            None => Ipv6Addr::from(*attribute(ip, v6)?.first_chunk::<16>()?).into(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
    };
    Some(Tuple {
        protocol: Protocol(*attribute(protocol, CTA_PROTO_NUM)?.first()?),
        source: end(CTA_IP_V4_SRC, CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT)?,
        destination: end(CTA_IP_V4_DST, CTA_IP_V6_DST, CTA_PROTO_DST_PORT)?,
    })
}

#[cfg(test)]
mod tests;

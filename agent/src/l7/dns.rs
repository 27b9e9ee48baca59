//! DNS over UDP, as its clients on this node send and receive it: messages (RFC 1035), and which answer belongs to which query.

pub mod lookups;
pub mod name;
pub mod record;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

pub use lookups::{Lookup, Lookups, Outcome};

use self::name::Name;

/// Bytes of a message's header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// Resource records of a section that are looked at: more than a message of [`fathom_abi::udp::MAX_DNS`] bytes can hold.
const MAX_RECORDS: u16 = 128;

const CLASS_IN: u16 = 1;

/// Why bytes are no message that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// They end before the question does.
    #[error("a DNS message of {0} bytes ends before its question does")]
    Short(usize),
    /// A name's label, pointer or length is not as RFC 1035 section 4.1.4 has it.
    #[error("a name in a DNS message is malformed at byte {0}")]
    Name(usize),
    /// No query, or more than one question.
    #[error("a DNS message with opcode {opcode} and {questions} questions is no query for a name")]
    NoQuery {
        /// The opcode.
        opcode: u8,
        /// Entries in the question section.
        questions: u16,
    },
}

/// What a name was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, in lower case and without the last dot.
    pub name: Arc<str>,
    /// The type of records.
    pub kind: Kind,
}

/// A type of records (`QTYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

impl Kind {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// The name that this one stands for.
    pub const CNAME: Self = Self(5);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// What EDNS adds to a message (RFC 6891).
    const OPT: Self = Self(41);

    /// Its name in IANA's registry, for those that are asked for in practice; `_OTHER` for others.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "A",
            2 => "NS",
            5 => "CNAME",
            6 => "SOA",
            12 => "PTR",
            15 => "MX",
            16 => "TXT",
            28 => "AAAA",
            33 => "SRV",
            35 => "NAPTR",
            43 => "DS",
            48 => "DNSKEY",
            52 => "TLSA",
            64 => "SVCB",
            65 => "HTTPS",
            255 => "ANY",
            257 => "CAA",
            _ => "_OTHER",
        }
    }
}

/// A response code, with the upper bits that EDNS adds (RFC 6891 section 6.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl Code {
    /// No error.
    pub const NOERROR: Self = Self(0);
    /// There is no such name.
    pub const NXDOMAIN: Self = Self(3);

    /// Its name in IANA's registry, in lower case; `_OTHER` for those that have none, and for those of dynamic updates.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "noerror",
            1 => "formerr",
            2 => "servfail",
            3 => "nxdomain",
            4 => "notimp",
            5 => "refused",
            9 => "notauth",
            16 => "badvers",
            23 => "badcookie",
            _ => "_OTHER",
        }
    }
}

/// What a message says, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What joins an answer with its query.
    pub id: u16,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// Whether the server had more to say than fits: the client is to ask again, over TCP.
    pub is_truncated: bool,
    /// The response code of an answer.
    pub code: Code,
    /// The question; an answer that says no more than an error may have none.
    pub question: Option<Question>,
    /// The addresses of an answer that belong to the question's name, by way of the names that it stands for.
    pub addresses: Vec<Address>,
}

/// An address that an answer gives the question's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// For how many seconds it may be used: the least of the records that lead to it.
    pub ttl: u32,
}

impl Message {
    /// Reads a message of which the first bytes are here. What follows the question may be cut or malformed: then what came before counts.
    ///
    /// # Errors
    /// When there is no header, a name of the question is malformed, or it is no query for one name.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let word = |at: usize| read_u16(bytes, at).ok_or(Fault::Short(bytes.len()));
        let (id, flags) = (word(0)?, word(2)?);
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        let opcode = (flags >> 11 & 15) as u8;
        let is_answer = flags & 0x8000 != 0;
        if opcode != 0 || counts[0] > 1 || (counts[0] == 0 && !is_answer) {
            return Err(Fault::NoQuery {
                opcode,
                questions: counts[0],
            });
        }
        let mut message = Self {
            id,
            is_answer,
            is_truncated: flags & 0x0200 != 0,
            code: Code(flags & 15),
            question: None,
            addresses: Vec::new(),
        };
        let mut at = HEADER;
        if counts[0] == 1 {
            let (name, behind) = Name::read(bytes, at)?;
            message.question = Some(Question {
                name: name.into_text(),
                kind: Kind(word(behind)?),
            });
            word(behind + 2)?;
            at = behind + 4;
        }
        if is_answer {
            message.read_records(bytes, at, counts[1], counts[2].saturating_add(counts[3]));
        }
        Ok(message)
    }

    /// Reads the answers, and of what comes behind them what EDNS adds to the response code.
    fn read_records(&mut self, bytes: &[u8], mut at: usize, answers: u16, others: u16) {
        let mut found = Vec::new();
        for number in 0..answers.saturating_add(others).min(MAX_RECORDS) {
            let Some((record, behind)) = Record::read(bytes, at) else {
                break;
            };
            at = behind;
            if record.kind == Kind::OPT {
                self.code.0 |= (record.ttl >> 24 << 4) as u16;
            } else if number < answers && record.class == CLASS_IN {
                found.push(record);
            }
        }
        if let Some(question) = &self.question {
            self.addresses = addresses(bytes, question, &found);
        }
    }
}

/// The addresses that belong to the question's name: its own, or those of the name that it stands for in the end.
fn addresses(bytes: &[u8], question: &Question, records: &[Record]) -> Vec<Address> {
    // Each name is read once: a hostile one takes its time.
    let owned: Vec<(Arc<str>, &Record)> = records
        .iter()
        .filter_map(|record| {
            let (owner, _) = Name::read(bytes, record.owner).ok()?;
            Some((owner.into_text(), record))
        })
        .collect();
    let mut name = Arc::clone(&question.name);
    let mut bound = u32::MAX;
    // Each turn takes another record, or names that stand for each other would go on for ever.
    let mut aliases: Vec<_> = owned
        .iter()
        .filter(|(_, record)| record.kind == Kind::CNAME)
        .collect();
    while let Some(number) = aliases.iter().position(|(owner, _)| *owner == name) {
        let (_, alias) = aliases.swap_remove(number);
        let Ok((target, _)) = Name::read(bytes, alias.data.0) else {
            break;
        };
        name = target.into_text();
        bound = bound.min(alias.ttl);
    }
    let ip = |record: &Record| -> Option<IpAddr> {
        let data = bytes.get(record.data.0..record.data.1)?;
        match record.kind {
            Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            Kind::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            _ => None,
        }
    };
    owned
        .iter()
        .filter(|(owner, _)| *owner == name)
        .filter_map(|(_, record)| {
            Some(Address {
                ip: ip(record)?,
                ttl: record.ttl.min(bound),
            })
        })
        .collect()
}

/// A resource record (RFC 1035 section 4.1.3).
struct Record {
    /// Where its owner's name starts.
    owner: usize,
    kind: Kind,
    class: u16,
    /// Seconds; one of more than 31 bits is none (RFC 2181 section 8).
    ttl: u32,
    /// Where its data starts, and where it ends.
    data: (usize, usize),
}

impl Record {
    /// Reads the record at a place, and says where the next one is.
    fn read(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let behind = name::skip(bytes, at)?;
        let kind = Kind(read_u16(bytes, behind)?);
        let class = read_u16(bytes, behind + 2)?;
        let ttl =
            u32::from(read_u16(bytes, behind + 4)?) << 16 | u32::from(read_u16(bytes, behind + 6)?);
        let start = behind + 10;
        let end = start + usize::from(read_u16(bytes, behind + 8)?);
        if end > bytes.len() {
            return None;
        }
        // The TTL of OPT is no time.
        let ttl = if kind != Kind::OPT && ttl > i32::MAX.unsigned_abs() {
            0
        } else {
            ttl
        };
        let record = Self {
            owner: at,
            kind,
            class,
            ttl,
            data: (start, end),
        };
        Some((record, end))
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests;

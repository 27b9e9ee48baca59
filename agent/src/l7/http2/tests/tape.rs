//! Both directions of a connection as they were written, and the pieces that the tap makes of them.

use crate::l7::exchange::Thread;
use std::collections::BTreeMap;

use fathom_abi::message::Direction;

use super::super::{frame::kind, *};

/// The process is the server.
pub(crate) const REQUESTS: Direction = Direction::RECEIVED;
pub(crate) const ANSWERS: Direction = Direction::SENT;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) mod flag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const BOTH: u8 = 0x5;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals that go into no table.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(0x00, name, value))
        .collect()
}

/// A header block of literals that go into the table.
pub(crate) fn indexed_block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(0x40, name, value))
        .collect()
}

fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![first];
    for text in [name, value] {
        assert!(text.len() < 127);
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &block(fields))
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(
        stream,
        flag::BOTH,
        &[(":method", "GET"), (":scheme", "http"), (":path", path)],
    )
}

pub(crate) fn ok(stream: u32) -> Vec<u8> {
    headers(stream, flag::BOTH, &[(":status", "200")])
}

pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, payload)
}

pub(crate) fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

/// The request of a connection that it upgrades.
pub(crate) fn upgrade() -> Request {
    Request {
        thread: Thread::new(1, 2),
        method: "GET".into(),
        path: "/upgrade".into(),
        start_ns: 50,
        parent: None,
        trace_state: None,
    }
}

/// A piece that owns its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) direction: Direction,
    pub(crate) position: u64,
    pub(crate) length: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) at_ns: u64,
}

impl Part {
    pub(crate) fn piece(&self) -> Piece<'_> {
        Piece {
            direction: self.direction,
            position: self.position,
            length: self.length,
            data: &self.data,
            at_ns: self.at_ns,
            thread: Thread::new(7, 8),
        }
    }

    /// The same in parts of `length` bytes.
    pub(crate) fn in_parts(self, length: u64) -> Vec<Self> {
        let (mut parts, mut rest) = (Vec::new(), self);
        while rest.length > length {
            let [part, behind] = rest.split(length);
            parts.push(part);
            rest = behind;
        }
        parts.push(rest);
        parts
    }

    /// The same in two.
    fn split(self, at: u64) -> [Self; 2] {
        let seen = usize::try_from(at).expect("small").min(self.data.len());
        let (first, second) = self.data.split_at(seen);
        [
            Self {
                length: at,
                data: first.to_vec(),
                ..self
            },
            Self {
                position: self.position + at,
                length: self.length - at,
                data: second.to_vec(),
                ..self
            },
        ]
    }
}

/// The I/O calls of a connection.
#[derive(Clone, Default)]
pub(crate) struct Tape {
    pub(crate) calls: Vec<(Direction, Vec<u8>, u64)>,
}

impl Tape {
    /// With the start of a connection.
    pub(crate) fn new() -> Self {
        let mut tape = Self::default();
        tape.request(&[PREFACE, &settings()].concat());
        tape.answer(&settings());
        tape
    }

    pub(crate) fn call(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        let at_ns = self.calls.len() as u64 * 100 + 100;
        self.calls.push((direction, bytes.to_vec(), at_ns));
        self
    }

    pub(crate) fn request(&mut self, bytes: &[u8]) -> &mut Self {
        self.call(REQUESTS, bytes)
    }

    pub(crate) fn answer(&mut self, bytes: &[u8]) -> &mut Self {
        self.call(ANSWERS, bytes)
    }

    /// One piece for each call.
    pub(crate) fn pieces(&self) -> Vec<Part> {
        let mut positions = [0, 0];
        self.calls
            .iter()
            .filter(|(_, bytes, _)| !bytes.is_empty())
            .map(|(direction, bytes, at_ns)| {
                let position = &mut positions[index(*direction).expect("a direction")];
                let part = Part {
                    direction: *direction,
                    position: *position,
                    length: bytes.len() as u64,
                    data: bytes.clone(),
                    at_ns: *at_ns,
                };
                *position += part.length;
                part
            })
            .collect()
    }

    /// As the tap makes them: of a large DATA payload only the start is there.
    pub(crate) fn pieces_with_holes(&self) -> Vec<Part> {
        let mut holes = [Holes::default(), Holes::default()];
        let mut pieces = Vec::new();
        for part in self.pieces() {
            let hole = &mut holes[index(part.direction).expect("a direction")];
            let seen: Vec<bool> = part.data.iter().map(|&byte| hole.captures(byte)).collect();
            let mut rest = part;
            let mut at = 0;
            while at < seen.len() {
                let start = at;
                at += seen[at..].iter().take_while(|&&seen| seen).count();
                let captured = at - start;
                at += seen[at..].iter().take_while(|&&seen| !seen).count();
                let [mut piece, behind] = rest.split((at - start) as u64);
                piece.data.truncate(captured);
                pieces.push(piece);
                rest = behind;
            }
        }
        pieces
    }
}

/// Walks a direction's frames as the tap does.
#[derive(Default)]
struct Holes {
    preface: usize,
    header: Vec<u8>,
    left: u32,
    done: u32,
    large_data: bool,
}

impl Holes {
    fn captures(&mut self, byte: u8) -> bool {
        let starts_with_preface = self.preface == 0 && byte == b'P' && self.header.is_empty();
        if starts_with_preface || (1..PREFACE.len()).contains(&self.preface) {
            self.preface += 1;
            return true;
        }
        self.preface = PREFACE.len();
        if self.left == 0 {
            self.header.push(byte);
            if self.header.len() == 9 {
                let header = &self.header;
                self.left = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                self.large_data = header[3] == kind::DATA && self.left > 256;
                self.done = 0;
                self.header.clear();
            }
            return true;
        }
        self.left -= 1;
        self.done += 1;
        !self.large_data || self.done <= 16
    }
}

/// The same pieces, cut at random places.
pub(crate) fn cut(pieces: &[Part], random: &mut Random, one_in: usize) -> Vec<Part> {
    let mut cut = Vec::new();
    for piece in pieces {
        let mut start = 0;
        for end in 1..=piece.length {
            if end < piece.length && random.below(one_in) > 0 {
                continue;
            }
            let seen = |at: u64| usize::try_from(at).expect("small").min(piece.data.len());
            cut.push(Part {
                position: piece.position + start,
                length: end - start,
                data: piece.data[seen(start)..seen(end)].to_vec(),
                ..*piece
            });
            start = end;
        }
    }
    cut
}

pub(crate) type Losses = BTreeMap<&'static str, u64>;

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) streams: Vec<Stream>,
    pub(crate) losses: Losses,
}

impl Outcome {
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Open(..) => {}
            Event::Done(stream) => self.streams.push(stream),
            Event::Lost(reason, count) => *self.losses.entry(reason.name()).or_default() += count,
        }
    }

    /// Panics where a stream is not one of `whole`, as far as its headers were known.
    pub(crate) fn check_part_of(&self, whole: &Self, what: &str) {
        let known = |stream: &Stream| {
            let mut stream = stream.clone();
            stream.partial = false;
            stream.rpc = None;
            stream.request.parent = None;
            stream.request.trace_state = None;
            stream
        };
        for stream in &self.streams {
            let is_right = whole
                .streams
                .iter()
                .any(|right| right == stream || stream.partial && known(right) == known(stream));
            assert!(is_right, "{what}: {stream:?}");
        }
        assert!(self.all() <= whole.all(), "{what}: {self:?}");
    }

    /// Streams that are accounted for.
    pub(crate) fn all(&self) -> u64 {
        self.streams.len() as u64 + self.losses.values().sum::<u64>()
    }
}

pub(crate) fn connection() -> Connection {
    Connection::new(Some(REQUESTS), Start::Preface, Limits::default())
}

pub(crate) fn decode(pieces: &[Part]) -> Outcome {
    decode_with(connection(), pieces)
}

pub(crate) fn decode_with(mut connection: Connection, pieces: &[Part]) -> Outcome {
    let mut outcome = Outcome::default();
    for piece in pieces {
        connection.piece(&piece.piece(), &mut |event| outcome.take(event));
    }
    connection.end(1_000_000_000, &mut |event| outcome.take(event));
    assert_eq!(connection.open(), 0);
    outcome
}

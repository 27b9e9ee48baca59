//! A stand-in for the kernel tap: I/O calls in, records out, by the words of `fathom_abi::message`.

use std::sync::Arc;

use fathom_abi::{
    ConnectionId, Endpoints, Role,
    message::{ConnectionState, Direction, MAX_CAPTURE, MessageEvent, MessageKind},
};

use super::ledger::Ledger;
use crate::l7::{Counts, Decoder, Limits, exchange::Exchange, record::Record};

pub(super) const SERVER: Role = Role::SERVER;
pub(super) const CLIENT: Role = Role::CLIENT;

pub(super) struct Tap {
    pub(super) id: ConnectionId,
    role: Role,
    message: u32,
    direction: Direction,
    bytes: u64,
    captured: usize,
    last_ns: u64,
    head_open: bool,
    /// The next call's bytes are not in user memory (sendfile).
    pub(super) unreadable: bool,
    /// The connection was over before.
    pub(super) over: bool,
    /// Bytes of each direction that travelled, received and sent, and their newest numbers; none while none do.
    travelled: Option<[(u64, u32); 2]>,
    pub(super) records: Vec<Vec<u8>>,
}

impl Tap {
    pub(super) fn new(role: Role) -> Self {
        Self::with_sock(role, 0xffff_8000_0000_1000)
    }

    pub(super) fn with_sock(role: Role, sock: u64) -> Self {
        Self {
            id: ConnectionId { sock, born_ns: 1 },
            role,
            message: 0,
            direction: Direction::NONE,
            bytes: 0,
            captured: 0,
            last_ns: 0,
            head_open: false,
            unreadable: false,
            over: false,
            travelled: None,
            records: Vec::new(),
        }
    }

    pub(super) fn receive(&mut self, data: &[u8], at_ns: u64) -> &mut Self {
        self.io(Direction::RECEIVED, data, at_ns)
    }

    pub(super) fn send(&mut self, data: &[u8], at_ns: u64) -> &mut Self {
        self.io(Direction::SENT, data, at_ns)
    }

    /// A call that sends all of a message, and has not returned when a call that receives the start of the next one does.
    pub(super) fn overtake(
        &mut self,
        sent: &[u8],
        received: &[u8],
        received_ns: u64,
        sent_ns: u64,
    ) -> &mut Self {
        let before = self.records.len();
        let (bytes, last_ns) = (self.bytes, self.last_ns);
        let made = |tap: &mut Self, direction, data: &[u8], at_ns, kind: MessageKind| {
            tap.io(direction, data, at_ns);
            let bytes_of = tap.records.pop().expect("a record");
            let record = Record::decode(&bytes_of).expect("a record");
            let event = MessageEvent {
                kind,
                previous_bytes: bytes,
                previous_last_ns: last_ns,
                ..record.event
            };
            Record::encode(&event, record.data)
        };
        let overtaken = made(self, Direction::SENT, sent, sent_ns, MessageKind::OVERTAKEN);
        let ahead = made(
            self,
            Direction::RECEIVED,
            received,
            received_ns,
            MessageKind::AHEAD,
        );
        assert_eq!(self.records.len(), before);
        self.records.extend([ahead, overtaken]);
        self
    }

    /// From now on the bytes travel.
    pub(super) fn travel(&mut self, at_ns: u64) -> &mut Self {
        self.message += 1;
        self.travelled = Some([(0, self.message); 2]);
        let event = MessageEvent {
            previous_bytes: self.bytes,
            previous_last_ns: self.last_ns,
            ..self.event(MessageKind::TRAVELS, at_ns)
        };
        self.records.push(Record::encode(&event, &[]));
        self
    }

    pub(super) fn close(&mut self, at_ns: u64) -> &mut Self {
        let event = MessageEvent {
            previous_bytes: self.bytes,
            previous_last_ns: self.last_ns,
            direction: self.direction,
            ..self.event(MessageKind::END, at_ns)
        };
        let event = match self.travelled {
            Some([(_, received), (_, sent)]) => MessageEvent {
                message: received,
                offset: sent,
                ..event
            },
            None => event,
        };
        self.records.push(Record::encode(&event, &[]));
        self
    }

    /// What the `CONNECTIONS` map holds.
    pub(super) fn state(&self) -> ConnectionState {
        ConnectionState {
            born_ns: self.id.born_ns,
            bytes: self.bytes,
            last_ns: self.last_ns,
            message: self.message,
            direction: self.direction,
            ..ConnectionState::default()
        }
    }

    fn piece(&mut self, direction: Direction, data: &[u8], at_ns: u64) {
        let mut event = MessageEvent {
            previous_last_ns: data.len() as u64,
            io_bytes: data.len() as u32,
            captured: data.len() as u16,
            direction,
            ..self.event(MessageKind::PIECE, at_ns)
        };
        if let Some(travelled) = &mut self.travelled {
            let (position, number) = &mut travelled[usize::from(direction == Direction::SENT)];
            *number += 1;
            event.message = *number;
            event.previous_bytes = *position;
            *position += data.len() as u64;
        }
        self.records.push(Record::encode(&event, data));
    }

    fn io(&mut self, direction: Direction, data: &[u8], at_ns: u64) -> &mut Self {
        if self.travelled.is_some() {
            self.piece(direction, data, at_ns);
            return self;
        }
        let flips = direction != self.direction;
        let room = if flips {
            MAX_CAPTURE
        } else {
            MAX_CAPTURE - self.captured
        };
        let captured = if self.unreadable {
            &[]
        } else {
            &data[..data.len().min(room)]
        };
        let (previous_bytes, previous_last_ns) = (self.bytes, self.last_ns);
        let open = std::mem::take(&mut self.head_open);
        if flips {
            self.message += 1;
            self.direction = direction;
            self.bytes = 0;
            self.captured = 0;
        }
        if flips || (open && !captured.is_empty()) {
            let event = MessageEvent {
                previous_bytes: if flips { previous_bytes } else { 0 },
                previous_last_ns: if flips { previous_last_ns } else { 0 },
                io_bytes: data.len() as u32,
                offset: self.bytes as u32,
                captured: captured.len() as u16,
                direction,
                ..self.event(
                    if flips {
                        MessageKind::HEAD
                    } else {
                        MessageKind::MORE
                    },
                    at_ns,
                )
            };
            self.records.push(Record::encode(&event, captured));
            // The tap looks at the end of what it captured, and no further.
            self.captured += captured.len();
            let whole = captured.len() == data.len() && self.captured < MAX_CAPTURE;
            self.head_open = whole && !captured.is_empty() && !captured.ends_with(b"\r\n\r\n");
        }
        self.bytes += data.len() as u64;
        self.last_ns = at_ns;
        self
    }

    /// A record of another message than the newest, without bytes.
    pub(super) fn event_of(&self, kind: MessageKind, message: u32, at_ns: u64) -> MessageEvent {
        MessageEvent {
            message,
            previous_bytes: self.bytes,
            previous_last_ns: self.last_ns,
            ..self.event(kind, at_ns)
        }
    }

    fn event(&self, kind: MessageKind, at_ns: u64) -> MessageEvent {
        let address = |last| {
            let mut address = [0; 16];
            address[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, last]);
            address
        };
        MessageEvent {
            id: self.id,
            at_ns,
            tgid: 10,
            tid: 11,
            message: self.message,
            kind,
            role: self.role,
            over: u8::from(self.over),
            endpoints: Endpoints {
                local_addr: address(1),
                remote_addr: address(2),
                local_port: 80,
                remote_port: 40_000,
                ip_version: 4,
                reserved: [0; 3],
            },
            ..MessageEvent::default()
        }
    }
}

/// What a decoder makes of records, and of a look long after the last.
pub(super) fn decode(records: &[Vec<u8>]) -> (Vec<Exchange>, Arc<Counts>) {
    let mut decoder = Decoder::new(Limits::default());
    let mut ledger = Ledger::default();
    for record in records {
        decoder.record(record, &mut ledger);
    }
    // Ended connections are handed on; the others find the kernel silent once, which settles nothing.
    decoder.poll_idle(u64::MAX, &mut |_| None, &mut ledger);
    (ledger.exchanges, decoder.counts())
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

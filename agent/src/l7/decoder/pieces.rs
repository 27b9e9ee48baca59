//! A connection whose bytes travel: pieces of both directions to the decoder of what it speaks.
//!
//! The records of each direction are numbered without a gap, so that a missing one is noticed; and a piece that starts behind the end of the one
//! before in its direction, with no record missing, means that the tap left out bytes that no framing needs.

use fathom_abi::{
    ConnectionId, Endpoints, Role,
    message::{Direction, MessageEvent},
};

use super::{
    SILENCE_NS,
    out::{Listener, Out, Place},
};
use crate::l7::{
    counts::{ExchangeOutcome, Recognized, RecordOutcome},
    exchange::{Step, Thread},
    http1,
    http2::{self, Start},
    piece::Piece,
    pipeline::{self, Pipeline},
    record::Record,
};

/// The client's connection preface (RFC 9113 section 3.4), as much of it as decides.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// What the connection speaks.
enum Protocol {
    /// Nothing was seen yet.
    Unknown,
    /// Records are missing from before the first piece, which may have started anywhere. None has shown yet what it speaks.
    Torn(Torn),
    /// HTTP/1, with answers to come of requests that were not seen, or that are counted as lost.
    Behind(Newest),
    Http1(Box<Pipeline>),
    Http2(Box<http2::Connection>),
    /// It can't be read any more, or never could.
    Other,
}

/// The newest piece of a connection that is not read yet: of a pipeline, until it falls silent, or of one that has not shown what it is.
#[derive(Clone, Copy, Default)]
struct Newest {
    /// When it was moved, and which way.
    last: (u64, Direction),
    /// How many there were.
    pieces: u32,
}

/// Pieces after which one that never falls silent, or never shows what it is, is given up: 64 MiB, so that a large answer may come to its end.
const MAX_UNREAD: u32 = 1 << 15;

impl Newest {
    /// Behind one more piece; none where there were too many.
    fn next(self, piece: &Piece<'_>) -> Option<Self> {
        (self.pieces < MAX_UNREAD).then_some(Self {
            last: (piece.at_ns, piece.direction),
            pieces: self.pieces + 1,
        })
    }
}

/// See [`Protocol::Torn`].
#[derive(Clone, Copy, Default)]
struct Torn {
    newest: Newest,
    /// For frames of each direction.
    searches: [http2::Search; 2],
}

pub(super) struct Pieces {
    id: ConnectionId,
    endpoints: Endpoints,
    /// The direction of requests, NONE where it is not known.
    requests: Direction,
    /// The number of each direction's newest record, received and sent.
    numbers: [u32; 2],
    /// Where each direction's next piece starts, received and sent.
    next: [u64; 2],
    /// Bytes of each direction that came before those that the tap numbers.
    before: [u64; 2],
    /// Whether the newest piece of each direction had no bytes.
    bare: [bool; 2],
    /// Whether records of each direction are missing since its newest piece.
    doubt: [bool; 2],
    protocol: Protocol,
    /// The direction of requests, as far as the ports tell.
    believed: Direction,
    /// It was open before: requests from then may still be under way.
    late: bool,
    /// What it speaks is counted among what connections from before speak, or it is none.
    counted: bool,
}

impl Pieces {
    /// A connection whose next record is the one behind `event`.
    pub(super) fn new(event: &MessageEvent, requests: Direction) -> Self {
        Self {
            id: event.id,
            endpoints: event.endpoints,
            requests,
            numbers: [event.message; 2],
            next: [0; 2],
            before: [0; 2],
            bare: [false; 2],
            doubt: [false; 2],
            protocol: Protocol::Unknown,
            believed: Direction::NONE,
            late: event.role == Role::UNKNOWN,
            counted: event.role != Role::UNKNOWN,
        }
    }

    /// Where the direction of requests is not known, it may be this one.
    pub(super) fn believe(&mut self, requests: Direction) {
        self.believed = requests;
    }

    /// It was open before, took turns, and is perhaps counted already as one that speaks HTTP/1; whether requests from then may be under way.
    pub(super) fn took_turns(&mut self, late: bool, counted: bool) {
        self.late = late;
        self.counted |= counted;
    }

    /// A connection of which nothing was seen before its first piece.
    pub(super) fn starting(event: &MessageEvent, requests: Direction) -> Self {
        let mut pieces = Self {
            numbers: [0; 2],
            ..Self::new(event, requests)
        };
        pieces.numbers[index(event.direction)] = event.message.wrapping_sub(1);
        pieces
    }

    /// It goes on in the midst of an exchange of HTTP/1.
    pub(super) fn within(&mut self, begun: pipeline::Begun) {
        self.protocol = Protocol::Http1(Box::new(Pipeline::within(begun)));
    }

    /// It was upgraded to HTTP/2 by the answer to `request`, behind which the record of the answer held the first of so many bytes of frames.
    pub(super) fn upgraded<E: Listener>(
        &mut self,
        request: pipeline::Request,
        (behind, length): (Vec<u8>, u64),
        answers: Direction,
        out: &mut Out<'_, E>,
    ) {
        let mut connection = http2(answers.opposite(), Start::Upgraded);
        let piece = Piece {
            direction: answers,
            position: 0,
            length,
            data: &behind,
            at_ns: request.start_ns,
            thread: request.thread,
        };
        connection.upgraded(
            http2::Request {
                thread: request.thread,
                method: request.method,
                path: request.path,
                start_ns: request.start_ns,
                parent: request.parent,
                trace_state: request.trace_state,
            },
            request.bytes,
        );
        for opened in connection.opened() {
            out.open(self.place(), opened, Step::Started, true);
        }
        self.protocol = Protocol::Http2(connection);
        let at = index(answers);
        (self.before[at], self.next[at]) = (length, length);
        self.give(&piece, 0, out);
    }

    /// The next piece.
    pub(super) fn piece<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        let at = index(event.direction);
        let number = &mut self.numbers[at];
        if event.message <= *number {
            // Two CPUs were at the connection's state at the same time. What it speaks can be found again, as behind a loss.
            self.lost(out);
            return RecordOutcome::OutOfOrder;
        }
        let is_next = event.message == number.wrapping_add(1);
        *number = event.message;
        if !is_next {
            self.lost(out);
            self.doubt[at] = true;
        }
        let start = event.previous_bytes.saturating_add(self.before[at]);
        let length = event.previous_last_ns;
        let piece = Piece {
            direction: event.direction,
            position: start,
            length,
            data: record.data,
            at_ns: event.at_ns,
            thread: Thread::of(event),
        };
        match self.protocol {
            Protocol::Unknown => self.protocol = self.recognize(&piece),
            Protocol::Torn(torn) => self.protocol = self.find(torn, &piece),
            _ => {}
        }
        if let Protocol::Behind(newest) = self.protocol {
            self.protocol = self.wait(newest, &piece, out);
        }
        self.count(out);
        let expected = std::mem::replace(&mut self.next[at], start.saturating_add(length));
        if is_next && start > expected {
            let hole = Piece {
                position: expected,
                length: start - expected,
                data: &[],
                ..piece
            };
            self.give(&hole, event.message, out);
        }
        // The tap passes over the rest of a frame, or over all until it finds where one starts: what it hands on behind that starts with one.
        let passed_over = start > expected || self.bare[at];
        if passed_over
            && !self.doubt[at]
            && !record.data.is_empty()
            && let Protocol::Http2(connection) = &mut self.protocol
        {
            connection.aligned(piece.direction);
        }
        self.bare[at] = record.data.is_empty();
        self.doubt[at] = false;
        self.give(&piece, event.message, out);
        match self.protocol {
            Protocol::Other => RecordOutcome::NotHttp,
            _ => RecordOutcome::Delivered,
        }
    }

    /// What a piece shows that may start anywhere.
    fn find(&mut self, mut torn: Torn, piece: &Piece<'_>) -> Protocol {
        if let Some(requests) = self.requests_by_head(piece) {
            self.requests = requests;
            return Protocol::Behind(torn.newest);
        }
        if piece.data.starts_with(PREFACE) {
            return self.recognize(piece);
        }
        if torn.searches[index(piece.direction)].finds(piece) {
            let mut connection = http2(self.likely_requests(), Start::Joined);
            // Where frames start is not known, of either direction. Nothing is open that could be lost.
            connection.lost(&mut |_| {});
            return Protocol::Http2(connection);
        }
        torn.newest.next(piece).map_or(Protocol::Other, |newest| {
            Protocol::Torn(Torn { newest, ..torn })
        })
    }

    /// What the first piece shows.
    fn recognize(&mut self, piece: &Piece<'_>) -> Protocol {
        if piece.data.starts_with(PREFACE) {
            self.requests = piece.direction;
            return Protocol::Http2(http2(self.requests, Start::Preface));
        }
        if let Some(requests) = self.requests_by_head(piece) {
            self.requests = requests;
            // What an answer answers was missed.
            return if self.late || piece.direction != requests {
                Protocol::Behind(Newest::default())
            } else {
                Protocol::Http1(Box::default())
            };
        }
        // The server may speak first.
        if piece.direction != self.requests && http2::starts_with_settings(piece.data) {
            return Protocol::Http2(http2(self.requests, Start::Preface));
        }
        // Not seen from its start: it was open before, or is a layer whose library's functions were found later.
        Protocol::Http2(http2(self.likely_requests(), Start::Joined))
    }

    /// Which way requests go, as far as anything tells.
    fn likely_requests(&self) -> Direction {
        match self.requests {
            Direction::NONE => self.believed,
            requests => requests,
        }
    }

    /// Which way requests go, where a head of HTTP/1 shows it.
    fn requests_by_head(&self, piece: &Piece<'_>) -> Option<Direction> {
        let shown = if http1::first_request(piece.data).is_ok() {
            piece.direction
        } else if http1::response(piece.data).is_ok() {
            piece.direction.opposite()
        } else {
            return None;
        };
        // A body may hold what looks like a head.
        (self.requests == Direction::NONE || self.requests == shown).then_some(shown)
    }

    fn place(&self) -> Place {
        Place {
            id: self.id,
            endpoints: self.endpoints,
            requests: self.requests,
        }
    }

    /// A piece of a pipeline of which it is not known how many answers are to come. Behind a silence none are.
    fn wait<E: Listener>(&self, newest: Newest, piece: &Piece<'_>, out: &Out<'_, E>) -> Protocol {
        let (at_ns, direction) = newest.last;
        let is_requests = piece.direction == self.requests;
        let silent = direction == self.requests.opposite()
            && piece.at_ns.saturating_sub(at_ns) >= SILENCE_NS;
        if is_requests && silent && http1::first_request(piece.data).is_ok() {
            return Protocol::Http1(Box::default());
        }
        if is_requests {
            out.lost(
                ExchangeOutcome::Pipelined,
                http1::count_requests(piece.data),
            );
        }
        newest.next(piece).map_or(Protocol::Other, Protocol::Behind)
    }

    /// Counts what a connection from before speaks, once that is certain.
    fn count<E: Listener>(&mut self, out: &Out<'_, E>) {
        if self.counted {
            return;
        }
        let as_what = match &self.protocol {
            Protocol::Behind(_) | Protocol::Http1(_) => Recognized::Http1,
            Protocol::Http2(connection) if connection.requests().is_some() => Recognized::Http2,
            _ => return,
        };
        self.counted = true;
        out.counts.recognize(as_what);
    }

    fn give<E: Listener>(&mut self, piece: &Piece<'_>, number: u32, out: &mut Out<'_, E>) {
        let place = self.place();
        match &mut self.protocol {
            Protocol::Unknown | Protocol::Torn(_) | Protocol::Behind(_) | Protocol::Other => {}
            Protocol::Http1(pipeline) => {
                let is_requests = piece.direction == self.requests;
                pipeline.piece(is_requests, piece, number, &mut |event| {
                    out.pipelined(event, place);
                });
            }
            Protocol::Http2(connection) => {
                if connection.knows_requests() {
                    connection.piece(piece, &mut |event| out.streamed(event, place));
                } else {
                    // It may turn out within this piece who asks.
                    let mut events = Vec::new();
                    connection.piece(piece, &mut |event| events.push(event));
                    let requests = connection.requests().unwrap_or(Direction::NONE);
                    for event in events {
                        out.streamed(event, Place { requests, ..place });
                    }
                }
                if let Some(requests) = connection.requests() {
                    self.requests = requests;
                }
            }
        }
        self.drop_broken((piece.at_ns, piece.direction));
    }

    /// Records are missing.
    pub(super) fn lost<E: Listener>(&mut self, out: &mut Out<'_, E>) {
        let place = self.place();
        match &mut self.protocol {
            Protocol::Unknown => {
                self.doubt = [true; 2];
                self.protocol = Protocol::Torn(Torn::default());
            }
            Protocol::Other => {}
            // What is missing may have been a request.
            Protocol::Torn(Torn { newest, .. }) | Protocol::Behind(newest) => {
                newest.last = Default::default();
            }
            // Answers are to come of requests that are lost.
            Protocol::Http1(pipeline) => pipeline.lost(&mut |event| out.pipelined(event, place)),
            Protocol::Http2(connection) => connection.lost(&mut |event| out.streamed(event, place)),
        }
        self.drop_broken(Default::default());
    }

    /// The connection ended with this record.
    pub(super) fn end<E: Listener>(
        mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        if [event.message, event.offset] != self.numbers {
            self.lost(out);
        }
        let place = self.place();
        match self.protocol {
            Protocol::Unknown | Protocol::Torn(_) | Protocol::Behind(_) | Protocol::Other => {}
            Protocol::Http1(pipeline) => {
                pipeline.end(event.at_ns, &mut |event| out.pipelined(event, place));
            }
            Protocol::Http2(mut connection) => {
                connection.end(event.at_ns, &mut |event| out.streamed(event, place));
            }
        }
        RecordOutcome::Delivered
    }

    /// Counts what is open as lost.
    pub(super) fn drop_open<E: Listener>(&self, reason: ExchangeOutcome, out: &mut Out<'_, E>) {
        let place = self.place();
        match &self.protocol {
            Protocol::Unknown | Protocol::Torn(_) | Protocol::Behind(_) | Protocol::Other => {}
            Protocol::Http1(pipeline) => {
                out.lost(reason, pipeline.open() as u64);
                for opened in pipeline.opened() {
                    out.open(place, opened, Step::Dropped, false);
                }
            }
            Protocol::Http2(connection) => {
                out.lost(reason, connection.unsettled());
                for opened in connection.opened() {
                    out.open(place, opened, Step::Dropped, true);
                }
            }
        }
    }

    /// Takes leave of what can't be read any further: for good, or, of a pipeline of which records are missing, until it falls silent. `last` is when the newest
    /// piece was moved, and which way.
    fn drop_broken(&mut self, last: (u64, Direction)) {
        let after = match &self.protocol {
            Protocol::Http1(pipeline) => match pipeline.broken() {
                None => return,
                // An answer may be the first to show that its request's record is missing.
                Some(ExchangeOutcome::NoRequest | ExchangeOutcome::RecordLost) => {
                    Protocol::Behind(Newest { last, pieces: 0 })
                }
                Some(_) => Protocol::Other,
            },
            Protocol::Http2(connection) if connection.is_broken() => Protocol::Other,
            _ => return,
        };
        self.protocol = after;
    }

    /// Whether nothing will come of it any more, so that its bytes need not travel.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.protocol, Protocol::Other)
    }
}

/// A connection that speaks HTTP/2; `requests` is NONE where nothing tells which way they go.
fn http2(requests: Direction, start: Start) -> Box<http2::Connection> {
    let limits = http2::Limits::default();
    Box::new(http2::Connection::new(Some(requests), start, limits))
}

fn index(direction: Direction) -> usize {
    usize::from(direction == Direction::SENT)
}

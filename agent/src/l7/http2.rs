//! HTTP/2 (RFC 9113) as an observer reads it: both directions of a connection, in pieces that are cut anywhere, of which the
//! tap captured all but the inner part of large DATA payloads.
//!
//! **What makes an exchange.** A stream, from the end of its request's header block to its own end: END_STREAM of both
//! directions, RST_STREAM, a GOAWAY that leaves it out, or the connection's end. Interim answers (1xx) and trailers are parts
//! of it. CONNECT, with a protocol (RFC 8441) or without, is an exchange as long as its tunnel.
//!
//! **What is not decoded.** Server push: nobody asked for such a stream, so it is no request that was served. Each promise is
//! counted as [`Pushed`](ExchangeOutcome::Pushed), its header block is read for the table's sake, and its frames are passed over.
//!
//! **What is certain.** Positions say which bytes are missing. When a piece is missing, all streams that are open are counted
//! as lost, as any of them may have changed in it. Where it lay within one frame's payload the walk goes on. Else the direction
//! is *astray* until a piece starts with a frame: because the tap says so ([`Connection::aligned`]), or because it looks so much
//! like one that only bytes made for the purpose could deceive (`frame.rs`; it stays a guess until a head is read). The header table of that direction is then
//! unknown, and is learned anew ([`hpack`](super::hpack)). While one direction is astray, or may be, the streams that the
//! other one shows are counted and not decoded. Ids rise by two, so that the first request behind a gap tells how many were in it.
//!
//! A stream whose method, path or status can't be known is counted as [`HeaderUnknown`](ExchangeOutcome::HeaderUnknown). One whose
//! other headers can't be known is handed on as [`partial`](Stream::partial).

mod fault;
mod frame;
mod head;
mod hearer;
mod lane;
mod streams;

use std::num::NonZeroUsize;

use fathom_abi::message::Direction;

pub use self::{fault::Fault, frame::Search, streams::Request};
use self::{
    hearer::{Hearer, Roles},
    lane::Lane,
    streams::{Moved, Streams},
};
use super::{
    counts::ExchangeOutcome,
    exchange::{Opened, Step, Unanswered},
    grpc,
    piece::Piece,
};

/// How a connection comes to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Both directions are seen from their first byte, at position 0. The client's starts with the preface.
    Preface,
    /// The connection was upgraded from HTTP/1 (h2c). Both directions are seen from their first byte behind HTTP/1, at position 0: the client's starts with
    /// the preface, the server's with a frame.
    Upgraded,
    /// The connection was open before. Each direction's first piece starts with a frame.
    Joined,
}

/// What a connection may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open streams. One costs some 500 bytes, and one with a long path counts as more than one. The last may go beyond.
    pub streams: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: const { NonZeroUsize::new(16_384).unwrap() },
        }
    }
}

/// A stream that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its id.
    pub id: u32,
    /// Its request.
    pub request: Request,
    /// The status of the final answer, or why there is none.
    pub status: Result<u16, Unanswered>,
    /// Why the answer did not come to its end; none for a whole one.
    pub cut: Option<Unanswered>,
    /// When the I/O call returned that moved the end: of the answer, or what cut it off. Never before the start.
    pub end_ns: u64,
    /// Payload bytes of the request's HEADERS, CONTINUATION and DATA frames. Of stream 1 of an upgraded connection what the
    /// caller said.
    pub request_bytes: u64,
    /// The same of the answer, interim ones included.
    pub response_bytes: u64,
    /// What it is if it is a gRPC call.
    pub rpc: Option<grpc::Call>,
    /// Headers are unknown, among which there may have been a `traceparent`, or what tells a gRPC call or its status.
    pub partial: bool,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request was read, or something happened to one that is open.
    Open(Opened, Step),
    /// A stream is over.
    Done(Stream),
    /// So many are known to have been, and can't be told.
    Lost(ExchangeOutcome, u64),
}

/// A connection that speaks HTTP/2.
pub struct Connection {
    /// By [`index`].
    lanes: [Lane; 2],
    streams: Streams,
    roles: Roles,
    fault: Option<Fault>,
    ended: bool,
}

impl Connection {
    /// A connection of which nothing was seen. `requests` is the direction that goes from client to server, where that is known; of one that was open before it may be
    /// a guess, which the first head corrects.
    pub fn new(requests: Option<Direction>, start: Start, limits: Limits) -> Self {
        let requests = requests.filter(|&requests| index(requests).is_some());
        let lane = |direction| {
            let mut lane = match (start, requests) {
                (Start::Joined, _) => Lane::joined(),
                (_, Some(requests)) if requests != direction => Lane::frames(),
                (_, requests) => Lane::preface(requests.is_some()),
            };
            lane.expected = (start != Start::Joined).then_some(0);
            lane
        };
        Self {
            lanes: [lane(Direction::RECEIVED), lane(Direction::SENT)],
            streams: Streams::new(start != Start::Joined, limits.streams),
            roles: Roles {
                requests,
                certain: start != Start::Joined,
                max_frame: frame::INITIAL_MAX_FRAME,
            },
            fault: None,
            ended: false,
        }
    }

    /// Gives the request of stream 1 of an upgraded connection, which was HTTP/1: it has ended, and took so many bytes. To be
    /// called before the first piece.
    pub fn upgraded(&mut self, request: Request, bytes: u64) {
        self.streams.upgraded(request, bytes);
    }

    /// The client's direction, as far as it is known.
    pub fn requests(&self) -> Option<Direction> {
        self.roles.requests
    }

    /// Whether that is certain: a guess is corrected by the first head.
    pub fn knows_requests(&self) -> bool {
        self.roles.certain && self.roles.requests.is_some()
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.streams.len()
    }

    /// Streams that nothing was said of yet: those that are open, and those that were answered and whose request was not seen.
    pub fn unsettled(&self) -> u64 {
        self.streams.len() as u64 + self.streams.unseen()
    }

    /// The requests of streams that are open; of one whose answer came first none is known.
    pub fn opened(&self) -> impl Iterator<Item = Opened> {
        self.streams.opened()
    }

    /// Whether it was given up for good.
    pub fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    /// Why it was given up.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The next piece of this direction starts with a frame: the caller knows, as the tap walks the frames itself and loses
    /// nothing. Needed only after a loss, and without it a piece is looked at for what it seems.
    pub fn aligned(&mut self, direction: Direction) {
        if let Some(at) = index(direction) {
            self.lanes[at].aligned = true;
        }
    }

    /// The next piece of either direction.
    pub fn piece(&mut self, piece: &Piece<'_>, out: &mut impl FnMut(Event)) {
        let Some(at) = index(piece.direction) else {
            return;
        };
        if self.fault.is_some() || self.ended || piece.length == 0 {
            return;
        }
        let walked = self.walk(at, piece, out);
        if let Err(fault) = walked {
            let lane = &mut self.lanes[at];
            if lane.is_guessed() && fault != Fault::OutOfOrder {
                lane.go_astray();
                self.streams.drop_open(ExchangeOutcome::RecordLost, out);
                if self.roles.requests == Some(piece.direction) {
                    self.streams.unread(piece.length);
                }
                return;
            }
            self.fault = Some(fault);
            let reason = match fault {
                Fault::OutOfOrder => ExchangeOutcome::OutOfOrder,
                _ => ExchangeOutcome::FrameError,
            };
            self.streams.drop_open(reason, out);
            self.streams.never_seen(out);
        }
    }

    /// Records are missing, of which direction is not known. The positions of the next pieces tell where.
    pub fn lost(&mut self, out: &mut impl FnMut(Event)) {
        if self.fault.is_some() || self.ended {
            return;
        }
        for lane in &mut self.lanes {
            lane.doubt = true;
        }
        self.streams.drop_open(ExchangeOutcome::RecordLost, out);
    }

    /// The connection ended, and all of it was handed in but what [`Connection::lost`] told of.
    pub fn end(&mut self, at_ns: u64, out: &mut impl FnMut(Event)) {
        if self.fault.is_some() || self.ended {
            return;
        }
        self.ended = true;
        let in_doubt = self.lanes.iter().any(|lane| lane.doubt);
        if in_doubt {
            self.streams.drop_open(ExchangeOutcome::RecordLost, out);
        }
        self.streams.never_seen(out);
        if in_doubt {
            return;
        }
        self.streams.close(at_ns, out);
        let requests = self.roles.requests.and_then(index);
        let cut = requests.and_then(|at| self.lanes[at].open_block());
        if cut.is_some_and(|id| self.streams.is_new(id)) {
            out(Event::Lost(ExchangeOutcome::BadRequest, 1));
        }
    }

    fn walk(
        &mut self,
        at: usize,
        piece: &Piece<'_>,
        out: &mut impl FnMut(Event),
    ) -> Result<(), Fault> {
        let is_requests = self.roles.requests == Some(piece.direction);
        let data = piece.captured();
        let other_unsure = self.lanes[1 - at].is_unsure();
        let lane = &mut self.lanes[at];
        let end = piece.position.saturating_add(piece.length);
        let gap = match lane.expected {
            // What comes too late was counted as missing, and what comes twice says nothing new.
            Some(expected) if end <= expected => return Ok(()),
            Some(expected) if piece.position < expected => return Err(Fault::OutOfOrder),
            Some(expected) => piece.position - expected,
            None => 0,
        };
        if gap > 0 {
            self.streams.drop_open(ExchangeOutcome::RecordLost, out);
        } else if lane.doubt && lane.expected.is_none() {
            lane.go_astray();
        }
        lane.expected = Some(end);
        lane.doubt = false;
        let mut hearer = Hearer {
            streams: &mut self.streams,
            roles: &mut self.roles,
            direction: piece.direction,
            // What lay in a gap has no time, so that no stream is made of it.
            undecoded: gap > 0 || other_unsure,
            moved: Moved {
                at_ns: piece.at_ns,
                thread: piece.thread,
            },
            out,
        };
        let walked = lane.hole(gap, &mut hearer);
        if is_requests {
            // Behind the head that the gap cut off, if it did: more may have been in it.
            hearer.streams.unread(gap);
        }
        walked?;
        hearer.undecoded = other_unsure;
        let aligned = std::mem::take(&mut lane.aligned);
        if lane.is_astray() {
            let highest = hearer.streams.highest();
            let max_frame = hearer.roles.max_frame;
            if !aligned && !lane.search.finds_within(piece, max_frame, highest) {
                if is_requests {
                    self.streams.unread(piece.length);
                }
                return Ok(());
            }
            lane.resume(!aligned);
        }
        lane.bytes(data, &mut hearer)?;
        lane.hole(piece.hole(), &mut hearer)?;
        if lane.is_astray() {
            if is_requests {
                self.streams.unread(piece.length);
            }
            self.streams.drop_open(ExchangeOutcome::Unreadable, out);
        }
        Ok(())
    }
}

/// Whether these bytes start as what each side's first frame is: SETTINGS, which acknowledges nothing (RFC 9113 section 3.4).
pub fn starts_with_settings(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_none_or(|bytes| {
        let header = frame::Header::read(bytes);
        header.kind == frame::kind::SETTINGS && !header.has(frame::flag::ACK) && header.is_valid()
    })
}

fn index(direction: Direction) -> Option<usize> {
    match direction {
        Direction::RECEIVED => Some(0),
        Direction::SENT => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

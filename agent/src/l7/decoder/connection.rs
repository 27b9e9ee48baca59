//! One connection: the message that is under way, and the exchange that it belongs to.

use fathom_abi::{
    Endpoints, Role,
    message::{Direction, MessageEvent, MessageKind},
};

use super::{
    SILENCE_NS,
    out::{Listener, Out, Place},
    pieces::Pieces,
};
use crate::l7::{
    counts::{ExchangeOutcome, Recognized, RecordOutcome},
    exchange::Step,
    http1,
    record::Record,
};

mod ahead;
mod idle;
mod pending;
mod read;

pub(super) use self::idle::Idle;
use self::{ahead::Held, pending::Pending};

/// What the connection is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Http,
    /// Two requests were in one message: from here on no response can be given to its request with certainty.
    Pipelined,
    /// 101 or CONNECT: the rest is not HTTP/1.
    Upgraded,
}

/// What the newest message is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Nothing that is waited for.
    Stranger,
    /// The open exchange's request, or more of its body.
    Request,
    /// Interim answers only, of so many bytes.
    Interim(u64),
    /// The open exchange's final answer, behind so many bytes of interim ones.
    Response(u64),
    /// More of the request's body, after the answer had begun.
    Tail,
    /// An answer that was handed on already, which ended after so many bytes (unknown where it had no certain end).
    Done(Option<u64>),
}

pub(super) struct Connection {
    endpoints: Endpoints,
    pending: Option<Box<Pending>>,
    /// Bytes of the newest message that records have told of.
    bytes: u64,
    /// When the newest record was made.
    pub(super) touched_ns: u64,
    now: Now,
    /// The number of the newest message.
    message: u32,
    direction: Direction,
    requests: Direction,
    mode: Mode,
    /// Records are missing, and no request was seen since: the next response's request is counted already.
    after_gap: bool,
    /// Something on it was HTTP/1.
    speaks_http: bool,
    /// It was open before, or more was answered than was asked: an I/O call can be seen later than the one that answers it, where tasks preempt each other. Requests that
    /// were not seen in their turn may be under way.
    late: bool,
    /// Messages that are missing, received and sent, for as long as it is not known which are requests.
    missing: [u64; 2],
    /// Its end was seen: no other will come.
    ended: bool,
    /// The decoder has it in a queue.
    pub(super) queued: bool,
    /// Looks in vain since the newest record.
    pub(super) looks: u8,
    /// Of these, looks that found the connection gone or ahead.
    astray: u8,
    /// What followed the answer that upgraded the connection in its record, and how many bytes that stands for.
    behind_upgrade: (Vec<u8>, u64),
    /// A message that was seen ahead of the one before it, which is still to come.
    held: Option<Box<Held>>,
}

impl Connection {
    /// A connection of which nothing but its first record is known. The tap numbers its messages from 1, so that the records of
    /// those before this one are missing, unless the connection was `forgotten`.
    pub(super) fn new(record: &Record<'_>, forgotten: bool) -> Self {
        let event = &record.event;
        Self {
            endpoints: event.endpoints,
            pending: None,
            bytes: 0,
            touched_ns: event.at_ns,
            now: Now::Stranger,
            message: if forgotten {
                event.message.wrapping_sub(1)
            } else {
                0
            },
            direction: Direction::NONE,
            requests: requests_of(event.role),
            mode: Mode::Http,
            after_gap: false,
            speaks_http: false,
            late: event.role == Role::UNKNOWN,
            missing: [0; 2],
            ended: event.over != 0,
            queued: false,
            looks: 0,
            astray: 0,
            behind_upgrade: (Vec::new(), 0),
            held: None,
        }
    }

    /// Whether an exchange waits for something that a look may tell.
    pub(super) fn is_open(&self) -> bool {
        self.pending.is_some() && self.mode != Mode::Upgraded
    }

    /// The direction of requests, NONE where it is not known.
    pub(super) fn requests(&self) -> Direction {
        self.requests
    }

    /// Whether nothing more can come of it.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.pending.is_none()
    }

    /// A message starts.
    pub(super) fn head<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        let mut outcome = None;
        let was_silent = self.was_silent(event);
        if event.message == self.message.wrapping_add(1) && event.direction != self.direction {
            self.close(event.previous_bytes, event.previous_last_ns, out);
        } else if event.message > self.message {
            self.gap(event.message, event.direction, out);
        } else {
            self.give_up(ExchangeOutcome::OutOfOrder, out);
            outcome = Some(RecordOutcome::OutOfOrder);
        }
        self.message = event.message;
        self.direction = event.direction;
        self.bytes = u64::from(event.io_bytes);
        self.touched(event.at_ns);
        self.now = Now::Stranger;
        if was_silent {
            self.late = false;
            if self.mode == Mode::Pipelined {
                self.mode = Mode::Http;
            }
        }
        let opened = self.open(record, out);
        outcome.unwrap_or(opened)
    }

    /// Whether this message, of a connection that was open before, comes after a silence in which no request can have been under way.
    fn was_silent(&self, event: &MessageEvent) -> bool {
        self.late
            && event.message == self.message.wrapping_add(1)
            && event.direction == self.requests
            && self.direction == self.requests.opposite()
            && event.at_ns.saturating_sub(event.previous_last_ns) >= SILENCE_NS
    }

    /// A head goes on.
    pub(super) fn more<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        if event.message != self.message {
            if event.message < self.message {
                return RecordOutcome::OutOfOrder;
            }
            // The message's first record is missing, and with it what the message is; but only heads of HTTP go on.
            self.speaks_http(out);
            self.gap(
                event.message.wrapping_add(1),
                event.direction.opposite(),
                out,
            );
            self.message = event.message;
            self.direction = event.direction;
            self.now = Now::Stranger;
            self.bytes = u64::from(event.offset) + u64::from(event.io_bytes);
            self.touched(event.at_ns);
            return RecordOutcome::Unknown;
        }
        let told = self.bytes;
        // A record that stems from the same I/O call as the one before adds no bytes.
        if u64::from(event.offset) >= told {
            self.bytes = u64::from(event.offset) + u64::from(event.io_bytes);
        }
        self.touched(event.at_ns);
        let skipped = match self.now {
            Now::Interim(skipped) | Now::Response(skipped) => skipped,
            _ => 0,
        };
        let Some(head) = self
            .pending
            .as_mut()
            .and_then(|pending| pending.partial.take())
        else {
            return self.unused();
        };
        let known = skipped + head.len() as u64;
        if known == told && u64::from(event.offset) > told {
            // All was captured so far, and here is a hole: a record between the two is missing.
            self.give_up(ExchangeOutcome::RecordLost, out);
            self.now = Now::Stranger;
            self.after_gap = true;
            return RecordOutcome::Unknown;
        }
        let head = read::extended(head, known, record);
        if self.now == Now::Request {
            self.read_request(&head, http1::first_request(&head), event, out)
        } else {
            self.read_response(&head, skipped, event, out)
        }
    }

    /// The connection ended.
    pub(super) fn end<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        self.settle(out);
        let event = &record.event;
        if event.message > self.message {
            // The tap tells the end only of connections that spoke HTTP/1.
            self.speaks_http(out);
            // The numbers go one further, so that the last message is among the missing.
            let last = if event.direction == Direction::NONE {
                self.direction
            } else {
                event.direction
            };
            self.gap(event.message.wrapping_add(1), last.opposite(), out);
            return RecordOutcome::Delivered;
        }
        if event.message < self.message {
            self.give_up(ExchangeOutcome::OutOfOrder, out);
            return RecordOutcome::OutOfOrder;
        }
        self.close(event.previous_bytes, event.previous_last_ns, out);
        self.touched(event.at_ns);
        self.ended = true;
        RecordOutcome::Delivered
    }

    /// The connection's bytes travel from the next record on: what they start with, and nothing is left here.
    pub(super) fn travels<E: Listener>(
        mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> (RecordOutcome, Pieces) {
        self.settle(out);
        let event = &record.event;
        let mut pieces = Pieces::new(event, self.requests);
        pieces.took_turns(self.late, self.speaks_http);
        if event.message != self.message.wrapping_add(1) {
            self.speaks_http(out);
            self.gap(event.message, event.direction, out);
            pieces.lost(out);
            return (RecordOutcome::Delivered, pieces);
        }
        self.close(event.previous_bytes, event.previous_last_ns, out);
        let Some(pending) = self.pending.take() else {
            return (RecordOutcome::Delivered, pieces);
        };
        if !pending.is_readable() {
            self.lose(&pending, ExchangeOutcome::BadRequest, out);
        } else if self.mode == Mode::Upgraded {
            let behind = std::mem::take(&mut self.behind_upgrade);
            // It goes on under the name of a stream.
            out.open(self.place(&pending), pending.opened(), Step::Dropped, false);
            if let Some(request) = pending.request() {
                pieces.upgraded(request, behind, self.requests.opposite(), out);
            }
        } else {
            let place = self.place(&pending);
            let opened = pending.opened();
            // Of a connection from before it is not known which answer is whose.
            let begun = if self.late {
                Err(ExchangeOutcome::Pipelined)
            } else {
                pending.begun()
            };
            match begun {
                Ok(begun) => pieces.within(begun),
                Err(reason) => {
                    out.lost(reason, 1);
                    out.open(place, opened, Step::Dropped, false);
                }
            }
        }
        (RecordOutcome::Delivered, pieces)
    }

    /// Whether a request is open that no final answer was seen of.
    pub(super) fn awaits_answer(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| pending.answer.is_none())
    }

    /// Hands on what was open when the connection ended.
    pub(super) fn finish_ended<E: Listener>(&mut self, out: &mut Out<'_, E>) {
        if let Some(mut pending) = self.pending.take() {
            if self.mode == Mode::Upgraded
                && let Some(answer) = pending.answer.as_mut()
            {
                answer.end_ns = self.touched_ns;
            }
            self.finish(pending, out);
        }
    }

    /// Whether this record, the first of a connection that the kernel did not know, is the answer that this ended connection waits
    /// for; it is then ready to take it.
    pub(super) fn is_resumed_by(&mut self, record: &Record<'_>) -> bool {
        let event = &record.event;
        let is_answer = event.kind == MessageKind::HEAD
            && event.message == 1
            && event.direction == self.requests.opposite()
            && http1::response(record.data) != Err(http1::Refused::NotHttp);
        if is_answer {
            self.message = 0;
            self.direction = self.requests;
            self.now = Now::Stranger;
            self.queued = false;
        }
        is_answer
    }

    /// Counts what is open as lost.
    pub(super) fn drop_open<E: Listener>(mut self, reason: ExchangeOutcome, out: &mut Out<'_, E>) {
        self.settle(out);
        if let Some(pending) = &self.pending {
            self.lose(pending, reason, out);
        }
    }

    fn give_up<E: Listener>(&mut self, reason: ExchangeOutcome, out: &mut Out<'_, E>) {
        if let Some(pending) = self.pending.take() {
            self.lose(&pending, reason, out);
        }
    }

    fn touched(&mut self, at_ns: u64) {
        self.touched_ns = at_ns;
        self.looks = 0;
        self.astray = 0;
    }
}

impl Connection {
    /// The newest message is over: its totals are known.
    fn close<E: Listener>(&mut self, total: u64, last_ns: u64, out: &mut Out<'_, E>) {
        let now = std::mem::replace(&mut self.now, Now::Stranger);
        let Some(mut pending) = self.pending.take() else {
            if let Now::Done(Some(end)) = now
                && total > end
                && self.mode == Mode::Http
            {
                out.lost(ExchangeOutcome::NoRequest, 1);
                self.late = true;
            }
            return;
        };
        match now {
            Now::Stranger | Now::Done(_) => self.pending = Some(pending),
            Now::Request => {
                if let Some(head) = pending.partial.take()
                    && !pending.settle_request(&head, self.bytes)
                {
                    self.lose(&pending, cut_short(&head, ExchangeOutcome::BadRequest), out);
                    self.after_gap = true;
                    return;
                }
                pending.request_bytes += total;
                if pending.request_overrun() {
                    self.lose(&pending, ExchangeOutcome::Pipelined, out);
                    self.pipelined(1, out);
                } else {
                    self.pending = Some(pending);
                }
            }
            Now::Interim(bytes) => {
                pending.partial = None;
                if total > bytes {
                    self.lose(&pending, ExchangeOutcome::FinalUnseen, out);
                } else {
                    self.pending = Some(pending);
                }
            }
            Now::Response(skipped) if self.mode == Mode::Upgraded => {
                if let Some(answer) = pending.answer.as_mut() {
                    answer.bytes += total.saturating_sub(skipped);
                }
                self.pending = Some(pending);
            }
            Now::Response(skipped) => {
                if let Some(head) = pending.partial.take()
                    && !pending.settle_response(&head)
                {
                    self.lose(
                        &pending,
                        cut_short(&head, ExchangeOutcome::BadResponse),
                        out,
                    );
                    return;
                }
                let Some(answer) = pending.answer.as_mut() else {
                    return;
                };
                answer.bytes += total.saturating_sub(skipped);
                answer.end_ns = last_ns;
                if answer.total.is_some_and(|total| answer.bytes > total) {
                    if self.late {
                        // Another answer behind it: this one is of a request from before.
                        self.mode = Mode::Pipelined;
                        self.lose(&pending, ExchangeOutcome::Pipelined, out);
                    } else {
                        self.lose(&pending, ExchangeOutcome::BadResponse, out);
                        self.late = true;
                    }
                } else if pending.request_is_open() {
                    self.pending = Some(pending);
                } else {
                    self.finish(pending, out);
                }
            }
            Now::Tail => {
                pending.request_bytes += total;
                if pending.request_overrun() {
                    self.finish(pending, out);
                    self.pipelined(1, out);
                } else if !pending.request_is_open() && pending.response_is_whole() {
                    self.finish(pending, out);
                } else {
                    self.pending = Some(pending);
                }
            }
        }
    }

    /// Records are missing between the newest and number `next`, which goes in `direction`.
    fn gap<E: Listener>(&mut self, next: u32, direction: Direction, out: &mut Out<'_, E>) {
        self.give_up(ExchangeOutcome::RecordLost, out);
        let missing = u64::from(next.wrapping_sub(self.message).saturating_sub(1));
        // Going back from `next`, every other message is in the other direction.
        let (same, other) = (missing / 2, missing.div_ceil(2));
        let [received, sent] = &mut self.missing;
        let (same_way, other_way) = if direction == Direction::RECEIVED {
            (received, sent)
        } else {
            (sent, received)
        };
        *same_way += same;
        *other_way += other;
        if self.speaks_http {
            self.count_missing(out);
        }
        self.now = Now::Stranger;
        self.after_gap = true;
    }

    /// The connection is known to speak HTTP/1: by a head that was read, or because the tap makes such records of no other.
    fn speaks_http<E: Listener>(&mut self, out: &mut Out<'_, E>) {
        if self.late && !self.speaks_http && !self.ended {
            out.counts.recognize(Recognized::Http1);
        }
        self.speaks_http = true;
        self.count_missing(out);
    }

    fn count_missing<E: Listener>(&mut self, out: &mut Out<'_, E>) {
        let [received, sent] = self.missing;
        let requests = match self.requests {
            _ if self.mode == Mode::Upgraded => 0,
            Direction::RECEIVED => received,
            Direction::SENT => sent,
            // Either way round it is as many, or one more.
            _ => received.min(sent),
        };
        self.missing = [0; 2];
        out.lost(ExchangeOutcome::RecordLost, requests);
    }

    fn pipelined<E: Listener>(&mut self, requests: u64, out: &mut Out<'_, E>) {
        self.mode = Mode::Pipelined;
        out.lost(ExchangeOutcome::Pipelined, requests);
    }

    fn place(&self, pending: &Pending) -> Place {
        Place {
            id: pending.connection(),
            endpoints: self.endpoints,
            requests: self.requests,
        }
    }

    /// Says what happened to the open request.
    fn tell<E: Listener>(&mut self, step: Step, out: &mut Out<'_, E>) {
        let Some(mut pending) = self.pending.take() else {
            return;
        };
        pending.told = true;
        // The head of an answer may come in pieces, and begins once.
        let is_answer = matches!(step, Step::Answered { .. });
        if !(is_answer && std::mem::replace(&mut pending.told_answer, true)) {
            out.open(self.place(&pending), pending.opened(), step, false);
        }
        self.pending = Some(pending);
    }

    /// No exchange will come of it.
    fn lose<E: Listener>(&self, pending: &Pending, reason: ExchangeOutcome, out: &mut Out<'_, E>) {
        out.lost(reason, 1);
        if pending.told {
            out.open(self.place(pending), pending.opened(), Step::Dropped, false);
        }
    }

    fn finish<E: Listener>(&mut self, pending: Box<Pending>, out: &mut Out<'_, E>) {
        let end_ns = pending
            .answer
            .as_ref()
            .map_or(self.touched_ns, |answer| answer.end_ns);
        if !pending.is_readable() {
            self.lose(&pending, ExchangeOutcome::BadRequest, out);
            return;
        }
        let place = self.place(&pending);
        if let Some(finished) = pending.finished(end_ns) {
            out.finished(place, finished, None);
        }
    }
}

/// The direction of requests, where the role tells.
pub(super) fn requests_of(role: Role) -> Direction {
    match role {
        Role::CLIENT => Direction::SENT,
        Role::SERVER => Direction::RECEIVED,
        _ => Direction::NONE,
    }
}

/// Why a head of which only this much was captured makes no exchange.
fn cut_short(head: &[u8], reason: ExchangeOutcome) -> ExchangeOutcome {
    if head.is_empty() {
        ExchangeOutcome::Unreadable
    } else {
        reason
    }
}

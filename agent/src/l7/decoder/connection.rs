//! One connection: the message that is under way, and the exchange that it belongs to.

use fathom_abi::{
    Endpoints, Role,
    message::{ConnectionState, Direction, MessageEvent},
};

use crate::l7::{
    counts::{Counts, ExchangeOutcome, RecordOutcome},
    exchange::Exchange,
    http1::{self, Refused},
    record::Record,
};

mod pending;

use self::pending::Pending;

/// The longest head that is put together from several records.
const MAX_HEAD: usize = 8 * 1024;
/// A chunked response to which nothing was added for so long is taken as ended.
const QUIET_NS: u64 = 1_000_000_000;
/// How often a connection must be found gone, or ahead, before what it had open is given up: the records that explain it may
/// still be in the ring.
const PATIENCE: u8 = 3;

/// Where a connection's results go.
pub(super) struct Out<'a, E> {
    pub(super) counts: &'a Counts,
    pub(super) emit: &'a mut E,
}

impl<E: FnMut(Exchange)> Out<'_, E> {
    fn exchange(&mut self, exchange: Exchange) {
        self.counts.exchange(ExchangeOutcome::Delivered, 1);
        (self.emit)(exchange);
    }

    fn lost(&self, reason: ExchangeOutcome, count: u64) {
        self.counts.exchange(reason, count);
    }
}

/// What a look at a quiet connection came to.
pub(super) enum Idle {
    /// Its exchange is still open.
    Open,
    /// Its exchange was handed on or given up.
    Finished,
    /// It is over, and its last record never came.
    Gone,
}

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
    /// The decoder has it in a queue.
    pub(super) queued: bool,
    /// Looks in vain since the newest record.
    pub(super) looks: u8,
    /// Of these, looks that found the connection gone or ahead.
    astray: u8,
}

impl Connection {
    /// A connection of which nothing but the first record is known.
    pub(super) fn new(record: &Record<'_>) -> Self {
        let event = &record.event;
        Self {
            endpoints: event.endpoints,
            pending: None,
            bytes: 0,
            touched_ns: event.at_ns,
            now: Now::Stranger,
            message: event.message.wrapping_sub(1),
            direction: Direction::NONE,
            requests: match event.role {
                Role::CLIENT => Direction::SENT,
                Role::SERVER => Direction::RECEIVED,
                _ => Direction::NONE,
            },
            mode: Mode::Http,
            after_gap: false,
            queued: false,
            looks: 0,
            astray: 0,
        }
    }

    /// Whether an exchange waits for something.
    pub(super) fn is_open(&self) -> bool {
        self.pending.is_some()
    }

    /// A message starts.
    pub(super) fn head<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        let mut outcome = None;
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
        let opened = self.open(record, out);
        outcome.unwrap_or(opened)
    }

    /// A head goes on.
    pub(super) fn more<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        if event.message != self.message {
            if event.message < self.message {
                return RecordOutcome::OutOfOrder;
            }
            // The message's first record is missing, and with it what the message is.
            self.gap(
                event.message.wrapping_add(1),
                opposite(event.direction),
                out,
            );
            self.message = event.message;
            self.direction = event.direction;
            self.now = Now::Stranger;
            self.bytes = u64::from(event.offset) + u64::from(event.io_bytes);
            self.touched(event.at_ns);
            return RecordOutcome::Unknown;
        }
        // A record that stems from the same I/O call as the one before adds no bytes.
        if u64::from(event.offset) >= self.bytes {
            self.bytes = u64::from(event.offset) + u64::from(event.io_bytes);
        }
        self.touched(event.at_ns);
        let Some(head) = self
            .pending
            .as_mut()
            .and_then(|pending| pending.partial.take())
        else {
            return self.unused();
        };
        let (Now::Interim(skipped) | Now::Response(skipped)) = self.now else {
            return self.extend_request(head, record, out);
        };
        let head = extended(head, skipped, record);
        self.read_response(&head, skipped, event.at_ns, out)
    }

    /// The connection ended.
    pub(super) fn end<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        if event.message > self.message {
            // The numbers go one further, so that the last message is among the missing.
            let last = if event.direction == Direction::NONE {
                self.direction
            } else {
                event.direction
            };
            self.gap(event.message.wrapping_add(1), opposite(last), out);
            return RecordOutcome::Delivered;
        }
        if event.message < self.message {
            self.give_up(ExchangeOutcome::OutOfOrder, out);
            return RecordOutcome::OutOfOrder;
        }
        self.close(event.previous_bytes, event.previous_last_ns, out);
        if let Some(pending) = self.pending.take() {
            self.touched_ns = event.at_ns;
            self.finish(pending, out);
        }
        RecordOutcome::Delivered
    }

    /// Counts what is open as lost.
    pub(super) fn drop_open<E: FnMut(Exchange)>(self, reason: ExchangeOutcome, out: &Out<'_, E>) {
        if self.pending.is_some() {
            out.lost(reason, 1);
        }
    }

    fn give_up<E: FnMut(Exchange)>(&mut self, reason: ExchangeOutcome, out: &Out<'_, E>) {
        if self.pending.take().is_some() {
            out.lost(reason, 1);
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
    fn close<E: FnMut(Exchange)>(&mut self, total: u64, last_ns: u64, out: &mut Out<'_, E>) {
        let now = std::mem::replace(&mut self.now, Now::Stranger);
        let Some(mut pending) = self.pending.take() else {
            if let Now::Done(Some(end)) = now
                && total > end
                && self.mode == Mode::Http
            {
                out.lost(ExchangeOutcome::NoRequest, 1);
            }
            return;
        };
        match now {
            Now::Stranger | Now::Done(_) => self.pending = Some(pending),
            Now::Request => {
                if let Some(head) = pending.partial.take()
                    && !pending.settle_request(&head, total)
                {
                    out.lost(ExchangeOutcome::BadRequest, 1);
                    self.after_gap = true;
                    return;
                }
                pending.request_bytes += total;
                if pending.request_overrun() {
                    self.pipelined(2, out);
                } else {
                    self.pending = Some(pending);
                }
            }
            Now::Interim(bytes) => {
                if total > bytes {
                    out.lost(ExchangeOutcome::FinalUnseen, 1);
                } else {
                    self.pending = Some(pending);
                }
            }
            Now::Response(skipped) => {
                if let Some(head) = pending.partial.take()
                    && !pending.settle_response(&head)
                {
                    out.lost(ExchangeOutcome::BadResponse, 1);
                    return;
                }
                let Some(answer) = pending.answer.as_mut() else {
                    return;
                };
                answer.bytes += total.saturating_sub(skipped);
                answer.end_ns = last_ns;
                if answer.total.is_some_and(|total| answer.bytes > total) {
                    out.lost(ExchangeOutcome::BadResponse, 1);
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
    fn gap<E: FnMut(Exchange)>(&mut self, next: u32, direction: Direction, out: &mut Out<'_, E>) {
        self.give_up(ExchangeOutcome::RecordLost, out);
        let missing = u64::from(next.wrapping_sub(self.message).saturating_sub(1));
        // Going back from `next`, every other message is in the other direction.
        let requests = if self.requests == Direction::NONE || self.mode == Mode::Upgraded {
            0
        } else if self.requests == direction {
            missing / 2
        } else {
            missing.div_ceil(2)
        };
        out.lost(ExchangeOutcome::RecordLost, requests);
        self.now = Now::Stranger;
        self.after_gap = true;
    }

    fn pipelined<E: FnMut(Exchange)>(&mut self, requests: u64, out: &Out<'_, E>) {
        self.mode = Mode::Pipelined;
        out.lost(ExchangeOutcome::Pipelined, requests);
    }

    /// What a record comes to that nothing waits for.
    fn unused(&self) -> RecordOutcome {
        match self.mode {
            Mode::Http => RecordOutcome::Delivered,
            Mode::Pipelined => RecordOutcome::Pipelined,
            Mode::Upgraded => RecordOutcome::Upgraded,
        }
    }

    /// Finds out what a new message is.
    fn open<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        match self.mode {
            Mode::Http => {}
            Mode::Upgraded => return RecordOutcome::Upgraded,
            Mode::Pipelined => {
                if event.direction == self.requests {
                    out.lost(
                        ExchangeOutcome::Pipelined,
                        http1::count_requests(record.data),
                    );
                }
                return RecordOutcome::Pipelined;
            }
        }
        let is_response = self.requests != Direction::NONE && event.direction != self.requests;
        let Some(pending) = self.pending.as_mut() else {
            return if is_response {
                self.orphan(record, out)
            } else {
                self.start(record, out)
            };
        };
        match (&pending.answer, is_response) {
            (None, true) => {
                self.now = Now::Response(0);
                self.read_response(record.data, 0, event.at_ns, out)
            }
            (None, false) => {
                // After an interim answer: the body that it asked for, or that was under way.
                self.now = Now::Request;
                RecordOutcome::Delivered
            }
            (Some(answer), true) => {
                if answer.total.is_none() && http1::response(record.data).is_ok() {
                    // The message before held the rest of a body and a request behind it.
                    if let Some(pending) = self.pending.take() {
                        self.finish(pending, out);
                    }
                    self.pipelined(1, out);
                } else {
                    self.now = Now::Response(0);
                }
                RecordOutcome::Delivered
            }
            (Some(_), false) => {
                let request =
                    || http1::request(record.data).is_ok_and(|request| request.version.is_some());
                if pending.body_may_be_left_out() && request() {
                    if let Some(pending) = self.pending.take() {
                        self.finish(pending, out);
                    }
                    return self.start(record, out);
                }
                self.now = Now::Tail;
                RecordOutcome::Delivered
            }
        }
    }

    /// A message in the direction of requests, and nothing is open.
    fn start<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        match http1::request(record.data) {
            Err(Refused::NotHttp) => return self.orphan(record, out),
            Err(Refused::Short)
                if self.requests == Direction::NONE
                    && http1::response(record.data) != Err(Refused::NotHttp) =>
            {
                return self.orphan(record, out);
            }
            _ => {}
        }
        self.requests = record.event.direction;
        self.after_gap = false;
        self.now = Now::Request;
        self.pending = Some(Box::new(Pending::new(&record.event)));
        self.read_request(record.data, &record.event, out)
    }

    /// A message that no open request explains.
    fn orphan<E: FnMut(Exchange)>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let Ok(response) = http1::response(record.data) else {
            return RecordOutcome::NotHttp;
        };
        if self.requests == Direction::NONE {
            self.requests = opposite(record.event.direction);
        }
        if record.event.direction == self.requests {
            return RecordOutcome::NotHttp;
        }
        if !response.is_interim() && !std::mem::take(&mut self.after_gap) {
            out.lost(ExchangeOutcome::NoRequest, 1);
        }
        RecordOutcome::Delivered
    }

    fn extend_request<E: FnMut(Exchange)>(
        &mut self,
        head: Vec<u8>,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let head = extended(head, 0, record);
        self.read_request(&head, &record.event, out)
    }

    /// Reads as much of the open request's head as is there.
    fn read_request<E: FnMut(Exchange)>(
        &mut self,
        head: &[u8],
        event: &MessageEvent,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let Some(pending) = self.pending.as_mut() else {
            return self.unused();
        };
        match http1::request(head) {
            Ok(request) if request.length.is_some() => {
                pending.take_request(&request, head);
                let behind = pending
                    .request_total
                    .and_then(|total| head.get(usize::try_from(total).ok()?..));
                let more = behind.map_or(0, http1::count_requests);
                if more > 0 {
                    self.pending = None;
                    self.pipelined(1 + more, out);
                    return RecordOutcome::Pipelined;
                }
            }
            Err(Refused::NotHttp) => {
                self.pending = None;
                self.now = Now::Stranger;
                if event.offset > 0 {
                    out.lost(ExchangeOutcome::BadRequest, 1);
                    self.after_gap = true;
                }
                return RecordOutcome::NotHttp;
            }
            Ok(_) | Err(Refused::Short) => pending.partial = Some(head.to_vec()),
        }
        RecordOutcome::Delivered
    }

    /// Reads as much of the answer's head as is there; `head` starts `skipped` bytes into the message.
    fn read_response<E: FnMut(Exchange)>(
        &mut self,
        mut head: &[u8],
        mut skipped: u64,
        at_ns: u64,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let Some(pending) = self.pending.as_mut() else {
            return self.unused();
        };
        loop {
            match http1::response(head) {
                Ok(response) if response.is_interim() => {
                    let Some(rest) = response.length.and_then(|length| head.get(length..)) else {
                        break;
                    };
                    skipped += (head.len() - rest.len()) as u64;
                    self.now = Now::Interim(skipped);
                    head = rest;
                    if rest.is_empty() {
                        return RecordOutcome::Delivered;
                    }
                }
                Ok(response) if response.length.is_some() => {
                    self.now = Now::Response(skipped);
                    pending.take_response(&response, head);
                    return self.answered(response.status, skipped, at_ns, out);
                }
                Ok(_) | Err(Refused::Short) => break,
                Err(Refused::NotHttp) => {
                    self.now = Now::Stranger;
                    self.give_up(ExchangeOutcome::BadResponse, out);
                    return RecordOutcome::NotHttp;
                }
            }
        }
        self.now = Now::Response(skipped);
        pending.partial = Some(head.to_vec());
        RecordOutcome::Delivered
    }

    /// The answer's head is whole; perhaps the answer is.
    fn answered<E: FnMut(Exchange)>(
        &mut self,
        status: u16,
        skipped: u64,
        at_ns: u64,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let Some(mut pending) = self.pending.take() else {
            return self.unused();
        };
        let upgraded =
            status == 101 || (pending.method() == "CONNECT" && (200..300).contains(&status));
        let bytes = self.bytes.saturating_sub(skipped);
        let request_is_open = pending.request_is_open();
        let Some(answer) = pending.answer.as_mut() else {
            return self.unused();
        };
        if upgraded {
            self.mode = Mode::Upgraded;
            answer.bytes = answer.head;
            answer.end_ns = at_ns;
            self.finish(pending, out);
        } else if answer.total == Some(bytes) && !request_is_open {
            answer.bytes = bytes;
            answer.end_ns = at_ns;
            self.now = Now::Done(Some(self.bytes));
            self.finish(pending, out);
        } else {
            self.pending = Some(pending);
        }
        RecordOutcome::Delivered
    }

    fn finish<E: FnMut(Exchange)>(&mut self, pending: Box<Pending>, out: &mut Out<'_, E>) {
        let end_ns = pending
            .answer
            .as_ref()
            .map_or(self.touched_ns, |answer| answer.end_ns);
        match pending.exchange(self.requests, &self.endpoints, end_ns) {
            Some(exchange) => out.exchange(exchange),
            None => out.lost(ExchangeOutcome::BadRequest, 1),
        }
    }

    /// What the kernel says of a quiet connection; `state` is its entry, if it still is this connection's.
    pub(super) fn idle<E: FnMut(Exchange)>(
        &mut self,
        state: Option<&ConnectionState>,
        now_ns: u64,
        out: &mut Out<'_, E>,
    ) -> Idle {
        self.looks = self.looks.saturating_add(1);
        let Some(state) = state else {
            self.astray += 1;
            if self.astray < PATIENCE {
                return Idle::Open;
            }
            self.give_up(ExchangeOutcome::RecordLost, out);
            return Idle::Gone;
        };
        if state.message != self.message {
            self.astray += 1;
            if self.astray < PATIENCE || state.message < self.message {
                return Idle::Open;
            }
            self.gap(
                state.message.wrapping_add(1),
                opposite(state.direction),
                out,
            );
            self.message = state.message;
            self.direction = state.direction;
            return Idle::Finished;
        }
        let Some(pending) = self.pending.as_mut() else {
            return Idle::Finished;
        };
        let quiet = now_ns.saturating_sub(state.last_ns) >= QUIET_NS;
        let (bytes, end_ns) = match (self.now, pending.answer.as_ref()) {
            (Now::Response(skipped), Some(answer)) if pending.partial.is_none() => (
                answer.bytes + state.bytes.saturating_sub(skipped),
                state.last_ns,
            ),
            (Now::Tail, Some(answer)) if quiet => (answer.bytes, answer.end_ns),
            _ => return Idle::Open,
        };
        let Some(answer) = pending.answer.as_mut() else {
            return Idle::Open;
        };
        let done = match answer.total {
            Some(total) if bytes > total => {
                self.now = Now::Done(None);
                self.give_up(ExchangeOutcome::BadResponse, out);
                return Idle::Finished;
            }
            Some(total) => bytes == total,
            None => answer.chunked && quiet,
        };
        let exact = answer.total.is_some();
        if !done || (pending.request_is_open() && !quiet) {
            return Idle::Open;
        }
        if let Some(mut pending) = self.pending.take() {
            if let Some(answer) = pending.answer.as_mut() {
                answer.bytes = bytes;
                answer.end_ns = end_ns;
            }
            if self.now == Now::Tail {
                pending.request_bytes += state.bytes;
            }
            self.now = Now::Done((exact && self.now != Now::Tail).then_some(state.bytes));
            self.finish(pending, out);
        }
        Idle::Finished
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::SENT => Direction::RECEIVED,
        Direction::RECEIVED => Direction::SENT,
        other => other,
    }
}

/// A cut head with what the record adds to it; a record that leaves a hole adds nothing.
fn extended(mut head: Vec<u8>, skipped: u64, record: &Record<'_>) -> Vec<u8> {
    if skipped + head.len() as u64 == u64::from(record.event.offset) {
        let room = MAX_HEAD.saturating_sub(head.len());
        head.extend_from_slice(&record.data[..record.data.len().min(room)]);
    }
    head
}

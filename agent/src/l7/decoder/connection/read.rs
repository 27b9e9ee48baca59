//! What a new message is, and what its head says.

use fathom_abi::message::{Direction, MessageEvent};

use super::{Connection, Mode, Now, pending::Pending};
use crate::l7::{
    counts::{ExchangeOutcome, RecordOutcome},
    decoder::out::{Listener, Out},
    exchange::{Step, Thread},
    http1::{self, MAX_HEAD, Refused},
    record::Record,
};

impl Connection {
    /// What a record comes to that nothing waits for.
    pub(super) fn unused(&self) -> RecordOutcome {
        match self.mode {
            Mode::Http => RecordOutcome::Delivered,
            Mode::Pipelined => RecordOutcome::Pipelined,
            Mode::Upgraded => RecordOutcome::Upgraded,
        }
    }

    /// Finds out what a new message is.
    pub(super) fn open<E: Listener>(
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
                self.read_response(record.data, 0, event, out)
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
                if pending.body_may_be_left_out() && http1::may_be_request(record.data) {
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
    fn start<E: Listener>(&mut self, record: &Record<'_>, out: &mut Out<'_, E>) -> RecordOutcome {
        let parsed = http1::first_request(record.data);
        // Where the direction of requests is not known, a few letters are not enough to tell it.
        let unsure = self.requests == Direction::NONE
            && parsed.is_err()
            && !http1::may_be_request(record.data);
        if parsed == Err(Refused::NotHttp) || unsure {
            return self.orphan(record, out);
        }
        self.requests = record.event.direction;
        self.after_gap = false;
        self.now = Now::Request;
        self.pending = Some(Box::new(Pending::new(&record.event)));
        self.read_request(record.data, parsed, &record.event, out)
    }

    /// A message that no open request explains.
    fn orphan<E: Listener>(&mut self, record: &Record<'_>, out: &mut Out<'_, E>) -> RecordOutcome {
        let Ok(response) = http1::response(record.data) else {
            return RecordOutcome::NotHttp;
        };
        if self.requests == Direction::NONE {
            self.requests = record.event.direction.opposite();
        }
        if record.event.direction == self.requests {
            return RecordOutcome::NotHttp;
        }
        self.speaks_http(out);
        if !response.is_interim() && !std::mem::take(&mut self.after_gap) {
            out.lost(ExchangeOutcome::NoRequest, 1);
            self.late = true;
        }
        RecordOutcome::Delivered
    }

    /// Takes as much of the open request's head as is there: `parsed` is what `head` says.
    pub(super) fn read_request<E: Listener>(
        &mut self,
        head: &[u8],
        parsed: Result<http1::Request<'_>, Refused>,
        event: &MessageEvent,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        if parsed.is_ok() {
            self.speaks_http(out);
        }
        let Some(pending) = self.pending.as_mut() else {
            return self.unused();
        };
        if event.offset > 0 {
            pending.goes_on(event);
        }
        match parsed {
            Ok(request) if request.length.is_some() => {
                pending.take_request(&request, head);
                let behind = pending
                    .request_total
                    .and_then(|total| head.get(usize::try_from(total).ok()?..));
                let more = behind.map_or(0, http1::count_requests);
                if more > 0 {
                    self.give_up(ExchangeOutcome::Pipelined, out);
                    self.pipelined(more, out);
                    return RecordOutcome::Pipelined;
                }
            }
            Err(Refused::NotHttp) => {
                self.now = Now::Stranger;
                if event.offset > 0 {
                    self.give_up(ExchangeOutcome::BadRequest, out);
                    self.after_gap = true;
                }
                self.pending = None;
                return RecordOutcome::NotHttp;
            }
            Ok(request) => {
                pending.take_context(&request);
                pending.partial = Some(head.to_vec());
            }
            Err(Refused::Short) => pending.partial = Some(head.to_vec()),
        }
        // What of a head is beyond the capture, or still to come, need not be known for that.
        self.tell(Step::Started, out);
        RecordOutcome::Delivered
    }

    /// Reads as much of the answer's head as is there; `head` starts `skipped` bytes into the message.
    pub(super) fn read_response<E: Listener>(
        &mut self,
        mut head: &[u8],
        mut skipped: u64,
        event: &MessageEvent,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let answered = Step::Answered {
            thread: Thread::of(event),
            at_ns: event.at_ns,
        };
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
                        // The next record of this message, if there is one, may hold the final answer.
                        pending.partial = Some(Vec::new());
                        return RecordOutcome::Delivered;
                    }
                }
                Ok(response) if response.length.is_some() => {
                    self.now = Now::Response(skipped);
                    pending.take_response(&response, head);
                    self.tell(answered, out);
                    return self.answered(response.status, head, skipped, event.at_ns, out);
                }
                Ok(response) => {
                    pending.partial = Some(head.to_vec());
                    self.now = Now::Response(skipped);
                    if !response.is_interim() {
                        self.tell(answered, out);
                    }
                    return RecordOutcome::Delivered;
                }
                Err(Refused::Short) => break,
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
    fn answered<E: Listener>(
        &mut self,
        status: u16,
        body: &[u8],
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
            // An exchange as long as what follows it.
            self.mode = Mode::Upgraded;
            answer.end_ns = at_ns;
            let head = usize::try_from(answer.head).unwrap_or(usize::MAX);
            let behind = body.get(head..).unwrap_or_default();
            self.behind_upgrade = (behind.to_vec(), bytes.saturating_sub(answer.head));
            self.pending = Some(pending);
        } else if answer.total == Some(bytes) && !request_is_open && !self.late {
            answer.bytes = bytes;
            answer.end_ns = at_ns;
            self.now = Now::Done(Some(self.bytes));
            self.finish(pending, out);
        } else {
            self.pending = Some(pending);
        }
        RecordOutcome::Delivered
    }
}

/// A cut head of `known` bytes of its message with what the record adds to it; a record that leaves a hole adds nothing.
pub(super) fn extended(mut head: Vec<u8>, known: u64, record: &Record<'_>) -> Vec<u8> {
    if known == u64::from(record.event.offset) {
        let room = MAX_HEAD.saturating_sub(head.len());
        head.extend_from_slice(&record.data[..record.data.len().min(room)]);
    }
    head
}

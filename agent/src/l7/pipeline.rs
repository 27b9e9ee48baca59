//! HTTP/1 as two byte streams: pipelines, where several requests are under way and answers come in their order (RFC 9112
//! section 9.3.2), and whatever else does not take turns.
//!
//! Each direction is walked byte by byte as far as its framing needs it: heads, chunk sizes and trailers are read, bodies are
//! passed over. The n-th final answer belongs to the n-th request. That is certain only as long as not one byte of framing is missing: when one
//! is, everything open is counted as lost, and what follows is not decoded, since an answer to a request that was not seen looks like any
//! other. (The decoder starts anew behind a silence.)

mod half;

use std::{collections::VecDeque, sync::Arc};

use self::half::{Half, Part};
use super::{
    counts::ExchangeOutcome,
    exchange::{Opened, Step, Thread, TraceParent, Unanswered},
    http1::{self, Body},
    piece::Piece,
};

/// Requests without an answer that a pipeline may hold: one costs some 200 bytes.
const MAX_OPEN: usize = 1024;

/// An exchange that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its request.
    pub request: Request,
    /// The status of the final answer, or why there is none.
    pub status: Result<u16, Unanswered>,
    /// Why the answer did not come to its end; none for a whole one.
    pub cut: Option<Unanswered>,
    /// When the I/O call returned that moved the end.
    pub end_ns: u64,
    /// Bytes of the final answer, head and body.
    pub response_bytes: u64,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number of the record that it starts in, which tells it from the connection's others together with `index`.
    pub number: u32,
    /// How many requests started in that record before it.
    pub index: u32,
    /// Who moved its first byte.
    pub thread: Thread,
    /// When the I/O call with its first byte returned.
    pub start_ns: u64,
    /// The method as sent.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// `0.9`, `1.0` or `1.1`.
    pub version: &'static str,
    /// The `traceparent` that it carried.
    pub parent: Option<TraceParent>,
    /// The `tracestate` beside it.
    pub trace_state: Option<Arc<str>>,
    /// Bytes of head and body that went by.
    pub bytes: u64,
}

/// An exchange in whose midst the walk starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its request, as far as it went by.
    pub request: Request,
    /// Bytes of the request's body that are to come.
    pub body_left: u64,
    /// Its final answer, where that has begun.
    pub answer: Option<BegunAnswer>,
}

/// The answer of an exchange in whose midst the walk starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunAnswer {
    /// Its status.
    pub status: u16,
    /// Bytes that went by.
    pub bytes: u64,
    /// Bytes that are to come.
    pub left: u64,
    /// When the newest of them went by.
    pub end_ns: u64,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request was read, or something happened to one that is open.
    Open(Opened, Step),
    /// An exchange is over.
    Done(Finished),
    /// So many are known to have been, and can't be told.
    Lost(ExchangeOutcome, u64),
}

impl Request {
    fn opened(&self) -> Opened {
        Opened {
            message: self.number,
            part: self.index,
            thread: self.thread,
            start_ns: self.start_ns,
            parent: self.parent,
            trace_state: self.trace_state.clone(),
            partial: false,
        }
    }
}

/// A request without its whole answer.
struct Open {
    request: Request,
    is_whole: bool,
    answer: Option<Answer>,
}

struct Answer {
    status: u16,
    bytes: u64,
    end_ns: u64,
    is_whole: bool,
}

/// Where the bytes of a direction come from.
#[derive(Clone, Copy)]
struct From {
    number: u32,
    at_ns: u64,
    thread: Thread,
}

/// A connection that pipelines.
pub struct Pipeline {
    requests: Half,
    answers: Half,
    /// In the order of their requests.
    open: VecDeque<Open>,
    /// When the first byte of the head came that is being read.
    started: Option<From>,
    /// Requests that started in the record with this number.
    in_record: (u32, u32),
    broken: Option<ExchangeOutcome>,
}

impl Pipeline {
    /// Both directions are seen from their next byte on, and the one to come starts a request.
    pub fn new() -> Self {
        Self {
            requests: Half::new(),
            answers: Half::new(),
            open: VecDeque::new(),
            started: None,
            in_record: (0, 0),
            broken: None,
        }
    }

    /// The same, in the midst of an exchange.
    pub fn within(begun: Begun) -> Self {
        let mut pipeline = Self::new();
        pipeline.requests.body(Part::Bytes(begun.body_left));
        let answer = begun.answer.map(|answer| {
            pipeline.answers.body(Part::Bytes(answer.left));
            Answer {
                status: answer.status,
                bytes: answer.bytes,
                end_ns: answer.end_ns,
                is_whole: answer.left == 0,
            }
        });
        pipeline.open.push_back(Open {
            request: begun.request,
            is_whole: begun.body_left == 0,
            answer,
        });
        pipeline
    }

    /// Exchanges that are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Their requests.
    pub fn opened(&self) -> impl Iterator<Item = Opened> {
        self.open.iter().map(|open| open.request.opened())
    }

    /// Why it can't be read any further, if it can't.
    pub fn broken(&self) -> Option<ExchangeOutcome> {
        self.broken
    }

    /// Takes the next piece of the direction of requests, or of that of answers. `number` is its record's.
    pub fn piece(
        &mut self,
        is_requests: bool,
        piece: &Piece<'_>,
        number: u32,
        out: &mut impl FnMut(Event),
    ) {
        if self.broken.is_some() {
            return;
        }
        let from = From {
            number,
            at_ns: piece.at_ns,
            thread: piece.thread,
        };
        let walked = if is_requests {
            self.walk_requests(piece, from, out)
        } else {
            self.walk_answers(piece, from, out)
        };
        if let Err(reason) = walked {
            self.give_up(reason, out);
        }
    }

    /// Records are missing.
    pub fn lost(&mut self, out: &mut impl FnMut(Event)) {
        if self.broken.is_none() {
            self.give_up(ExchangeOutcome::RecordLost, out);
        }
    }

    /// The connection ended, and all of it was handed in.
    pub fn end(self, at_ns: u64, out: &mut impl FnMut(Event)) {
        if self.broken.is_some() {
            return;
        }
        let until_close = self.answers.lasts_until_close();
        for open in self.open {
            let (status, cut, end_ns, response_bytes) = match open.answer {
                Some(answer) => {
                    let is_whole = answer.is_whole || until_close;
                    let cut = (!is_whole).then_some(Unanswered::Closed);
                    (Ok(answer.status), cut, answer.end_ns, answer.bytes)
                }
                None => (Err(Unanswered::Closed), None, at_ns, 0),
            };
            out(Event::Done(Finished {
                request: open.request,
                status,
                cut,
                end_ns,
                response_bytes,
            }));
        }
        if self.requests.has_partial_head() {
            out(Event::Lost(ExchangeOutcome::BadRequest, 1));
        }
    }

    fn give_up(&mut self, reason: ExchangeOutcome, out: &mut impl FnMut(Event)) {
        self.broken = Some(reason);
        let count = self.open.len() as u64 + u64::from(self.requests.has_partial_head());
        if count > 0 {
            out(Event::Lost(reason, count));
        }
        // What it held is of no more use.
        for open in std::mem::take(&mut self.open) {
            out(Event::Open(open.request.opened(), Step::Dropped));
        }
        self.requests = Half::new();
        self.answers = Half::new();
    }

    fn walk_requests(
        &mut self,
        piece: &Piece<'_>,
        from: From,
        out: &mut impl FnMut(Event),
    ) -> Result<(), ExchangeOutcome> {
        let mut data = piece.captured();
        while !data.is_empty() {
            if self.requests.at_head() {
                let started = *self.started.get_or_insert(from);
                let head = self.requests.head(data, |bytes| {
                    let head = http1::first_request(bytes)?;
                    let length = head.length.ok_or(http1::Refused::Short)?;
                    Ok((length, owned(&head, started)))
                });
                let Some((used, (request, body))) =
                    head.map_err(|_| ExchangeOutcome::BadRequest)?
                else {
                    break;
                };
                data = &data[used..];
                self.started = None;
                if self.open.len() >= MAX_OPEN {
                    return Err(ExchangeOutcome::TooManyStreams);
                }
                self.requests.body(match body {
                    Body::Unsaid => Part::None,
                    Body::Length(length) => Part::Bytes(length),
                    Body::Chunked => Part::Chunked,
                    // RFC 9112 section 6.3: a server can't read on, either.
                    Body::OtherCoding | Body::Contradictory => {
                        return Err(ExchangeOutcome::BadRequest);
                    }
                });
                self.begin(request, out);
            } else {
                let used = self
                    .requests
                    .pass(data)
                    .ok_or(ExchangeOutcome::BadRequest)?;
                self.request_grew(used as u64);
                data = &data[used..];
            }
            self.request_went_on(out);
        }
        let hole = piece.hole();
        if hole > 0 {
            if !self.requests.skip(hole) {
                return Err(ExchangeOutcome::Unreadable);
            }
            self.request_grew(hole);
            self.request_went_on(out);
        }
        Ok(())
    }

    fn begin(&mut self, mut request: Request, out: &mut impl FnMut(Event)) {
        if self.in_record.0 != request.number {
            self.in_record = (request.number, 0);
        }
        request.index = self.in_record.1;
        self.in_record.1 += 1;
        out(Event::Open(request.opened(), Step::Started));
        self.open.push_back(Open {
            request,
            is_whole: false,
            answer: None,
        });
    }

    fn request_grew(&mut self, bytes: u64) {
        if let Some(open) = self.open.back_mut() {
            open.request.bytes += bytes;
        }
    }

    /// The newest request is over when its body is.
    fn request_went_on(&mut self, out: &mut impl FnMut(Event)) {
        if self.requests.at_head()
            && let Some(open) = self.open.back_mut()
        {
            open.is_whole = true;
            self.hand_on(out);
        }
    }

    fn walk_answers(
        &mut self,
        piece: &Piece<'_>,
        from: From,
        out: &mut impl FnMut(Event),
    ) -> Result<(), ExchangeOutcome> {
        let mut data = piece.captured();
        while !data.is_empty() {
            if self.answers.at_head() {
                let Some(open) = self.open.iter_mut().find(|open| open.answer.is_none()) else {
                    // Some servers say 408 before they close; anything else answers what was not seen.
                    return Err(ExchangeOutcome::NoRequest);
                };
                let method = &open.request.method;
                let head = self.answers.head(data, |bytes| {
                    let head = http1::response(bytes)?;
                    let length = head.length.ok_or(http1::Refused::Short)?;
                    Ok((
                        length,
                        (
                            head.status,
                            head.is_interim(),
                            length,
                            body_of(&head, method),
                        ),
                    ))
                });
                let Some((used, (status, is_interim, length, part))) =
                    head.map_err(|_| ExchangeOutcome::BadResponse)?
                else {
                    break;
                };
                data = &data[used..];
                if is_interim {
                    continue;
                }
                open.answer = Some(Answer {
                    status,
                    bytes: length as u64,
                    end_ns: from.at_ns,
                    is_whole: false,
                });
                let answered = Step::Answered {
                    thread: from.thread,
                    at_ns: from.at_ns,
                };
                out(Event::Open(open.request.opened(), answered));
                if part == Part::Tunnel {
                    self.requests.body(Part::Tunnel);
                }
                self.answers.body(part);
            } else {
                let used = self
                    .answers
                    .pass(data)
                    .ok_or(ExchangeOutcome::BadResponse)?;
                self.answer_grew(used as u64, from.at_ns);
                data = &data[used..];
            }
            self.answer_went_on(out);
        }
        let hole = piece.hole();
        if hole > 0 {
            if !self.answers.skip(hole) {
                return Err(ExchangeOutcome::Unreadable);
            }
            self.answer_grew(hole, from.at_ns);
            self.answer_went_on(out);
        }
        Ok(())
    }

    /// The answer that is under way.
    fn answer(&mut self) -> Option<&mut Answer> {
        self.open
            .iter_mut()
            .filter_map(|open| open.answer.as_mut())
            .find(|answer| !answer.is_whole)
    }

    fn answer_grew(&mut self, bytes: u64, at_ns: u64) {
        if let Some(answer) = self.answer() {
            answer.bytes += bytes;
            answer.end_ns = at_ns;
        }
    }

    fn answer_went_on(&mut self, out: &mut impl FnMut(Event)) {
        if self.answers.at_head()
            && let Some(answer) = self.answer()
        {
            answer.is_whole = true;
            self.hand_on(out);
        }
    }

    /// Hands on what is whole, in order: a request whose answer came before the end of its body is held until that has come.
    fn hand_on(&mut self, out: &mut impl FnMut(Event)) {
        while let Some(open) = self.open.pop_front_if(|open| {
            open.is_whole && open.answer.as_ref().is_some_and(|answer| answer.is_whole)
        }) {
            let Some(answer) = open.answer else { return };
            out(Event::Done(Finished {
                request: open.request,
                status: Ok(answer.status),
                cut: None,
                end_ns: answer.end_ns,
                response_bytes: answer.bytes,
            }));
        }
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

/// What is kept of a request's head, and what follows it.
fn owned(head: &http1::Request<'_>, from: From) -> (Request, Body) {
    let request = Request {
        number: from.number,
        index: 0,
        thread: from.thread,
        start_ns: from.at_ns,
        method: head.method.to_owned(),
        path: http1::path(head.method, head.target),
        version: head.version.unwrap_or("1.1"),
        parent: head.fields.parent,
        trace_state: head.fields.kept_trace_state(),
        bytes: head.length.map_or(0, |length| (length - head.front) as u64),
    };
    (request, head.fields.body)
}

/// What follows an answer's head (RFC 9112 section 6.3).
fn body_of(head: &http1::Response, method: &str) -> Part {
    if head.status == 101 || (method == "CONNECT" && (200..300).contains(&head.status)) {
        return Part::Tunnel;
    }
    if method == "HEAD" || matches!(head.status, 100..200 | 204 | 304) {
        return Part::None;
    }
    match head.fields.body {
        Body::Length(length) => Part::Bytes(length),
        Body::Chunked => Part::Chunked,
        Body::Unsaid | Body::OtherCoding | Body::Contradictory => Part::UntilClose,
    }
}

#[cfg(test)]
mod tests;

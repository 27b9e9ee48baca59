//! An exchange that is not over.

use std::sync::Arc;

use fathom_abi::{
    ConnectionId,
    message::{MAX_CAPTURE, MessageEvent},
};

use crate::l7::{
    counts::ExchangeOutcome,
    exchange::{ExchangeKey, Opened, Thread, TraceParent, Unanswered},
    http1::{self, Body},
    pipeline::{self, Begun, BegunAnswer, Finished},
};

/// What is known of an exchange so far.
pub(super) struct Pending {
    key: ExchangeKey,
    thread: Thread,
    start_ns: u64,
    /// The listener knows of it.
    pub(super) told: bool,
    /// And that its answer has begun.
    pub(super) told_answer: bool,
    /// What the request's head says so far of the trace.
    parent: Option<TraceParent>,
    trace_state: Option<Arc<str>>,
    request: Option<Request>,
    /// Bytes of the whole request, where its framing says so.
    pub(super) request_total: Option<u64>,
    /// Bytes of its messages that are over.
    pub(super) request_bytes: u64,
    pub(super) answer: Option<Answer>,
    /// The head that is being read, as far as it is known; none once it is whole.
    pub(super) partial: Option<Vec<u8>>,
}

struct Request {
    method: String,
    path: String,
    version: Option<&'static str>,
    /// Its body is chunked, and its end was not seen.
    endless: bool,
    expects_continue: bool,
    head: u64,
    /// Bytes that a proxy put before it.
    front: u64,
}

/// The final answer.
pub(super) struct Answer {
    status: u16,
    version: &'static str,
    /// Bytes of its head; 0 where that was cut.
    pub(super) head: u64,
    /// Bytes of the whole answer, where its framing says so.
    pub(super) total: Option<u64>,
    /// It ends with a last chunk that was not seen.
    pub(super) chunked: bool,
    /// Bytes of its messages that are over.
    pub(super) bytes: u64,
    pub(super) end_ns: u64,
}

impl Pending {
    pub(super) fn new(event: &MessageEvent) -> Self {
        Self {
            key: ExchangeKey {
                connection: event.id,
                message: event.message,
                part: 0,
            },
            thread: Thread::of(event),
            start_ns: event.at_ns,
            told: false,
            told_answer: false,
            parent: None,
            trace_state: None,
            request: None,
            request_total: None,
            request_bytes: 0,
            answer: None,
            partial: None,
        }
    }

    pub(super) fn method(&self) -> &str {
        self.request.as_ref().map_or("", |request| &request.method)
    }

    /// More of the request's head was moved.
    pub(super) fn goes_on(&mut self, event: &MessageEvent) {
        // Of a head that two goroutines have read, the second is the one who wants it.
        self.thread.goroutine = event.goroutine;
    }

    /// Takes what a request's head, of which there may be more, says of the trace.
    pub(super) fn take_context(&mut self, head: &http1::Request<'_>) {
        self.parent = head.fields.parent;
        self.trace_state = head.fields.kept_trace_state();
    }

    /// What is known of the request.
    pub(super) fn opened(&self) -> Opened {
        Opened {
            message: self.key.message,
            part: self.key.part,
            thread: self.thread,
            start_ns: self.start_ns,
            parent: self.parent,
            trace_state: self.trace_state.clone(),
            partial: self
                .request
                .as_ref()
                .is_none_or(|request| request.head == 0),
        }
    }

    /// Whether enough of the request was read to make an exchange of it.
    pub(super) fn is_readable(&self) -> bool {
        self.request.is_some()
    }

    /// Takes what a request's head says; `bytes` are the message's, from its start.
    pub(super) fn take_request(&mut self, head: &http1::Request<'_>, bytes: &[u8]) {
        let chunked = head.fields.body == Body::Chunked;
        self.request_total = match head.length {
            Some(length) if chunked => whole_chunked(bytes, length),
            _ => head.total(),
        };
        self.take_context(head);
        self.request = Some(Request {
            method: head.method.to_owned(),
            path: http1::path(head.method, head.target),
            version: head.version,
            endless: chunked && self.request_total.is_none(),
            expects_continue: head.fields.expects_continue,
            head: head.length.unwrap_or_default() as u64,
            front: head.front as u64,
        });
    }

    /// Makes do with a cut head, of whose message records told of `told` bytes; whether that is enough. It is where the request line
    /// is whole, and where the capture ended within it. Else the sender did not finish it, or the record that did is missing.
    pub(super) fn settle_request(&mut self, bytes: &[u8], told: u64) -> bool {
        match http1::first_request(bytes) {
            Ok(head)
                if head.version.is_some()
                    || told > bytes.len() as u64
                    || bytes.len() >= MAX_CAPTURE =>
            {
                self.take_request(&head, bytes);
                true
            }
            _ => false,
        }
    }

    /// Takes what the final answer's head says; `bytes` start with it.
    pub(super) fn take_response(&mut self, head: &http1::Response, bytes: &[u8]) {
        let chunked = head.fields.body == Body::Chunked;
        let total = match (head.total(self.method()), head.length) {
            (None, Some(length)) if chunked => whole_chunked(bytes, length),
            (total, _) => total,
        };
        self.answer = Some(Answer {
            status: head.status,
            version: head.version,
            head: head.length.unwrap_or_default() as u64,
            total,
            chunked,
            bytes: 0,
            end_ns: 0,
        });
    }

    /// Makes do with a cut head; whether that is enough.
    pub(super) fn settle_response(&mut self, bytes: &[u8]) -> bool {
        match http1::response(bytes) {
            Ok(head) if !head.is_interim() => {
                self.take_response(&head, bytes);
                true
            }
            _ => false,
        }
    }

    /// More came than the request's framing allows, but for the empty line that some clients add (RFC 9112 section 2.2).
    pub(super) fn request_overrun(&self) -> bool {
        self.request_total
            .is_some_and(|total| self.request_bytes > total.saturating_add(2))
    }

    /// Whether some of the request's body is known to be missing. What a cut head leaves unknown is taken as whole.
    pub(super) fn request_is_open(&self) -> bool {
        match self.request_total {
            Some(total) => self.request_bytes < total,
            None => self.request.as_ref().is_some_and(|request| request.endless),
        }
    }

    /// Whether the answer is known to be whole.
    pub(super) fn response_is_whole(&self) -> bool {
        self.answer
            .as_ref()
            .is_some_and(|answer| answer.total.is_some_and(|total| answer.bytes >= total))
    }

    /// Whether the next request may follow although this one's body is not known to be over: its end cannot be seen, or the
    /// sender waited for a `100 Continue` that never came (RFC 9110 section 10.1.1).
    pub(super) fn body_may_be_left_out(&self) -> bool {
        self.request.as_ref().is_some_and(|request| {
            request.endless || (request.expects_continue && self.request_bytes == request.head)
        })
    }

    /// The exchange as far as it went by, where it is known how much is to come: else why it is lost.
    pub(super) fn begun(self: Box<Self>) -> Result<Begun, ExchangeOutcome> {
        let body_left = match self.request_total {
            Some(total) => total.saturating_sub(self.request_bytes),
            None if self.request_is_open() => return Err(ExchangeOutcome::Pipelined),
            None => 0,
        };
        let answer = match &self.answer {
            Some(answer) => Some(BegunAnswer {
                status: answer.status,
                bytes: answer.bytes,
                left: answer
                    .total
                    .ok_or(ExchangeOutcome::Pipelined)?
                    .saturating_sub(answer.bytes),
                end_ns: answer.end_ns,
            }),
            None => None,
        };
        Ok(Begun {
            request: self.request().ok_or(ExchangeOutcome::BadRequest)?,
            body_left,
            answer,
        })
    }

    pub(super) fn connection(&self) -> ConnectionId {
        self.key.connection
    }

    /// The request as far as it went by; none where its head never became readable.
    pub(super) fn request(self: Box<Self>) -> Option<pipeline::Request> {
        let request = self.request?;
        let answer = self.answer.as_ref();
        Some(pipeline::Request {
            number: self.key.message,
            index: self.key.part,
            thread: self.thread,
            start_ns: self.start_ns,
            method: request.method,
            path: request.path,
            version: request
                .version
                .or(answer.map(|answer| answer.version))
                .unwrap_or("1.1"),
            parent: self.parent,
            trace_state: self.trace_state,
            bytes: self.request_bytes.saturating_sub(request.front),
        })
    }

    /// The exchange; none where its request's head never became readable.
    pub(super) fn finished(self: Box<Self>, end_ns: u64) -> Option<Finished> {
        let answer = self.answer.as_ref();
        Some(Finished {
            status: answer.map_or(Err(Unanswered::Closed), |answer| Ok(answer.status)),
            cut: None,
            end_ns,
            response_bytes: answer.map_or(0, |answer| answer.bytes),
            request: self.request()?,
        })
    }
}

/// Bytes of a head of `length` and the chunked body behind it, where `bytes` hold both whole.
fn whole_chunked(bytes: &[u8], length: usize) -> Option<u64> {
    let body = http1::chunked_length(bytes.get(length..)?)?;
    u64::try_from(length + body).ok()
}

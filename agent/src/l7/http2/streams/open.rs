//! One open stream.

use std::sync::Arc;

use super::{
    super::{Stream, head::RequestHead},
    Body, Content, Head, Moved,
};
use crate::l7::{
    counts::ExchangeOutcome,
    exchange::{Opened, Step, Thread, TraceParent, Unanswered},
    grpc::{self, Walker},
};

/// A stream's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who moved its head.
    pub thread: Thread,
    /// The method as sent.
    pub method: String,
    /// The path without its query; empty for CONNECT without one.
    pub path: String,
    /// When the I/O call with the last of its head returned.
    pub start_ns: u64,
    /// The `traceparent` that it carried.
    pub parent: Option<TraceParent>,
    /// The `tracestate`, of at most 512 bytes, where there is a parent.
    pub trace_state: Option<Arc<str>>,
}

pub(super) struct Open {
    /// None while only its answer was seen.
    pub(super) request: Option<Request>,
    pub(super) request_bytes: u64,
    pub(super) request_ended: bool,
    pub(super) answer_bytes: u64,
    answer_ended: bool,
    /// When, and by whom, its answer was first moved.
    answered: Option<Moved>,
    status: Option<u16>,
    /// Why there will be no status though there was an answer.
    bad_answer: Option<ExchangeOutcome>,
    end_ns: u64,
    cut: Option<Unanswered>,
    rpc: Option<Box<Rpc>>,
    partial: bool,
}

/// What may be a gRPC call.
struct Rpc {
    request: Walker,
    answer: Walker,
    status: Option<u32>,
    /// A content type said that it is one.
    certain: bool,
}

impl Rpc {
    fn new(certain: bool) -> Box<Self> {
        Box::new(Self {
            request: Walker::default(),
            answer: Walker::default(),
            status: None,
            certain,
        })
    }
}

impl Open {
    pub(super) fn new() -> Self {
        Self {
            request: None,
            request_bytes: 0,
            request_ended: false,
            answer_bytes: 0,
            answer_ended: false,
            answered: None,
            status: None,
            bad_answer: None,
            end_ns: 0,
            cut: None,
            rpc: None,
            partial: false,
        }
    }

    /// What it counts against the limit: one, and one for each 512 bytes of text that it holds. Only filling it changes that.
    pub(super) fn weight(&self) -> usize {
        let text = self.request.as_ref().map_or(0, |request| {
            request.path.len() + request.trace_state.as_ref().map_or(0, |state| state.len())
        });
        1 + text / 512
    }

    /// Its request's head is here.
    pub(super) fn fill(&mut self, head: RequestHead, content: Content, moved: Moved) {
        self.partial |= head.partial;
        // A call that returned late began before its answer was there.
        let start_ns = self
            .answered
            .map_or(moved.at_ns, |answered| answered.at_ns.min(moved.at_ns));
        self.request = Some(Request {
            thread: moved.thread,
            method: head.method,
            path: head.path,
            start_ns,
            parent: head.parent,
            trace_state: head.trace_state,
        });
        match (content, &mut self.rpc) {
            (Content::Other, rpc) => *rpc = None,
            (Content::Grpc, Some(rpc)) => rpc.certain = true,
            (Content::Grpc, None) => self.rpc = Some(Rpc::new(true)),
            (Content::Unknown, None) => self.rpc = Some(Rpc::new(false)),
            (Content::Unknown, Some(_)) => {}
        }
    }

    /// A header block of the server.
    pub(super) fn answer(&mut self, head: &Head, moved: Moved) {
        self.partial |= head.is_partial();
        self.answered.get_or_insert(moved);
        if self.status.is_none() && self.bad_answer.is_none() {
            match head.answer() {
                // RFC 9110 section 15.2: the final answer is still to come.
                Ok(Some(100..=199)) => return,
                Ok(Some(status)) => {
                    self.status = Some(status);
                    self.answer_starts(head.content());
                }
                Ok(None) => self.bad_answer = Some(ExchangeOutcome::BadResponse),
                Err(reason) => self.bad_answer = Some(reason),
            }
        } else if head.is_request().is_some() {
            // A second head behind the final one.
            self.bad_answer = Some(ExchangeOutcome::BadResponse);
        }
        if let Some(rpc) = &mut self.rpc
            && head.grpc_status.is_some()
        {
            rpc.status = head.grpc_status;
        }
    }

    fn answer_starts(&mut self, content: Content) {
        let is_early = self.request.is_none();
        if is_early && content == Content::Grpc {
            self.rpc = Some(Rpc::new(false));
        }
        if let Some(rpc) = &mut self.rpc {
            rpc.certain |= content == Content::Grpc;
            // What a proxy answers in a server's place holds no messages.
            if content != Content::Grpc {
                rpc.answer = Walker::astray();
            }
        }
    }

    pub(super) fn data(&mut self, from_client: bool, moved: u64, body: Body<'_>) {
        let bytes = if from_client {
            &mut self.request_bytes
        } else {
            &mut self.answer_bytes
        };
        *bytes += moved;
        if let Some(rpc) = &mut self.rpc {
            let walker = if from_client {
                &mut rpc.request
            } else {
                &mut rpc.answer
            };
            match body {
                Body::Seen(data) => walker.seen(data),
                Body::Unseen(length) => walker.unseen(length),
                Body::Unclear(length) => walker.unclear(length),
            }
        }
    }

    /// One direction is over.
    pub(super) fn end(&mut self, from_client: bool, at_ns: u64) {
        if from_client {
            self.request_ended = true;
        } else if !self.answer_ended {
            self.answer_ended = true;
            self.end_ns = at_ns;
        }
    }

    /// Nothing more will come. An answer that is whole stays so.
    pub(super) fn cut(&mut self, why: Unanswered, at_ns: u64) {
        if self.answer_ended {
            self.request_ended = true;
        } else if self.cut.is_none() {
            self.cut = Some(why);
            self.end_ns = at_ns;
        }
    }

    /// What is known of its request; none while only its answer was seen.
    pub(super) fn opened(&self, id: u32) -> Option<Opened> {
        let request = self.request.as_ref()?;
        Some(Opened {
            message: id,
            part: 0,
            thread: request.thread,
            start_ns: request.start_ns,
            parent: request.parent,
            trace_state: request.trace_state.clone(),
            partial: self.partial,
        })
    }

    /// Its final answer, where that was seen.
    pub(super) fn answered(&self) -> Option<Step> {
        let moved = self.answered.filter(|_| self.status.is_some())?;
        Some(Step::Answered {
            thread: moved.thread,
            at_ns: moved.at_ns,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        let ended = self.request_ended && self.answer_ended;
        self.request.is_some() && (ended || self.cut.is_some())
    }

    /// The stream as it ended, or why it can't be told.
    pub(super) fn finish(self, id: u32) -> Result<Stream, ExchangeOutcome> {
        let request = self.request.ok_or(ExchangeOutcome::NoRequest)?;
        if let Some(reason) = self.bad_answer {
            return Err(reason);
        }
        let status = match (self.status, self.cut) {
            (Some(status), _) => Ok(status),
            (None, Some(why)) => Err(why),
            (None, None) => return Err(ExchangeOutcome::BadResponse),
        };
        let rpc = self.rpc.filter(|rpc| rpc.certain).map(|rpc| {
            let (service, method) = grpc::service_and_method(&request.path);
            grpc::Call {
                service: service.to_owned(),
                method: method.to_owned(),
                status: rpc.status,
                request: rpc.request.messages(),
                response: rpc.answer.messages(),
            }
        });
        Ok(Stream {
            id,
            status,
            cut: self.cut,
            end_ns: self.end_ns.max(request.start_ns),
            request_bytes: self.request_bytes,
            response_bytes: self.answer_bytes,
            rpc,
            partial: self.partial,
            request,
        })
    }
}

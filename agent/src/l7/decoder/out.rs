//! What comes of records, and who is told.

use fathom_abi::{ConnectionId, Endpoints, Role, message::Direction};

use crate::{
    l7::{
        counts::{Counts, ExchangeOutcome},
        exchange::{Exchange, ExchangeKey, Opened, Side, Started, Step},
        grpc::Call,
        http2, pipeline,
    },
    net::wire::addresses,
};

/// Who is told what the decoder finds, in the order of the records. A closure that takes exchanges is one.
pub trait Listener {
    /// A request was read, or something happened to one that is not over. Each that has started is dropped, or its exchange handed on, or
    /// it is still open.
    fn open(&mut self, _request: &Started, _step: Step) {}

    /// An exchange is over.
    fn exchange(&mut self, exchange: Exchange);

    /// Who opened a connection whose records don't say: it was at rest, or it was open before fathom, and then nobody knows.
    fn role(&mut self, _id: ConnectionId) -> Role {
        Role::UNKNOWN
    }
}

impl<F: FnMut(Exchange)> Listener for F {
    fn exchange(&mut self, exchange: Exchange) {
        self(exchange);
    }
}

/// Takes exchanges, and counts what becomes of them.
pub(super) struct Out<'a, E> {
    pub(super) counts: &'a Counts,
    pub(super) listener: &'a mut E,
}

/// What the exchanges of a connection have in common.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) id: ConnectionId,
    pub(super) endpoints: Endpoints,
    /// The direction of requests.
    pub(super) requests: Direction,
}

impl<E: Listener> Out<'_, E> {
    pub(super) fn lost(&self, reason: ExchangeOutcome, count: u64) {
        self.counts.exchange(reason, count);
    }

    /// Something happened to a request that is not over.
    pub(super) fn open(&mut self, place: Place, opened: Opened, step: Step, multiplexed: bool) {
        let started = Started {
            key: ExchangeKey {
                connection: place.id,
                message: opened.message,
                part: opened.part,
            },
            side: Side::of(place.requests),
            multiplexed,
            request: opened,
        };
        self.listener.open(&started, step);
    }

    /// An exchange of HTTP/1, or one of HTTP/2 in its terms.
    pub(super) fn finished(
        &mut self,
        place: Place,
        finished: pipeline::Finished,
        rpc: Option<Call>,
    ) {
        let request = finished.request;
        let (local, remote) = addresses(&place.endpoints);
        self.counts.exchange(ExchangeOutcome::Delivered, 1);
        self.listener.exchange(Exchange {
            key: ExchangeKey {
                connection: place.id,
                message: request.number,
                part: request.index,
            },
            side: Side::of(place.requests),
            thread: request.thread,
            local,
            remote,
            method: request.method,
            path: request.path,
            version: request.version,
            tls: place.id.is_plain_text(),
            status: finished.status,
            cut: finished.cut,
            start_ns: request.start_ns,
            end_ns: finished.end_ns.max(request.start_ns),
            request_bytes: request.bytes,
            response_bytes: finished.response_bytes,
            parent: request.parent,
            trace_state: request.trace_state,
            rpc: rpc.map(Box::new),
        });
    }

    pub(super) fn pipelined(&mut self, event: pipeline::Event, place: Place) {
        match event {
            pipeline::Event::Open(opened, step) => self.open(place, opened, step, false),
            pipeline::Event::Done(finished) => self.finished(place, finished, None),
            pipeline::Event::Lost(reason, count) => self.lost(reason, count),
        }
    }

    pub(super) fn streamed(&mut self, event: http2::Event, place: Place) {
        let stream = match event {
            http2::Event::Open(opened, step) => return self.open(place, opened, step, true),
            http2::Event::Done(stream) => stream,
            http2::Event::Lost(reason, count) => return self.lost(reason, count),
        };
        let request = stream.request;
        let finished = pipeline::Finished {
            request: pipeline::Request {
                number: stream.id,
                index: 0,
                thread: request.thread,
                start_ns: request.start_ns,
                method: request.method,
                path: request.path,
                version: "2",
                parent: request.parent,
                trace_state: request.trace_state,
                bytes: stream.request_bytes,
            },
            status: stream.status,
            cut: stream.cut,
            end_ns: stream.end_ns,
            response_bytes: stream.response_bytes,
        };
        self.finished(place, finished, stream.rpc);
    }
}

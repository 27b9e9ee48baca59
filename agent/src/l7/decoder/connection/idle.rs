//! What the kernel says of a connection that has gone quiet.

use fathom_abi::message::ConnectionState;

use super::{Connection, Now, SILENCE_NS};
use crate::l7::{
    counts::ExchangeOutcome,
    decoder::out::{Listener, Out},
};

/// A chunked response to which nothing was added for so long is taken as ended, and so is any on a connection that was open before.
const QUIET_NS: u64 = SILENCE_NS;
/// How often a connection must be found gone, or ahead, before what it had open is given up: the records that explain it may
/// still be in the ring.
const PATIENCE: u8 = 3;

/// What a look at a quiet connection came to.
pub(in crate::l7::decoder) enum Idle {
    /// Its exchange is still open.
    Open,
    /// Its exchange was handed on or given up.
    Finished,
    /// It is over, and no record will come.
    Gone,
}

impl Connection {
    /// What the kernel says of a quiet connection; `state` is its entry, if it still is this connection's.
    pub(in crate::l7::decoder) fn idle<E: Listener>(
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
            if self.ended {
                self.finish_ended(out);
            } else {
                self.give_up(ExchangeOutcome::RecordLost, out);
            }
            return Idle::Gone;
        };
        if state.message != self.message {
            self.astray += 1;
            if self.astray < PATIENCE || state.message < self.message {
                return Idle::Open;
            }
            self.gap(
                state.message.wrapping_add(1),
                state.direction.opposite(),
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
        if self.ended && quiet && pending.answer.is_none() {
            // Nor will an answer: the connection was over before it began.
            self.finish_ended(out);
            return Idle::Finished;
        }
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
                if self.late {
                    self.pending = None;
                    self.pipelined(1, out);
                } else {
                    self.give_up(ExchangeOutcome::BadResponse, out);
                }
                return Idle::Finished;
            }
            // What follows may be the answer to a request from before.
            Some(total) => bytes == total && (quiet || !self.late),
            None => (answer.chunked || self.ended) && quiet,
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

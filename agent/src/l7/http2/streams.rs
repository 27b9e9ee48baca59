//! The streams of a connection: which are open, which were seen, and what becomes of each.
//!
//! A client's stream ids rise (RFC 9113 section 5.1.1), so that one number says of which streams it is settled what became of
//! them: all below `next` are open here, or were handed on, or were counted. An answer may be seen before its request: the tap
//! acts when an I/O call returns, and another thread's read can return before the write that it answers. Such an answer waits.

mod ids;
mod open;

use std::{collections::HashMap, num::NonZeroUsize};

pub use self::open::Request;
use self::{ids::Ids, open::Open};
use super::{
    Event,
    head::{Content, Head},
    hearer::Body,
};
use crate::l7::{
    counts::ExchangeOutcome,
    exchange::{Opened, Step, Thread, Unanswered},
};

/// No stream takes fewer bytes of its client's direction: the header of a HEADERS frame, and one byte.
const MIN_REQUEST: u64 = 10;
/// An empty table larger than this gives its memory back.
const KEPT_STREAMS: usize = 64;

/// When, and by whom, the bytes at hand were moved.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub(super) at_ns: u64,
    pub(super) thread: Thread,
}

pub(super) struct Streams {
    open: HashMap<u32, Open, Ids>,
    /// What the open ones weigh; see [`Open::weight`].
    weight: usize,
    limit: usize,
    /// The lowest id of which nothing is known.
    next: u32,
    /// The lowest id that was seen from its start; none where that is still to be found out.
    first: Option<u32>,
    /// Answers that wait for their request.
    early: usize,
    /// Bytes of the client's direction in which requests may have been that were not read.
    unread: u64,
    /// The highest id whose answer was not kept for its request: the client's direction could not be read then, or records were missing.
    answered: u32,
    /// The highest id that the server takes (GOAWAY).
    last_taken: u32,
}

impl Streams {
    /// For a connection that is seen from its start, or (without `whole`) was open before.
    pub(super) fn new(whole: bool, limit: NonZeroUsize) -> Self {
        Self {
            open: HashMap::with_hasher(Ids::new()),
            weight: 0,
            limit: limit.get(),
            next: 1,
            first: whole.then_some(1),
            early: 0,
            unread: 0,
            answered: 0,
            last_taken: u32::MAX,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The highest id that is likely to be seen now.
    pub(super) fn highest(&self) -> u32 {
        /// Streams that may have come and gone unseen.
        const AHEAD: u32 = 1 << 17;
        if self.first.is_none() {
            return 0x7fff_ffff;
        }
        self.next.saturating_add(AHEAD)
    }

    /// So many bytes of the client's direction were not read.
    pub(super) fn unread(&mut self, bytes: u64) {
        self.unread = self.unread.saturating_add(bytes);
    }

    /// Stream 1 of an upgraded connection: its request was HTTP/1.
    pub(super) fn upgraded(&mut self, request: Request, bytes: u64) {
        let mut open = Open::new();
        open.request_bytes = bytes;
        open.request_ended = true;
        open.request = Some(request);
        self.hold(1, open);
        self.next = self.next.max(3);
    }

    /// A header block of the client.
    pub(super) fn request(
        &mut self,
        id: u32,
        head: &mut Head,
        bytes: u64,
        moved: Moved,
        undecoded: bool,
        out: &mut impl FnMut(Event),
    ) {
        if let Some(open) = self.open.get_mut(&id) {
            open.request_bytes += bytes;
            if open.request.is_some() {
                // Trailers. A second head is no HTTP.
                if head.is_request().is_some() {
                    self.forget(id, out);
                    out(Event::Lost(ExchangeOutcome::BadRequest, 1));
                }
                return;
            }
            self.early -= 1;
            self.account(id, out);
            let Some(mut open) = self.take(id) else {
                return;
            };
            match head.request() {
                Ok(request) => {
                    open.fill(request, head.content(), moved);
                    tell(id, &open, Step::Started, out);
                    if let Some(answered) = open.answered() {
                        tell(id, &open, answered, out);
                    }
                    self.hold(id, open);
                    self.settle(id, out);
                }
                Err(reason) => out(Event::Lost(reason, 1)),
            }
            return;
        }
        if id < self.next {
            // What became of it is settled: these are trailers, or it was given up.
            return;
        }
        self.account(id, out);
        // Where it was answered before it could be read, what the answer said is gone.
        let lost = if undecoded || id <= self.answered {
            Err(ExchangeOutcome::RecordLost)
        } else if self.weight >= self.limit {
            Err(ExchangeOutcome::TooManyStreams)
        } else {
            head.request()
        };
        let request = match lost {
            Ok(request) => request,
            Err(reason) => {
                out(Event::Lost(reason, 1));
                return;
            }
        };
        let mut open = Open::new();
        open.request_bytes = bytes;
        open.fill(request, head.content(), moved);
        tell(id, &open, Step::Started, out);
        if id > self.last_taken {
            open.cut(Unanswered::GoneAway, moved.at_ns);
        }
        self.hold(id, open);
        self.settle(id, out);
    }

    /// A header block of the server.
    pub(super) fn answer(
        &mut self,
        id: u32,
        head: &Head,
        bytes: u64,
        moved: Moved,
        undecoded: bool,
        out: &mut impl FnMut(Event),
    ) {
        if !self.open.contains_key(&id) {
            let is_answer = head.is_request() == Some(false);
            if id < self.next || self.first.is_none() || id.is_multiple_of(2) || !is_answer {
                return;
            }
            if undecoded {
                // How much is missing of the client's direction shows only when it goes on: the next request's id tells how many were in it.
                self.answered = self.answered.max(id);
                return;
            }
            if self.weight >= self.limit {
                self.account(id, out);
                out(Event::Lost(ExchangeOutcome::TooManyStreams, 1));
                return;
            }
            self.early += 1;
            self.hold(id, Open::new());
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.answer_bytes += bytes;
            let was_answered = open.answered().is_some();
            open.answer(head, moved);
            if !was_answered && let Some(answered) = open.answered() {
                tell(id, open, answered, out);
            }
        }
    }

    /// A part of a body.
    pub(super) fn data(&mut self, id: u32, from_client: bool, moved: u64, body: Body<'_>) {
        if let Some(open) = self.open.get_mut(&id) {
            open.data(from_client, moved, body);
        }
    }

    /// One direction of the stream is over.
    pub(super) fn end_stream(
        &mut self,
        id: u32,
        from_client: bool,
        at_ns: u64,
        out: &mut impl FnMut(Event),
    ) {
        if let Some(open) = self.open.get_mut(&id) {
            open.end(from_client, at_ns);
            self.settle(id, out);
        } else if !from_client {
            self.ended_unseen(id, out);
        }
    }

    /// One end gave the stream up.
    pub(super) fn reset(
        &mut self,
        id: u32,
        code: Option<u32>,
        at_ns: u64,
        out: &mut impl FnMut(Event),
    ) {
        match (self.open.get_mut(&id), code) {
            (Some(open), Some(code)) => {
                open.cut(Unanswered::Reset(code), at_ns);
                self.settle(id, out);
            }
            (Some(open), None) => {
                let was_early = open.request.is_none();
                self.forget(id, out);
                if was_early {
                    self.early -= 1;
                    self.account(id, out);
                }
                out(Event::Lost(ExchangeOutcome::Unreadable, 1));
            }
            // After a whole answer, a server that wants no more of the request resets without an error.
            (None, Some(0)) => {}
            (None, _) => self.ended_unseen(id, out),
        }
    }

    /// The server takes no stream above `last`.
    pub(super) fn go_away(&mut self, last: u32, at_ns: u64, out: &mut impl FnMut(Event)) {
        self.last_taken = self.last_taken.min(last);
        for id in self.ids() {
            if id > last
                && let Some(open) = self.open.get_mut(&id)
            {
                open.cut(Unanswered::GoneAway, at_ns);
                self.settle(id, out);
            }
        }
    }

    /// What is open is lost. The requests of answers that wait are counted when the client's direction goes on or the connection ends, with those that lay
    /// between them.
    pub(super) fn drop_open(&mut self, reason: ExchangeOutcome, out: &mut impl FnMut(Event)) {
        if self.open.is_empty() {
            return;
        }
        let count = self.open.len() - self.early;
        if let Some(highest) = self.waiting().max() {
            self.answered = self.answered.max(highest);
        }
        for (&id, open) in &self.open {
            tell(id, open, Step::Dropped, out);
        }
        self.early = 0;
        self.weight = 0;
        self.open = HashMap::with_hasher(Ids::new());
        if count > 0 {
            out(Event::Lost(reason, count as u64));
        }
    }

    /// The connection ended: requests that were answered and never seen are no longer waited for.
    pub(super) fn never_seen(&mut self, out: &mut impl FnMut(Event)) {
        let count = self.unseen();
        if count > 0 {
            self.next = self.answered.saturating_add(2);
            out(Event::Lost(ExchangeOutcome::RecordLost, count));
        }
    }

    /// Requests that were answered, or come before one that was, and were not seen; without those whose answers wait for them.
    pub(super) fn unseen(&self) -> u64 {
        let Some(ids) = self.answered.checked_sub(self.next) else {
            return 0;
        };
        let waiting = self.waiting().filter(|&id| id <= self.answered).count();
        (u64::from(ids / 2) + 1).saturating_sub(waiting as u64)
    }

    /// The ids of answers that wait for their request.
    fn waiting(&self) -> impl Iterator<Item = u32> {
        let waiting = self.open.iter().filter(|(_, open)| open.request.is_none());
        waiting.map(|(&id, _)| id)
    }

    /// The connection ended.
    pub(super) fn close(&mut self, at_ns: u64, out: &mut impl FnMut(Event)) {
        for id in self.ids() {
            let Some(mut open) = self.take(id) else {
                continue;
            };
            open.cut(Unanswered::Closed, at_ns);
            finish(id, open, out);
        }
        self.early = 0;
    }

    /// Whether an id was never used, as far as is known.
    pub(super) fn is_new(&self, id: u32) -> bool {
        id >= self.next && !self.open.contains_key(&id)
    }

    fn hold(&mut self, id: u32, open: Open) {
        self.weight += open.weight();
        if let Some(replaced) = self.open.insert(id, open) {
            self.weight -= replaced.weight();
        }
    }

    fn take(&mut self, id: u32) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.weight -= open.weight();
        Some(open)
    }

    /// Takes a stream of which no exchange will come.
    fn forget(&mut self, id: u32, out: &mut impl FnMut(Event)) {
        if let Some(open) = self.take(id) {
            tell(id, &open, Step::Dropped, out);
        }
    }

    /// The requests that are open.
    pub(super) fn opened(&self) -> impl Iterator<Item = Opened> {
        self.open.iter().filter_map(|(&id, open)| open.opened(id))
    }

    fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<_> = self.open.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// A stream that is not held came to its end.
    fn ended_unseen(&mut self, id: u32, out: &mut impl FnMut(Event)) {
        if id.is_multiple_of(2) || self.first.is_some_and(|first| id >= first) {
            return;
        }
        // Its request came before the observer, or will come so late that it is not waited for.
        if self.first.is_none() {
            self.next = self.next.max(id.saturating_add(2));
        }
        out(Event::Lost(ExchangeOutcome::NoRequest, 1));
    }

    /// The client used this id: what is below it and was not seen will not come.
    fn account(&mut self, id: u32, out: &mut impl FnMut(Event)) {
        if id < self.next {
            return;
        }
        if self.first.is_none() {
            self.first = Some(id);
            self.unread = 0;
        }
        let mut skipped = u64::from((id - self.next) / 2);
        if self.early > 0 {
            let waiting: Vec<u32> = self.waiting().filter(|&early| early < id).collect();
            for early in waiting {
                self.take(early);
                self.early -= 1;
                skipped = skipped.saturating_sub(1);
                out(Event::Lost(ExchangeOutcome::NoRequest, 1));
            }
        }
        self.missed(skipped, out);
        self.next = id.saturating_add(2);
    }

    /// So many ids were passed over. Where a part of the client's direction was not read, they were in it, if they fit.
    fn missed(&mut self, ids: u64, out: &mut impl FnMut(Event)) {
        let missed = ids.min(self.unread / MIN_REQUEST);
        self.unread = 0;
        if missed > 0 {
            out(Event::Lost(ExchangeOutcome::RecordLost, missed));
        }
    }

    /// Hands the stream on if nothing more can come of it.
    fn settle(&mut self, id: u32, out: &mut impl FnMut(Event)) {
        if self.open.get(&id).is_some_and(Open::is_over)
            && let Some(open) = self.take(id)
        {
            finish(id, open, out);
        }
        if self.open.is_empty() && self.open.capacity() > KEPT_STREAMS {
            self.open = HashMap::with_hasher(Ids::new());
        }
    }
}

/// Says what happened to a stream's request.
fn tell(id: u32, open: &Open, step: Step, out: &mut impl FnMut(Event)) {
    if let Some(opened) = open.opened(id) {
        out(Event::Open(opened, step));
    }
}

/// Hands a stream on, or says that it can't be told.
fn finish(id: u32, open: Open, out: &mut impl FnMut(Event)) {
    let opened = open.opened(id);
    match open.finish(id) {
        Ok(stream) => out(Event::Done(stream)),
        Err(reason) => {
            if let Some(opened) = opened {
                out(Event::Open(opened, Step::Dropped));
            }
            out(Event::Lost(reason, 1));
        }
    }
}

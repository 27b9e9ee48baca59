//! The requests that one thread, or goroutine, has received.

use fathom_abi::ConnectionId;

use crate::l7::exchange::{Exchange, ExchangeKey, Opened, Started};

/// Requests that are remembered of a thread.
pub(super) const SERVED: usize = 4;
/// A request that has been open for so long is taken for one whose end was lost.
pub(super) const LOST_AFTER_NS: u64 = 3600 * 1_000_000_000;

#[derive(Default)]
pub(super) struct Serving {
    /// In the order in which they were told, at most [`SERVED`].
    pub(super) served: Vec<Served>,
    /// One that was open found no room: it may be going on.
    forgotten: bool,
    /// Requests that it sent over HTTP/1 since it received the newest, and that have no answer, at most [`SERVED`].
    pub(super) asking: Vec<ExchangeKey>,
}

pub(super) struct Served {
    pub(super) started: Started,
    /// When its answer began; none while it has not.
    pub(super) answered_ns: Option<u64>,
    /// When its answer ended, or until when it may be worked on; none while that is not known.
    pub(super) end_ns: Option<u64>,
    /// Nobody will say when it ended.
    pub(super) abandoned: bool,
    /// Another request was received on the thread while it was unanswered, or the other way round.
    pub(super) tangled: bool,
}

/// What a thread was serving.
pub(super) enum Active<'a> {
    Nothing,
    One(&'a Served),
    Doubt,
}

impl Serving {
    pub(super) fn find(&mut self, key: &ExchangeKey) -> Option<&mut Served> {
        self.served
            .iter_mut()
            .find(|served| served.started.key == *key)
    }

    /// It sent a request.
    pub(super) fn asks(&mut self, key: ExchangeKey) {
        if self.asking.len() < SERVED && !self.asking.contains(&key) {
            self.asking.push(key);
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> u32 {
        self.served
            .iter()
            .map(|served| u32::from(served.end_ns.is_none()))
            .sum()
    }

    /// Forgets what is over by now. A thread that `has_one` request at a time is done with those that were answered or given up when
    /// it receives the next. Gives back how many were open.
    pub(super) fn expire(&mut self, now_ns: u64, has_one: bool) -> u32 {
        let before = self.open();
        self.served.retain(|served| {
            let is_done =
                served.abandoned || (served.answered_ns.is_some() && served.end_ns.is_none());
            !(served.is_lost(now_ns) || has_one && is_done)
        });
        before - self.open()
    }

    /// Another request was received: whether one is unanswered. Each that is has no children from now on.
    pub(super) fn tangle(&mut self) -> bool {
        let mut tangled = false;
        for other in &mut self.served {
            if other.answered_ns.is_none() && other.end_ns.is_none() {
                other.tangled = true;
                tangled = true;
            }
        }
        tangled
    }

    /// Adds one; gives back how many of the others were open and found no room.
    pub(super) fn push(&mut self, served: Served) -> u32 {
        let mut dropped = 0;
        if self.served.len() >= SERVED {
            let over = self.served.iter().position(|other| other.end_ns.is_some());
            if over.is_none() {
                self.forgotten = true;
                dropped = 1;
            }
            self.served.remove(over.unwrap_or(0));
        }
        self.served.push(served);
        dropped
    }

    /// Drops the open ones of this connection that came before this one; gives back how many.
    pub(super) fn drop_before(&mut self, key: &ExchangeKey) -> u32 {
        let before = self.open();
        self.served.retain(|other| {
            let other_key = &other.started.key;
            other_key.connection != key.connection
                || (other_key.message, other_key.part) >= (key.message, key.part)
                || other.end_ns.is_some()
        });
        before - self.open()
    }

    /// Whether the thread had received another request while it served this one, or this one while it served another: for certain, as
    /// an end that is not known may be one that was lost.
    pub(super) fn overlaps(&self, exchange: &Exchange, pipeline: Option<ConnectionId>) -> bool {
        self.served.iter().any(|other| {
            let Started { key, request, .. } = &other.started;
            let began_within = (exchange.start_ns..exchange.end_ns).contains(&request.start_ns);
            let began_before = request.start_ns < exchange.start_ns
                && !other.abandoned
                && other.end_ns.is_some_and(|end| end > exchange.start_ns);
            *key != exchange.key
                && pipeline != Some(key.connection)
                && (began_within || began_before)
        })
    }

    /// What the thread was serving at this time.
    pub(super) fn active(&self, at_ns: u64) -> Active<'_> {
        if self.forgotten {
            return Active::Doubt;
        }
        let mut active = self
            .served
            .iter()
            .filter(|served| served.may_be_active(at_ns));
        match (active.next(), active.next()) {
            (None, _) => Active::Nothing,
            (Some(served), None) if served.is_active(at_ns) => Active::One(served),
            _ => Active::Doubt,
        }
    }
}

impl Served {
    pub(super) fn new(started: Started, tangled: bool) -> Self {
        Self {
            started,
            answered_ns: None,
            end_ns: None,
            abandoned: false,
            tangled,
        }
    }

    /// One that is told of when it is over.
    pub(super) fn ended(exchange: &Exchange) -> Self {
        let started = Started {
            key: exchange.key,
            side: exchange.side,
            multiplexed: exchange.version == "2",
            request: Opened {
                message: exchange.key.message,
                part: exchange.key.part,
                thread: exchange.thread,
                start_ns: exchange.start_ns,
                parent: exchange.parent,
                trace_state: exchange.trace_state.clone(),
                partial: false,
            },
        };
        Self {
            end_ns: Some(exchange.end_ns),
            ..Self::new(started, false)
        }
    }

    /// Whether it may have been going on at this time.
    fn may_be_active(&self, at_ns: u64) -> bool {
        self.started.request.start_ns <= at_ns && self.end_ns.is_none_or(|end| at_ns <= end)
    }

    /// Of one that may have been: whether it was, and the thread served nothing else.
    fn is_active(&self, at_ns: u64) -> bool {
        let answered_before = self.answered_ns.is_some_and(|answered| answered <= at_ns);
        let is_known = !self.abandoned && self.end_ns.is_some();
        !self.tangled && !self.abandoned && (is_known || !answered_before)
    }

    fn is_lost(&self, now_ns: u64) -> bool {
        self.end_ns.is_none()
            && now_ns.saturating_sub(self.started.request.start_ns) > LOST_AFTER_NS
    }
}

//! What came into an export stage, what left it, and what was lost on the way, by reason.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::telemetry::metric::{
    Attributes, Audience, Data, Metric, Number, NumberPoint, Source, Value,
};

/// Why something that was to be exported never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The queue had no room: the backend is slower than the node.
    QueueFull,
    /// The backend took the request and refused a part of it (`partial_success`).
    Rejected,
    /// The backend refused the request for good, or retries took too long.
    Failed,
    /// fathom ended before it could be sent.
    Shutdown,
}

impl Loss {
    const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::Rejected,
        Self::Failed,
        Self::Shutdown,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The figures of one signal. At every moment `received = delivered + lost + held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What came in.
    pub received: u64,
    /// What the backend took.
    pub delivered: u64,
    /// What was lost, in the order of [`Loss`].
    lost: [u64; Loss::ALL.len()],
    /// What waits in the queue or is on its way.
    pub held: u64,
}

impl Counts {
    /// What was lost for one reason.
    #[must_use]
    pub fn lost(&self, loss: Loss) -> u64 {
        self.lost[loss as usize]
    }

    /// What was lost for any reason.
    #[must_use]
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().sum()
    }
}

/// Counts one signal's export, and remembers whether it works.
#[derive(Debug)]
pub struct Ledger {
    signal: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    failing: Option<Failing>,
    /// When the log last said that the backend refuses a part.
    told_rejected: Option<Instant>,
    /// Since when something waits and nothing was delivered.
    stuck_since: Option<Instant>,
}

impl State {
    fn take_in(&mut self, events: u64) {
        self.counts.received += events;
        self.counts.held += events;
        if events > 0 {
            self.stuck_since.get_or_insert_with(Instant::now);
        }
    }

    fn let_go(&mut self, events: u64) {
        self.counts.held -= events;
        if self.counts.held == 0 {
            self.stuck_since = None;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    lost_before: u64,
}

impl Ledger {
    pub(super) fn new(signal: &'static str) -> Self {
        Self {
            signal,
            state: Mutex::default(),
        }
    }

    /// The signal's name: `spans`, `metrics`, `profiles`.
    #[must_use]
    pub fn signal(&self) -> &'static str {
        self.signal
    }

    /// The figures now, all of the same moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Something came in and waits.
    pub(super) fn receive(&self, events: u64) {
        self.lock().take_in(events);
    }

    /// Something came in and found no room.
    pub(super) fn refuse(&self, events: u64) {
        let mut state = self.lock();
        state.counts.received += events;
        state.counts.lost[Loss::QueueFull as usize] += events;
    }

    /// What waited was delivered, but for those that the backend rejected.
    pub(super) fn deliver(&self, events: u64, rejected: u64) {
        // A backend can say anything; it can't reject more than it was given.
        let rejected = rejected.min(events);
        let mut state = self.lock();
        state.let_go(events);
        state.counts.delivered += events - rejected;
        state.counts.lost[Loss::Rejected as usize] += rejected;
        if let Some(since) = &mut state.stuck_since {
            *since = Instant::now();
        }
    }

    /// What waited is lost.
    pub(super) fn lose(&self, events: u64, loss: Loss) {
        let mut state = self.lock();
        state.let_go(events);
        state.counts.lost[loss as usize] += events;
    }

    /// All that still waits is lost.
    pub(super) fn lose_the_rest(&self, loss: Loss) {
        let mut state = self.lock();
        let held = state.counts.held;
        state.let_go(held);
        state.counts.lost[loss as usize] += held;
    }

    /// Notes a failed attempt; true when it is the first since one worked.
    pub(super) fn note_failure(&self) -> bool {
        let mut state = self.lock();
        if state.failing.is_some() {
            return false;
        }
        state.failing = Some(Failing {
            since: Instant::now(),
            lost_before: state.counts.lost_in_all(),
        });
        true
    }

    /// Notes an attempt that worked; after failed ones, how long they went on and how much was lost meanwhile.
    pub(super) fn note_success(&self) -> Option<(Duration, u64)> {
        let mut state = self.lock();
        let failing = state.failing.take()?;
        let lost = state.counts.lost_in_all() - failing.lost_before;
        Some((failing.since.elapsed(), lost))
    }

    /// Whether a partial refusal should be logged: the first one, then one a minute.
    pub(super) fn note_rejection(&self) -> bool {
        const QUIET: Duration = Duration::from_secs(60);
        let mut state = self.lock();
        if state.told_rejected.is_some_and(|at| at.elapsed() < QUIET) {
            return false;
        }
        state.told_rejected = Some(Instant::now());
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, outcome: Option<&'static str>) -> Attributes {
        let mut attributes = vec![("signal".into(), Value::Str(self.signal.into()))];
        if let Some(outcome) = outcome {
            attributes.insert(0, ("stage".into(), Value::Str("exporter".into())));
            attributes.push(("outcome".into(), Value::Str(outcome.into())));
        }
        attributes
    }

    fn point(&self, outcome: Option<&'static str>, value: u64) -> NumberPoint {
        NumberPoint {
            resource: "".into(),
            attributes: self.attributes(outcome),
            value: Number::Int(value),
        }
    }
}

impl Source for Ledger {
    fn collect(&self, into: &mut Vec<Metric>) {
        let (counts, failing, stuck_since) = {
            let state = self.lock();
            (state.counts, state.failing.is_some(), state.stuck_since)
        };
        let mut events = vec![self.point(Some("delivered"), counts.delivered)];
        events.extend(
            Loss::ALL
                .into_iter()
                .map(|loss| self.point(Some(loss.name()), counts.lost(loss))),
        );
        into.push(metric(
            "fathom.events",
            "Events that left a stage, by what became of them",
            "{event}",
            Data::Counter(events),
        ));
        into.push(metric(
            "fathom.export.received",
            "Events that were given to the exporter: the sum of those that left it and those that it holds",
            "{event}",
            Data::Counter(vec![self.point(None, counts.received)]),
        ));
        into.push(metric(
            "fathom.export.held",
            "Events that wait in the exporter's queue or are on their way",
            "{event}",
            Data::UpDownCounter(vec![self.point(None, counts.held)]),
        ));
        into.push(metric(
            "fathom.export.failing",
            "1 while the backend can't be reached or refuses what it is sent, else 0",
            "",
            Data::Gauge(vec![self.point(None, u64::from(failing))]),
        ));
        let lag = stuck_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        into.push(metric(
            "fathom.export.lag",
            "For how long something has waited while the backend took nothing",
            "s",
            Data::Gauge(vec![NumberPoint {
                value: Number::Float(lag),
                ..self.point(None, 0)
            }]),
        ));
    }
}

fn metric(name: &'static str, description: &'static str, unit: &'static str, data: Data) -> Metric {
    Metric {
        name: name.into(),
        description: description.into(),
        unit,
        audience: Audience::All,
        data,
    }
}

#[cfg(test)]
mod tests;

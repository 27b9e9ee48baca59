//! A bounded queue between the pipeline and an export task. Filling it never waits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::ledger::{Ledger, Loss};
use crate::telemetry::{flow_logs::FlowLog, span::Span};

/// Something that a queue holds.
pub trait Item: Send + 'static {
    /// How many events it is, in the ledger's counting.
    fn events(&self) -> u64;
    /// How much of the queue's capacity it takes.
    fn weight(&self) -> usize;
}

impl Item for Span {
    fn events(&self) -> u64 {
        1
    }

    fn weight(&self) -> usize {
        1
    }
}

impl Item for FlowLog {
    fn events(&self) -> u64 {
        1
    }

    fn weight(&self) -> usize {
        1
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    capacity: usize,
    /// The weight that wakes the task before its delay is over.
    batch: usize,
    filled: Notify,
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    weight: usize,
    closed: bool,
}

impl<T: Item> Queue<T> {
    pub(super) fn new(capacity: usize, batch: usize, ledger: Arc<Ledger>) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                weight: 0,
                closed: false,
            }),
            capacity,
            batch,
            filled: Notify::new(),
            ledger,
        }
    }

    /// Takes the item, or counts it as lost when there is no room. Never waits.
    pub fn push(&self, item: impl Into<T>) {
        let item = item.into();
        let (events, weight) = (item.events(), item.weight());
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            self.ledger.receive(events);
            self.ledger.lose(events, Loss::Shutdown);
            return;
        }
        if waiting.weight + weight > self.capacity {
            drop(waiting);
            self.ledger.refuse(events);
            return;
        }
        // Counted before the task can see it, so that nothing leaves the ledger that has not come in.
        self.ledger.receive(events);
        waiting.weight += weight;
        waiting.items.push_back(item);
        let full_batch = waiting.weight >= self.batch;
        drop(waiting);
        if full_batch {
            self.filled.notify_one();
        }
    }

    /// Takes up to a batch's weight off the queue, at least one item if there is one.
    pub(super) fn take_batch(&self) -> Vec<T> {
        let mut waiting = self.lock();
        let mut batch = Vec::new();
        let mut weight = 0;
        while let Some(item) = waiting.items.front() {
            weight += item.weight();
            if weight > self.batch && !batch.is_empty() {
                break;
            }
            waiting.weight -= item.weight();
            batch.extend(waiting.items.pop_front());
        }
        batch
    }

    /// Waits until a whole batch is there (or was, since the last call).
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Whether a whole batch waits.
    pub(super) fn has_batch(&self) -> bool {
        self.lock().weight >= self.batch
    }

    /// What comes from now on is lost to the shutdown.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// The figures of this queue and of what became of its items.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Samples and what happened to processes, in the order of their times.
//!
//! Both come through rings of their own, and a sample means another file once its process has executed another program. So
//! what is newer than the begin of a look at the rings waits for the next look: whatever came before it is there by then.

use std::{io, ops::Range, time::Duration};

use super::record::Sample;
use crate::probes::{
    mappings::{Event, Mappings, parse},
    ring::RingReader,
};

/// A sample is in its ring so many nanoseconds after it was taken, the time of copying a stack included.
const SLACK_NS: u64 = 2_000_000;
/// The most bytes of events that are kept to be put in order; more are handed on as they come.
const MAX_EVENTS: usize = 8 << 20;

/// What comes.
#[derive(Debug)]
pub enum Item<'a> {
    /// Something happened to a process, at a time (`CLOCK_MONOTONIC`, nanoseconds).
    Event(u64, Event<'a>),
    /// A sample.
    Sample(Sample),
    /// A record that is no sample.
    Malformed,
}

/// Puts them in order.
#[derive(Debug)]
pub struct Feed {
    mappings: Mappings,
    /// By time and place in `records`.
    events: Vec<(u64, Range<usize>)>,
    records: Vec<u8>,
    samples: Vec<Sample>,
}

impl Feed {
    /// Of these events, and of the samples of a ring, which is given to [`Self::drain`].
    ///
    /// # Errors
    /// When the kernel refuses to wait for both.
    pub fn new(mappings: Mappings, ring: &RingReader) -> io::Result<Self> {
        mappings.wakes_for(ring)?;
        Ok(Self {
            mappings,
            events: Vec::new(),
            records: Vec::new(),
            samples: Vec::new(),
        })
    }

    /// Bytes of the process's address space that the rings of events take.
    pub fn mapped_bytes(&self) -> u64 {
        self.mappings.mapped_bytes()
    }

    /// Records of events that the kernel had no room for.
    pub fn lost(&self) -> u64 {
        self.mappings.counts().lost
    }

    /// Sleeps until the samples are to be taken, because of the time or because their ring fills up. Events are taken in meanwhile, when theirs do.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let end = std::time::Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let is_pressing = self.mappings.wait(left)?;
            self.read_events();
            if is_pressing {
                return Ok(());
            }
        }
    }

    /// Hands on what is in the rings and older than `now_ns`.
    pub fn drain(&mut self, ring: &mut RingReader, now_ns: u64, f: impl FnMut(Item<'_>)) {
        self.hand_on(ring, now_ns.saturating_sub(SLACK_NS), f);
    }

    /// Hands on all that is in the rings. For the end, when nothing comes any more.
    pub fn finish(&mut self, ring: &mut RingReader, f: impl FnMut(Item<'_>)) {
        self.hand_on(ring, u64::MAX, f);
    }

    fn hand_on(&mut self, ring: &mut RingReader, until_ns: u64, mut f: impl FnMut(Item<'_>)) {
        let samples = &mut self.samples;
        ring.drain(usize::MAX, |record| match Sample::parse(record) {
            Ok(sample) => samples.push(sample),
            Err(_) => f(Item::Malformed),
        });
        self.read_events();
        self.events.sort_by_key(|&(at_ns, _)| at_ns);
        self.samples.sort_by_key(|sample| sample.at_ns);
        let is_too_much = self.records.len() > MAX_EVENTS;
        let until_ns = if is_too_much { u64::MAX } else { until_ns };

        let due = self.events.partition_point(|&(at_ns, _)| at_ns <= until_ns);
        let due_samples = self
            .samples
            .partition_point(|sample| sample.at_ns <= until_ns);
        let records = &self.records;
        let mut events = self.events[..due].iter().peekable();
        for sample in self.samples.drain(..due_samples) {
            while let Some((at_ns, place)) = events.next_if(|&&(at_ns, _)| at_ns <= sample.at_ns) {
                hand_on(*at_ns, records, place, &mut f);
            }
            f(Item::Sample(sample));
        }
        for (at_ns, place) in events {
            hand_on(*at_ns, records, place, &mut f);
        }
        self.keep(due);
    }

    /// Keeps the events from one on.
    fn keep(&mut self, first: usize) {
        let mut records = Vec::new();
        self.events.drain(..first);
        for (_, place) in &mut self.events {
            let from = records.len();
            records.extend_from_slice(&self.records[place.clone()]);
            *place = from..records.len();
        }
        self.records = records;
    }

    fn read_events(&mut self) {
        let (events, records) = (&mut self.events, &mut self.records);
        self.mappings.drain_records(usize::MAX, |at_ns, _, record| {
            let from = records.len();
            records.extend_from_slice(record);
            events.push((at_ns, from..records.len()));
        });
    }
}

fn hand_on(at_ns: u64, records: &[u8], place: &Range<usize>, f: &mut impl FnMut(Item<'_>)) {
    // It was parsed when it was read.
    if let Ok(Some(event)) = parse(&records[place.clone()]) {
        f(Item::Event(at_ns, event));
    }
}

//! The thread that gives names to what was seen in a window, and hands it to the exporter.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use crate::{
    cli::agent::memory,
    export::otlp::{
        profiles::{Encoded, Requests},
        queue::Queue,
    },
    l7::exchange::ExchangeKey,
    profile::{Namer, Window},
    telemetry::{Clock, StackSamples, links::SpanIds},
};

/// What is to be named.
pub(super) struct Job {
    pub(super) window: Window,
    /// The spans of the exchanges that were sampled in it.
    pub(super) spans: HashMap<ExchangeKey, SpanIds>,
}

/// Where it goes.
pub(super) struct Out {
    pub(super) samples: Arc<StackSamples>,
    pub(super) queue: Arc<Queue<Encoded>>,
    pub(super) clock: Arc<Clock>,
}

/// Names one window while the next is filled: a window of many processes takes longer than their samples may wait in the ring.
pub(super) struct Naming {
    jobs: Option<SyncSender<Job>>,
    /// Windows that were handed over and are not done.
    under_way: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Naming {
    /// # Errors
    /// When the thread can't be started.
    pub(super) fn start(mut namer: Namer, out: Out) -> io::Result<Self> {
        let (jobs, handed_over) = sync_channel::<Job>(1);
        let under_way = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&under_way);
        let run = move || {
            // What loading the object took, and then what reading takes.
            memory::give_back();
            namer.read_kernel();
            memory::give_back();
            for job in handed_over {
                out.hand_on(&mut namer, job);
                memory::give_back();
                done.fetch_sub(1, Ordering::Release);
            }
        };
        let thread = Builder::new().name("fathom-names".to_owned()).spawn(run)?;
        Ok(Self {
            jobs: Some(jobs),
            under_way,
            thread: Some(thread),
        })
    }

    /// Whether there is nothing to be named. Else the window goes on: it is longer, and no sample is lost by that.
    pub(super) fn is_free(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    /// Has a window named. With one under way it is the last one, and waits for that.
    pub(super) fn hand_over(&self, job: Job) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        // The thread is there until nobody can hand anything over.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

impl Drop for Naming {
    /// Waits until all is named.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that names stacks had panicked");
        }
    }
}

impl Out {
    fn hand_on(&self, namer: &mut Namer, Job { window, spans }: Job) {
        let mut requests = Requests::new(
            |ns| self.clock.unix_ns(ns),
            |exchange: &ExchangeKey| spans.get(exchange).copied(),
        );
        namer.name(window, |profile| {
            self.samples
                .record(&profile.process.service, profile.quality);
            if let Some(request) = requests.add(&profile) {
                self.queue.push(request);
            }
        });
        if let Some(request) = requests.finish() {
            self.queue.push(request);
        }
    }
}

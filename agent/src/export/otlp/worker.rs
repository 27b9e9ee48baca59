//! The tasks that send: one for each signal, so that none waits for another.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{self, Instant, MissedTickBehavior},
};
use tonic::Status;
use tracing::{error, info, warn};

use super::{
    client::reason,
    convert::{self, Common, Period},
    ledger::{Ledger, Loss},
    queue::Queue,
    retry::{Backoff, Verdict, verdict},
    signals::{Answer, Metrics, QueueService, Service},
};
use crate::telemetry::metric::{Metric, Source};

/// How long spans and profiles are tried again before they are given up; meanwhile the queue fills.
pub(super) const GIVE_UP: Duration = Duration::from_secs(60);

/// How a task learns that it should end, and by when.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Option<Instant>>);

impl Stop {
    pub(super) fn new(receiver: watch::Receiver<Option<Instant>>) -> Self {
        Self(receiver)
    }

    /// Returns when it should end; at once when that was said before.
    async fn stopped(&mut self) {
        // A sender that is gone can't say it any more: as good as said.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    fn deadline(&self) -> Option<Instant> {
        let said = *self.0.borrow();
        said.or_else(|| self.0.has_changed().is_err().then(Instant::now))
    }
}

/// Sends what a queue holds, when a batch is full or after `delay`, until told to stop; then what is left.
pub(super) async fn drain<S: QueueService>(
    service: S,
    queue: Arc<Queue<S::Item>>,
    delay: Duration,
    mut stop: Stop,
) {
    loop {
        tokio::select! {
            () = queue.filled() => {}
            () = time::sleep(delay) => {}
            () = stop.stopped() => {}
        }
        let stopping = stop.deadline().is_some();
        if stopping {
            queue.close();
        }
        loop {
            let batch = queue.take_batch();
            if batch.is_empty() {
                break;
            }
            for (request, events) in S::requests(&batch) {
                deliver(
                    &service,
                    queue.ledger(),
                    request,
                    events,
                    GIVE_UP,
                    &mut stop,
                )
                .await;
            }
            if !stopping && !queue.has_batch() {
                break;
            }
        }
        if stopping {
            return;
        }
    }
}

/// Where metrics come from.
pub(super) struct Collector {
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) common: Arc<Common>,
    pub(super) ledger: Arc<Ledger>,
    /// Nanoseconds since the Unix epoch at which cumulative series began.
    pub(super) start: u64,
}

/// Collects and sends metrics at each interval, and a last time when told to stop.
pub(super) async fn send_metrics(
    service: Metrics,
    collector: Collector,
    interval: Duration,
    mut stop: Stop,
) {
    let collector = Arc::new(collector);
    let mut ticks = time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.stopped() => {}
        }
        let stopping = stop.deadline().is_some();
        // A source may take its time (a driver, a map with many entries): not on a thread that sends.
        let at = Arc::clone(&collector);
        match tokio::task::spawn_blocking(move || at.collect()).await {
            Ok(requests) => {
                for (request, points) in &requests {
                    let ledger = &collector.ledger;
                    deliver(&service, ledger, request, *points, interval, &mut stop).await;
                }
            }
            Err(failure) => error!("metrics could not be collected: {failure}"),
        }
        if stopping {
            return;
        }
    }
}

impl Collector {
    fn collect(
        &self,
    ) -> Vec<(
        opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest,
        u64,
    )> {
        let mut metrics: Vec<Metric> = Vec::new();
        for source in &self.sources {
            source.collect(&mut metrics);
        }
        let period = Period {
            start: self.start,
            now: super::now_unix_nano(),
        };
        let requests = convert::metrics(&metrics, period, &self.common);
        self.ledger
            .receive(requests.iter().map(|(_, points)| points).sum());
        requests
    }
}

/// Sends one request, again where that can help, until it is taken or given up; the ledger has it either way.
async fn deliver<S: Service>(
    service: &S,
    ledger: &Ledger,
    batch: &S::Batch,
    events: u64,
    give_up: Duration,
    stop: &mut Stop,
) {
    let client = service.client();
    let started = Instant::now();
    let mut backoff = Backoff::new();
    loop {
        let attempt = time::timeout(client.timeout, service.send(batch)).await;
        let attempt = attempt.unwrap_or_else(|_| {
            let text = format!("no answer within {:?}", client.timeout);
            Err(Status::deadline_exceeded(text))
        });
        let status = match attempt {
            Ok(answer) => {
                ledger.deliver(events, answer.rejected);
                log_taken(ledger, &client.address, events, &answer);
                return;
            }
            Err(status) => status,
        };
        if ledger.note_failure() {
            warn!(
                "export of {} to {} fails: {}; losses are counted in fathom_events_total",
                ledger.signal(),
                client.address,
                reason(&status)
            );
        }
        let pause = match verdict(&status) {
            Verdict::Final => return ledger.lose(events, Loss::Failed),
            Verdict::Retry => backoff.pause(),
            Verdict::RetryAfter(pause) => pause,
        };
        let (until, loss) = match stop.deadline() {
            Some(deadline) => (deadline, Loss::Shutdown),
            None => (started + give_up, Loss::Failed),
        };
        // A backend may wish for a pause without end.
        match Instant::now().checked_add(pause) {
            Some(next) if next < until => {}
            _ => return ledger.lose(events, loss),
        }
        if stop.deadline().is_some() {
            time::sleep(pause).await;
        } else {
            tokio::select! {
                () = time::sleep(pause) => {}
                // One more attempt at once, then the end's deadline counts.
                () = stop.stopped() => {}
            }
        }
    }
}

fn log_taken(ledger: &Ledger, address: &str, events: u64, answer: &Answer) {
    let signal = ledger.signal();
    if let Some((how_long, lost)) = ledger.note_success() {
        info!(
            "export of {signal} to {address} works again after {} s; {lost} were lost meanwhile",
            how_long.as_secs()
        );
    }
    if answer.rejected > 0 && ledger.note_rejection() {
        warn!(
            "{address} refused {} of {events} {signal}: {:?}",
            answer.rejected, answer.message
        );
    }
}

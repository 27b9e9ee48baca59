//! OTLP over gRPC: metrics, spans, profiles and records of flows to a backend.
//!
//! A task sends each signal. Spans, profiles and records reach theirs through bounded queues that never make the
//! pipeline wait; a [`Ledger`] for each signal says what became of what, exactly.

mod client;
mod convert;
pub mod ledger;
pub mod profiles;
pub mod queue;
mod retry;
pub mod settings;
mod signals;
mod worker;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::warn;

pub use self::client::Error;
use self::{
    client::Client,
    convert::Common,
    ledger::{Ledger, Loss},
    profiles::Encoded,
    queue::Queue,
    settings::Settings,
    signals::{Logs, Metrics, Profiles, Traces},
    worker::{Collector, Stop},
};
use crate::telemetry::{flow_logs::FlowLog, metric::Source, span::Span};

/// How many bytes of profiles may wait.
const PROFILE_QUEUE: usize = 2 << 20;

/// The exporter before its tasks run. Its queues take items already.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    common: Arc<Common>,
    metrics: Option<(Client, Arc<Ledger>)>,
    spans: Option<(Client, Arc<Queue<Span>>)>,
    profiles: Option<(Client, Arc<Queue<Encoded>>)>,
    logs: Option<(Client, Arc<Queue<FlowLog>>)>,
}

impl Exporter {
    /// Prepares connections and queues; opens nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When TLS can't be set up. An endpoint that does not answer is no error.
    pub fn prepare(settings: Settings) -> Result<Self, Error> {
        let client =
            |target: &Option<settings::Target>| target.as_ref().map(Client::new).transpose();
        let metrics = client(&settings.metrics)?;
        let traces = client(&settings.traces)?;
        let profiles = client(&settings.profiles)?;
        let logs = client(&settings.logs)?;
        let batch = settings.span_batch.min(settings.span_queue);
        let queue_of_spans = || {
            let ledger = Arc::new(Ledger::new("spans"));
            Arc::new(Queue::new(settings.span_queue, batch, ledger))
        };
        let queue_of_profiles = || {
            let ledger = Arc::new(Ledger::new("profiles"));
            // Each goes out as soon as it is there.
            Arc::new(Queue::new(PROFILE_QUEUE, 1, ledger))
        };
        let queue_of_logs = || {
            let ledger = Arc::new(Ledger::new("logs"));
            let batch = settings.log_batch.min(settings.log_queue);
            Arc::new(Queue::new(settings.log_queue, batch, ledger))
        };
        let common = Common {
            resource: settings.resource.clone(),
            service_name: settings.service_name.clone(),
        };
        Ok(Self {
            common: Arc::new(common),
            metrics: metrics.map(|client| (client, Arc::new(Ledger::new("metrics")))),
            spans: traces.map(|client| (client, queue_of_spans())),
            profiles: profiles.map(|client| (client, queue_of_profiles())),
            logs: logs.map(|client| (client, queue_of_logs())),
            settings,
        })
    }

    /// Where finished spans go; `None` when they are not exported.
    #[must_use]
    pub fn spans(&self) -> Option<Arc<Queue<Span>>> {
        self.spans.as_ref().map(|(_, queue)| Arc::clone(queue))
    }

    /// Where profiles go, each a request without the attributes that all of this agent's resources share; `None` when
    /// they are not exported.
    #[must_use]
    pub fn profiles(&self) -> Option<Arc<Queue<Encoded>>> {
        self.profiles.as_ref().map(|(_, queue)| Arc::clone(queue))
    }

    /// Where records of flows go; `None` when they are not exported.
    #[must_use]
    pub fn logs(&self) -> Option<Arc<Queue<FlowLog>>> {
        self.logs.as_ref().map(|(_, queue)| Arc::clone(queue))
    }

    /// The accounts of all signals that are exported. They are metric sources, too.
    #[must_use]
    pub fn ledgers(&self) -> Vec<Arc<Ledger>> {
        let metrics = self.metrics.iter().map(|(_, ledger)| ledger);
        let spans = self.spans.iter().map(|(_, queue)| queue.ledger());
        let profiles = self.profiles.iter().map(|(_, queue)| queue.ledger());
        let logs = self.logs.iter().map(|(_, queue)| queue.ledger());
        metrics
            .chain(spans)
            .chain(profiles)
            .chain(logs)
            .cloned()
            .collect()
    }

    /// Starts the tasks. `sources` should hold the [`Exporter::ledgers`], too.
    #[must_use]
    pub fn start(self, sources: Vec<Arc<dyn Source>>) -> Running {
        let ledgers = self.ledgers();
        let (stop, stopped) = watch::channel(None);
        let stopped = || Stop::new(stopped.clone());
        let mut tasks = JoinSet::new();
        if let Some((client, ledger)) = self.metrics {
            let collector = Collector {
                sources,
                common: Arc::clone(&self.common),
                ledger,
                start: now_unix_nano(),
            };
            let interval = self.settings.interval;
            let service = Metrics { client };
            tasks.spawn(worker::send_metrics(
                service,
                collector,
                interval,
                stopped(),
            ));
        }
        if let Some((client, queue)) = self.spans {
            let common = Arc::clone(&self.common);
            let delay = self.settings.span_delay;
            let service = Traces { client, common };
            tasks.spawn(worker::drain(service, queue, delay, stopped()));
        }
        if let Some((client, queue)) = self.profiles {
            let common = Arc::clone(&self.common);
            let delay = self.settings.span_delay;
            let service = Profiles { client, common };
            tasks.spawn(worker::drain(service, queue, delay, stopped()));
        }
        if let Some((client, queue)) = self.logs {
            let common = Arc::clone(&self.common);
            let delay = self.settings.log_delay;
            let service = Logs { client, common };
            tasks.spawn(worker::drain(service, queue, delay, stopped()));
        }
        Running {
            tasks,
            stop,
            ledgers,
        }
    }
}

/// The exporter at work.
#[derive(Debug)]
pub struct Running {
    tasks: JoinSet<()>,
    stop: watch::Sender<Option<Instant>>,
    ledgers: Vec<Arc<Ledger>>,
}

impl Running {
    /// Sends what is left, for at most `within`. What can't be sent by then is counted as lost and said in the log.
    pub async fn shutdown(mut self, within: Duration) {
        let deadline = Instant::now() + within;
        // Tasks that are gone need no telling.
        let _ = self.stop.send(Some(deadline));
        let ended = time::timeout_at(deadline, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            self.tasks.shutdown().await;
        }
        for ledger in &self.ledgers {
            ledger.lose_the_rest(Loss::Shutdown);
            let lost = ledger.counts().lost(Loss::Shutdown);
            if lost > 0 {
                warn!("{lost} {} were not sent before the end", ledger.signal());
            }
        }
    }
}

fn now_unix_nano() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

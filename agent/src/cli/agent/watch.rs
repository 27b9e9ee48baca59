//! What watches: each capability's probes, and the thread that takes its records from stop to stop.

mod net;
mod profile;

pub(super) use net::Takers;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use tracing::{info, warn};

use super::own::Own;
use crate::{
    probes,
    telemetry::{Clock, Events, Ids, Links, metric::Source},
};

/// What all capabilities share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) clock: Arc<Clock>,
    pub(super) ids: Arc<Ids>,
    pub(super) events: Arc<Events>,
    pub(super) own: Arc<Own>,
    /// Where samples meet the exchanges that they belong to.
    pub(super) links: Arc<Links>,
    /// Whether they do: the objects can share a map, and both capabilities are wanted.
    pub(super) joined: bool,
}

/// Everything that watches, and its threads.
pub(super) struct Watch {
    shared: Shared,
    sources: Vec<Arc<dyn Source>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    works: Vec<String>,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn new(shared: Shared) -> Self {
        let sources = vec![
            Arc::clone(&shared.own) as Arc<dyn Source>,
            Arc::clone(&shared.events) as Arc<dyn Source>,
        ];
        Self {
            shared,
            sources,
            stop: Arc::default(),
            threads: Vec::new(),
            works: Vec::new(),
        }
    }

    /// What works, for people.
    pub(super) fn summary(&self) -> String {
        self.works.join(", ")
    }

    /// Whether anything works.
    pub(super) fn is_idle(&self) -> bool {
        self.works.is_empty()
    }

    /// What has metrics to show.
    pub(super) fn sources(&self) -> Vec<Arc<dyn Source>> {
        self.sources.clone()
    }

    /// Adds something that has metrics to show.
    pub(super) fn show(&mut self, source: Arc<dyn Source>) {
        self.sources.push(source);
    }

    /// A capability works; `how` is for people.
    pub(super) fn works(&mut self, capability: &'static str, how: String) {
        self.shared.own.on(capability);
        self.works.push(how);
    }

    /// A capability was asked for and does not work.
    pub(super) fn fails(&mut self, capability: &'static str, error: &dyn fmt::Display) {
        warn!("{capability} is off: {error}");
        self.shared.own.off(capability, error.to_string());
        self.shared.joined &= capability != "net";
    }

    /// This machine has nothing for a capability to watch.
    pub(super) fn lacks(&mut self, capability: &'static str, why: &dyn fmt::Display) {
        info!("{capability} is off: {why}");
        self.shared.own.off(capability, why.to_string());
    }

    fn spawn(
        &mut self,
        name: &str,
        run: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<(), probes::Error> {
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&stop))
            .map_err(probes::Error::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends the threads; each drains its rings once more first.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the pipeline had panicked");
            }
        }
    }
}

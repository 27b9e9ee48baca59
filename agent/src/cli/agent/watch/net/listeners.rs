//! The sockets that listen: a look at all of them every ten seconds, on a thread of its own, as a look may take its time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::warn;

use super::{PROCESSES, out::PROC};
use crate::{
    cli::agent::watch::Watch,
    identity::Identity,
    net::sockets::listeners::{Listeners, Sweep},
    probes,
    telemetry::{Clock, Listen, listen::Listening},
};

/// How often.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long the agent's end may have to wait for this thread.
const NAP: Duration = Duration::from_millis(100);

/// Who is told of sockets of which nobody is known to have them.
const NOBODY: &str = "unknown";

impl Watch {
    /// Watches the sockets that listen.
    pub(super) fn listeners(&mut self) -> Result<(), probes::Error> {
        let listen = Arc::new(Listen::default());
        self.show(Arc::clone(&listen) as _);
        self.spawn("fathom-listen", move |stop| watch(&listen, stop))
    }
}

fn watch(listen: &Listen, stop: &AtomicBool) {
    let mut listeners = Listeners::new(PROC.as_ref());
    let mut identity = Identity::new(PROC, PROCESSES);
    let mut next = Instant::now();
    while !stop.load(Ordering::Acquire) {
        if Instant::now() < next {
            std::thread::sleep(NAP);
            continue;
        }
        next = Instant::now() + INTERVAL;
        match listeners.sweep() {
            Ok(sweep) => take(listen, &mut identity, sweep),
            Err(error) => warn!("sockets that listen are not looked at: {error}"),
        }
    }
}

fn take(listen: &Listen, identity: &mut Identity, sweep: Sweep) {
    let now_ns = Clock::monotonic_ns();
    // As of its connections, fathom says nothing of its own.
    let own = std::process::id();
    let theirs = sweep
        .listeners
        .into_iter()
        .filter(|listener| listener.owner != Some(own));
    let all = theirs.map(|listener| Listening {
        service: match listener.owner {
            Some(pid) => Arc::clone(&identity.process(pid, now_ns).service),
            None => NOBODY.into(),
        },
        port: listener.local.port(),
        queue: listener.queue,
        limit: listener.limit,
        drops: listener.drops,
    });
    listen.take(all);
}

//! Connections at rest, of which the kernel programs know nothing: a look at the kernel's sockets tells what has moved on them without a call of the process that has
//! them, and which of them have ended unseen.

use std::{
    collections::HashSet,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracing::warn;

use super::SEARCH_LIMIT;
use crate::{
    net::{
        Ends,
        open::{Missing, Moved},
        sockets::{self, Extensions, Found, Listed},
    },
    telemetry::Tcp,
};

/// A look takes no more than this part of the time from one to the next: with 100,000 connections, which take 0.15 s, there is one in half a minute.
const PART: u32 = 200;

/// One under way: the network namespaces in which it has seen sockets, and what it came to.
type Look = JoinHandle<(HashSet<u32>, Listed)>;

/// The looks, one in each interval while there are connections at rest, or less often where a look takes long.
pub(super) struct Resting {
    tcp: Arc<Tcp>,
    interval: Duration,
    begun: Instant,
    /// How long after that the next one begins.
    wait: Duration,
    /// Whether none has begun: the first tells which namespaces can be seen, before anything rests.
    is_first: bool,
    /// The one under way.
    look: Option<Look>,
    /// Those that the last one did not find.
    missing: Vec<Missing>,
}

impl Resting {
    pub(super) fn new(tcp: &Arc<Tcp>, interval: Duration) -> Self {
        Self {
            tcp: Arc::clone(tcp),
            interval,
            begun: Instant::now(),
            wait: interval,
            is_first: true,
            look: None,
            missing: Vec::new(),
        }
    }

    /// Begins a look when it is time, or takes in what the last one has found. To be called often, and when the ring of flows was emptied: what was missing at the call
    /// before, and of whose end no record has come since, has lost that.
    pub(super) fn turn(&mut self) {
        self.tcp.lose(&std::mem::take(&mut self.missing));
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            let (seen, listed) = look.join().unwrap_or_default();
            self.wait = self.interval.max(listed.took * PART);
            // One that broke off, or panicked, has not seen all.
            if listed.namespaces > 0 && listed.incomplete == 0 {
                self.missing = self.tcp.look_is_done(seen);
            }
        }
        let is_wanted = self.is_first || self.tcp.resting() > 0;
        if self.look.is_some() || self.begun.elapsed() < self.wait || !is_wanted {
            return;
        }
        self.begun = Instant::now();
        self.is_first = false;
        match look(&self.tcp) {
            Ok(look) => self.look = Some(look),
            Err(error) => warn!("connections at rest are not looked at: {error}"),
        }
    }
}

fn look(tcp: &Arc<Tcp>) -> io::Result<Look> {
    let tcp = Arc::clone(tcp);
    tcp.look_begins();
    sockets::list(
        SEARCH_LIMIT,
        Extensions::TCP_INFO,
        HashSet::new(),
        move |seen: &mut HashSet<u32>, found: &Found<'_>| {
            let netns = u32::try_from(found.namespace).unwrap_or_default();
            seen.insert(netns);
            if let Some(info) = found.details.tcp_info() {
                let socket = found.socket;
                let ends = Ends::new(netns, socket.local, socket.remote);
                let moved = Moved::by(&info, socket.state);
                tcp.stands(&ends, moved, info.rtt_us);
            }
        },
    )
}

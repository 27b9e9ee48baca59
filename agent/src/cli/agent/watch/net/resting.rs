//! Connections at rest, of which the kernel programs know nothing: a look at the kernel's sockets tells what has moved on them without a call of the process that has
//! them, and which of them have ended unseen.

use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tracing::warn;

use super::SEARCH_LIMIT;
use crate::{
    cli::agent::memory,
    net::{
        Ends,
        open::{Missing, Moved},
        sockets::{self, Extensions, Found, List},
    },
    telemetry::Tcp,
};

/// A look takes no more than this part of the time from one to the next: with 100,000 connections, which take 0.15 s, there is one in half a minute.
const PART: u32 = 200;

/// One under way.
type Look = JoinHandle<List<()>>;

/// The looks, one in each interval while there are connections at rest, or less often where a look takes long.
pub(super) struct Resting {
    tcp: Arc<Tcp>,
    interval: Duration,
    begun: Instant,
    /// How long after that the next one begins.
    wait: Duration,
    /// The one under way.
    look: Option<Look>,
    /// Those that neither the last one nor the one before did find.
    missing: Vec<Missing>,
    has_warned: bool,
}

impl Resting {
    pub(super) fn new(tcp: &Arc<Tcp>, interval: Duration) -> Self {
        Self {
            tcp: Arc::clone(tcp),
            interval,
            begun: Instant::now(),
            wait: interval,
            look: None,
            missing: Vec::new(),
            has_warned: false,
        }
    }

    /// Begins a look when it is time, or takes in what the last one has found. To be called often, and when the ring of flows was emptied: what was missing at the call
    /// before, and of whose end no record has come since, has lost that.
    pub(super) fn turn(&mut self) {
        self.tcp.lose(&std::mem::take(&mut self.missing));
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            let list = look.join().unwrap_or_default();
            self.wait = self.interval.max(list.listed.took * PART);
            self.missing = self.tcp.look_is_done(&list.whole);
            // What connections took that rest now, in pieces.
            memory::give_back();
            if let Some(error) = list.broke_off
                && !std::mem::replace(&mut self.has_warned, true)
            {
                warn!("of connections at rest it is not known where all stand: {error}");
            }
        }
        if self.look.is_some() || self.begun.elapsed() < self.wait || self.tcp.resting() == 0 {
            return;
        }
        self.begun = Instant::now();
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
        (),
        move |(), found: &Found<'_>| {
            let netns = u32::try_from(found.namespace).unwrap_or_default();
            if let Some(info) = found.details.tcp_info() {
                let socket = found.socket;
                let ends = Ends::new(netns, socket.local, socket.remote);
                let moved = Moved::by(&info, socket.state);
                tcp.stands(&ends, moved, info.rtt_us);
            }
        },
    )
}

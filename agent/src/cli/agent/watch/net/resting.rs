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
    net::{
        Ends,
        open::{Missing, Moved},
        sockets::{self, Extensions, Found, Listed},
    },
    telemetry::Tcp,
};

/// A look takes no more than this part of the time from one to the next: with 100,000 connections, which take 0.15 s, there is one in half a minute.
const PART: u32 = 200;

/// The looks, one in each interval while there are connections at rest, or less often where a look takes long.
pub(super) struct Resting {
    tcp: Arc<Tcp>,
    interval: Duration,
    begun: Instant,
    /// How long after that the next one begins.
    wait: Duration,
    /// The number of the last one; 0 is none's.
    number: u8,
    /// The one under way.
    look: Option<JoinHandle<((), Listed)>>,
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
            number: 0,
            look: None,
            missing: Vec::new(),
        }
    }

    /// Begins a look when it is time, or takes in what the last one has found. To be called often, and when the ring of flows was emptied: what was missing at the call
    /// before, and of whose end no record has come since, has lost that.
    pub(super) fn turn(&mut self) {
        self.tcp.lose(&std::mem::take(&mut self.missing));
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            let ((), listed) = look.join().unwrap_or_default();
            self.wait = self.interval.max(listed.took * PART);
            // One that broke off, or panicked, has not seen all.
            if listed.namespaces > 0 && listed.incomplete == 0 {
                self.missing = self.tcp.missing(self.number);
            }
        }
        if self.look.is_some() || self.begun.elapsed() < self.wait || self.tcp.resting() == 0 {
            return;
        }
        self.begun = Instant::now();
        self.number = self.number.checked_add(1).unwrap_or(1);
        match look(&self.tcp, self.number) {
            Ok(look) => self.look = Some(look),
            Err(error) => warn!("connections at rest are not looked at: {error}"),
        }
    }
}

fn look(tcp: &Arc<Tcp>, number: u8) -> io::Result<JoinHandle<((), Listed)>> {
    let tcp = Arc::clone(tcp);
    sockets::list(
        SEARCH_LIMIT,
        Extensions::TCP_INFO,
        (),
        move |(), found: &Found<'_>| {
            let Some(info) = found.details.tcp_info() else {
                return;
            };
            let socket = found.socket;
            let netns = u32::try_from(found.namespace).unwrap_or_default();
            let ends = Ends::new(netns, socket.local, socket.remote);
            let moved = Moved::by(&info, socket.state);
            tcp.stands(number, &ends, moved, info.rtt_us);
        },
    )
}

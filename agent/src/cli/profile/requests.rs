//! The requests that samples were taken for.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use tracing::warn;

use crate::{
    cli::{
        Failure,
        live::{Probes, Subject},
    },
    identity::Identity,
    l7::{
        Decoder, Limits, Listener,
        exchange::{Exchange, ExchangeKey, Side, Started, Step},
    },
    net::filter::parse,
    telemetry::{
        Clock, Goroutines, Links,
        route::{Pattern, template},
    },
};

/// How long records may wait in their ring.
const DRAIN: Duration = Duration::from_millis(20);

/// How often it is looked whether processes are still what they were.
const CHECKED: Duration = Duration::from_secs(2);

/// The procfs of the initial pid namespace.
const PROC: &str = "/proc";

/// Processes that are remembered.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Requests that may have been sampled and not be decided at a time, with those that are wanted.
const ROOM: usize = 1 << 18;

/// How long requests that were sampled may take to end when sampling is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// Flags that ask for the samples of some requests only.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Only what ran for requests to this route, such as /users/{id}, 'GET /checkout' or /package.Service/Method; can be given several times
    #[arg(long = "route", value_name = "[METHOD ]PATH")]
    pub routes: Vec<String>,
    /// Only what ran for requests that took longer, such as 200ms
    #[arg(long, value_name = "DURATION")]
    pub slower_than: Option<String>,
}

/// Which requests are wanted.
pub(super) struct Wanted {
    /// Any, where there is none.
    routes: Vec<(Option<String>, Pattern)>,
    slower_than: Duration,
}

impl Wanted {
    /// What the flags ask for; none where they ask for nothing.
    ///
    /// # Errors
    /// When a route or a duration is none.
    pub(super) fn of(args: &Args) -> anyhow::Result<Option<Self>> {
        if args.routes.is_empty() && args.slower_than.is_none() {
            return Ok(None);
        }
        let route = |text: &String| {
            let (method, path) = match text.trim().split_once(' ') {
                Some((method, path)) => (Some(method.to_owned()), path.trim_start()),
                None => (None, text.trim()),
            };
            let pattern = Pattern::parse(path)
                .map_err(|error| anyhow!("--route {text:?}: the path {error}"))?;
            Ok((method, pattern))
        };
        let slower_than = args.slower_than.as_deref().map(|text| {
            parse::time(text).map_err(|bad| {
                anyhow!("--slower-than: {}; accepted is {}", bad.wrong, bad.accepted)
            })
        });
        Ok(Some(Self {
            routes: args
                .routes
                .iter()
                .map(route)
                .collect::<anyhow::Result<_>>()?,
            slower_than: slower_than.transpose()?.unwrap_or_default(),
        }))
    }

    /// Whether one is.
    fn has(&self, request: &Request) -> bool {
        let is_route = |(method, pattern): &(Option<String>, Pattern)| {
            method
                .as_ref()
                .is_none_or(|method| method.eq_ignore_ascii_case(&request.method))
                && pattern.matches(&request.path)
        };
        request.duration > self.slower_than
            && (self.routes.is_empty() || self.routes.iter().any(is_route))
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: Box<str>,
    path: Box<str>,
    duration: Duration,
    /// The trace that it belongs to, by its own word.
    pub(super) trace_id: Option<[u8; 16]>,
}

impl Request {
    fn of(exchange: Exchange) -> Self {
        Self {
            method: exchange.method.into(),
            path: exchange.path.into(),
            duration: Duration::from_nanos(exchange.end_ns.saturating_sub(exchange.start_ns)),
            trace_id: exchange.parent.map(|parent| parent.trace_id),
        }
    }

    /// Its method and what stands for its path.
    pub(super) fn route(&self) -> String {
        format!("{} {}", self.method, template(&self.path))
    }
}

/// Watches requests while samples are taken.
pub(super) struct Requests {
    links: Arc<Links<Request>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Passed>>,
}

impl Requests {
    /// Attaches probes to connections, through the best tap. To be called in a mount namespace of fathom's own, before the sampler is loaded, which shares a map with them.
    ///
    /// # Errors
    /// When no tap works here.
    pub(super) fn start(wanted: Wanted) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let probes = Probes::attach(None, Subject::Exchanges, true, &stop)?;
        let links = Arc::new(Links::with_room(ROOM));
        let (told, ended) = (Arc::clone(&links), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("fathom-net".into())
            .spawn(move || watch(probes, wanted, &told, &ended))
            .context("starting the thread that reads requests")?;
        Ok(Self {
            links,
            stop,
            thread: Some(thread),
        })
    }

    /// A sample was taken at that time (monotonic) that names this exchange. Returns whether it can have been taken for it.
    pub(super) fn sampled(&self, exchange: ExchangeKey, at_ns: u64) -> bool {
        self.links.sampled(exchange, at_ns)
    }

    /// Waits a little for those to end that were sampled, and says which are wanted.
    pub(super) fn finish(mut self) -> Served {
        let deadline = Instant::now() + PATIENCE;
        while self.links.open() > 0 && Instant::now() < deadline {
            thread::sleep(DRAIN);
        }
        let passed = self.end();
        Served {
            open: self.links.open() as u64,
            refused: self.links.refused(),
            requests: self.links.take(),
            passed,
        }
    }

    fn end(&mut self) -> Passed {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return Passed::default();
        };
        thread.join().unwrap_or_else(|_| {
            warn!("the thread that reads requests had panicked");
            Passed::default()
        })
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.end();
    }
}

/// The requests that were sampled and are wanted.
#[derive(Default)]
pub(super) struct Served {
    pub(super) requests: HashMap<ExchangeKey, Request>,
    /// Those that were sampled and had not ended.
    pub(super) open: u64,
    /// Samples of requests that there was no room for.
    pub(super) refused: u64,
    pub(super) passed: Passed,
}

impl Served {
    /// Whether any request was sampled that is not known to be wanted.
    pub(super) fn others(&self) -> u64 {
        let Passed { others, untold } = self.passed;
        others + untold + self.open
    }
}

/// Requests that were sampled, have ended, and are left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    /// Another route's, or too fast.
    pub(super) others: u64,
    /// Those of programs of which it is not known which thread serves which.
    pub(super) untold: u64,
}

/// Hears what the decoder finds.
struct Hearer<'a> {
    wanted: Wanted,
    passed: Passed,
    links: &'a Links<Request>,
    identity: Identity,
    goroutines: Option<Goroutines>,
}

impl Listener for Hearer<'_> {
    fn open(&mut self, request: &Started, _: Step) {
        if let Some(goroutines) = &mut self.goroutines {
            let identity = &mut self.identity;
            goroutines.open(request, |tgid| {
                identity.process(tgid, Clock::monotonic_ns())
            });
        }
    }

    fn exchange(&mut self, exchange: Exchange) {
        let (tgid, start_ns) = (exchange.thread.tgid, exchange.start_ns);
        let is_told_apart = |goroutines: &Goroutines| goroutines.are_told_apart(tgid, start_ns);
        if exchange.side != Side::Server {
            return;
        }
        let is_told = self.goroutines.as_ref().is_none_or(is_told_apart);
        let (key, end_ns) = (exchange.key, exchange.end_ns);
        let request = Request::of(exchange);
        if is_told && self.wanted.has(&request) {
            self.links.ended(key, end_ns, request);
        } else if self.links.passed_over(key, end_ns) {
            let passed = match is_told {
                true => &mut self.passed.others,
                false => &mut self.passed.untold,
            };
            *passed += 1;
        }
    }
}

fn watch(mut probes: Probes, wanted: Wanted, links: &Links<Request>, stop: &AtomicBool) -> Passed {
    let mut decoder = Decoder::new(Limits::default());
    let mut hearer = Hearer {
        wanted,
        passed: Passed::default(),
        links,
        identity: Identity::new(PROC, PROCESSES),
        goroutines: probes
            .net
            .go_processes
            .take()
            .map(|list| Goroutines::new(list, PROC)),
    };
    let mut checked = Instant::now();
    let mut go_on = true;
    while go_on {
        go_on = !stop.load(Ordering::Acquire);
        probes.exchanges(&mut decoder, &mut hearer);
        if checked.elapsed() >= CHECKED {
            checked = Instant::now();
            hearer.goroutines.iter_mut().for_each(Goroutines::check);
        }
        // Nobody asks for them, and a ring that is full refuses what comes.
        probes.net.flows.drain(usize::MAX, |_| {});
        probes.attach_found();
        if let Err(error) = probes.net.messages.wait(DRAIN) {
            warn!("waiting for records: {error}");
            thread::sleep(DRAIN);
        }
    }
    hearer.passed
}

#[cfg(test)]
mod tests;

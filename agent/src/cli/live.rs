//! What `fathom requests` and `fathom flows` have in common: a time to run, a way to be stopped, and lines on standard output.

use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::Receiver,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fathom_abi::counters::NetCounter;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::Failure,
    identity::Identity,
    l7::{Decoder, Listener},
    probes::{
        finder::{Finder, Found},
        namespace,
        net::{Net, NetOptions, Tap},
    },
    telemetry::Clock,
};

/// What the kernel's maps may take.
const MAP_BUDGET: u64 = 16 * 1024 * 1024;
/// Processes whose names are kept.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// How long a line may be late.
const TICK: Duration = Duration::from_millis(10);
/// Records taken at a time, so that neither ring starves the other.
const BATCH: usize = 4096;

/// Flags of both.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Stop after so many seconds; without it, with Ctrl-C
    #[arg(short, long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// How sockets are watched: auto, raw-tracepoint, fentry, kprobe or syscall
    #[arg(long, value_name = "TAP", default_value = "auto")]
    pub tap: String,
}

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Exchanges, those behind TLS among them.
    Exchanges,
    /// Connections, and what processes are told that addresses are called.
    Connections,
}

/// Probes on connections.
pub struct Probes {
    pub net: Net,
    /// Files that TLS goes through, as they are mapped.
    found: Option<Receiver<Found>>,
}

impl Probes {
    /// Attaches those that it takes to watch this, through this tap or the best one; with the table of threads and the exchanges that they serve where `track_active`
    /// says so. What finds TLS libraries ends with `stop`.
    pub fn attach(
        tap: Option<Tap>,
        subject: Subject,
        track_active: bool,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let tls = subject == Subject::Exchanges;
        let mut net = Net::load(&NetOptions {
            tap,
            map_budget: MAP_BUDGET,
            track_active,
            parents: false,
            tls,
            udp: subject == Subject::Connections,
            head_limit: NetOptions::HEAD_LIMIT,
        })?;
        let found = if tls { find_tls(&mut net, stop)? } else { None };
        Ok(Self { net, found })
    }

    /// Tells of the exchanges that the ring and the open connections show.
    pub fn exchanges(&mut self, decoder: &mut Decoder, listener: &mut impl Listener) {
        self.net
            .messages
            .drain(usize::MAX, |record| decoder.record(record, listener));
        let connections = &self.net.connections;
        decoder.poll_idle(
            Clock::monotonic_ns(),
            &mut |sock| connections.get(sock),
            listener,
        );
        // Where it is refused they stay in the table until it goes.
        let _ = self.net.forget(&decoder.take_over());
    }

    /// Attaches probes to what was found since.
    pub fn attach_found(&mut self) {
        for found in self.found.iter().flat_map(Receiver::try_iter) {
            found.attach(&mut self.net);
        }
    }
}

/// A watch under way.
pub struct Live {
    pub probes: Probes,
    pub identity: Identity,
    pub clock: Clock,
    stop: Arc<AtomicBool>,
    until: Option<Instant>,
    out: io::BufWriter<io::Stdout>,
}

impl Live {
    /// Attaches the probes that it takes to watch this.
    pub fn start(args: &Args, subject: Subject) -> Result<Self, Failure> {
        let usage = |message: String| Failure::Usage(anyhow::anyhow!(message));
        let tap: Option<Tap> = match args.tap.as_str() {
            "auto" => None,
            name => Some(
                name.parse()
                    .map_err(|error| usage(format!("--tap: {error}, and auto")))?,
            ),
        };
        let duration = match args.duration {
            None => None,
            Some(seconds) => Some(
                Duration::try_from_secs_f64(seconds)
                    .ok()
                    .filter(|time| !time.is_zero())
                    .ok_or_else(|| {
                        usage(format!(
                            "--duration {seconds}: give a number of seconds greater than 0"
                        ))
                    })?,
            ),
        };
        if let Err(error) = namespace::enter() {
            tracing::warn!("no mount namespace of its own: {error}");
        }
        let stop = stop_on_interrupt()?;
        let probes = Probes::attach(tap, subject, false, &stop)?;
        Ok(Self {
            probes,
            identity: Identity::new("/proc", PROCESSES),
            clock: Clock::new(),
            stop,
            until: duration.and_then(|duration| Instant::now().checked_add(duration)),
            out: io::BufWriter::new(io::stdout()),
        })
    }

    /// Whether to go on; waits for the next tick.
    pub fn tick(&mut self) -> Result<bool, Failure> {
        self.flush()?;
        let left = self
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        if self.stop.load(Relaxed) || left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        self.probes.attach_found();
        self.probes
            .net
            .messages
            .wait(left.map_or(TICK, |left| left.min(TICK)))
            .context("waiting for the ring buffer")?;
        Ok(true)
    }

    /// Hands all records of one ring to `take`.
    pub fn drain(&mut self, ring: Ring, mut take: impl FnMut(&[u8])) {
        let reader = match ring {
            Ring::Messages => &mut self.probes.net.messages,
            Ring::Flows => &mut self.probes.net.flows,
            Ring::Dns => &mut self.probes.net.dns,
        };
        while reader.drain(BATCH, &mut take) == BATCH {}
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        let written = writeln!(self.out, "{line}");
        self.written(written)
    }

    /// Writes what lines there are.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.out.flush();
        self.written(flushed)
    }

    /// A reader that has seen enough, as `head` has, ends the watch, and in order.
    fn written(&self, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stop.store(true, Relaxed);
                Ok(())
            }
            result => Ok(result.context("writing to standard output")?),
        }
    }

    /// Calls on sockets that the kernel kept from the programs, or their returns; at most, see [`Misses::calls`](crate::probes::Misses::calls).
    pub fn kept_calls(&self) -> u64 {
        let misses = &self.probes.net.misses;
        misses.calls() + misses.socket_calls() + self.counter(NetCounter::ReturnMissed)
    }

    /// What one of the kernel's counters stands at.
    pub fn counter(&self, wanted: NetCounter) -> u64 {
        let counters = self.probes.net.counters.read();
        counters
            .iter()
            .find(|(counter, _)| *counter == wanted)
            .map_or(0, |(_, count)| *count)
    }
}

/// Which ring buffer.
#[derive(Clone, Copy)]
pub enum Ring {
    Messages,
    Flows,
    Dns,
}

/// `HH:MM:SS.mmm`, UTC.
pub fn time_of_day(unix_ns: u64) -> String {
    let ms = unix_ns / 1_000_000;
    let (seconds, ms) = (ms / 1000 % 86_400, ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// A duration with three digits that count.
pub fn duration(ns: u64) -> String {
    let us = ns as f64 / 1e3;
    if us < 1e3 {
        format!("{us:.0} µs")
    } else if us < 1e6 {
        format!("{:.2} ms", us / 1e3)
    } else {
        format!("{:.2} s", us / 1e6)
    }
}

/// Attaches probes to the TLS functions that are mapped now, and has those that are mapped later found.
fn find_tls(net: &mut Net, stop: &Arc<AtomicBool>) -> Result<Option<Receiver<Found>>, Failure> {
    let Some(finder) = Finder::start(net) else {
        return Ok(None);
    };
    let (sender, receiver) = Finder::channel();
    let stop = Arc::clone(stop);
    thread::Builder::new()
        .name("fathom-tls".into())
        .spawn(move || finder.run(&stop, &sender))
        .context("starting the finder of TLS libraries")?;
    Ok(Some(receiver))
}

/// Waits for Ctrl-C or SIGTERM.
async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

fn stop_on_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("starting the signal handler")?;
    let flag = Arc::clone(&stop);
    thread::Builder::new()
        .name("fathom-signals".into())
        .spawn(move || {
            // Without a handler they end the process at once, which does no harm but to a terminal that shows a table.
            if runtime.block_on(told_to_stop()).is_ok() {
                flag.store(true, Relaxed);
            }
        })
        .context("starting the signal handler")?;
    Ok(stop)
}

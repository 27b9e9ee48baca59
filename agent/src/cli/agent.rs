//! `fathom agent`: every signal of the node, until a signal ends it.
//!
//! Wiring only. The order matters: the configuration and the port are checked before anything touches the kernel; the
//! mount namespace is entered before there is a second thread; readiness is said when the probes are attached.

mod own;
mod watch;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use self::{own::Own, watch::Watch};
use crate::{
    cli::{Failure, Outcome, table::Table},
    config::{Config, Overrides},
    export::{
        http::{Server, State},
        otlp::Exporter,
    },
    gpu::Gpus,
    probes::namespace,
    telemetry::{Clock, Events, Ids, metric::Source},
};

/// How often the table is drawn anew.
const TABLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the exporter may take to send what is left.
const FLUSH: Duration = Duration::from_secs(5);

/// Flags of `fathom agent`. Each overrides the environment, which overrides the file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How sockets are watched: auto, fentry, raw-tracepoint, kprobe or syscall
    #[arg(long, value_name = "TAP")]
    pub tap: Option<String>,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// An OTLP/gRPC endpoint, such as http://127.0.0.1:4317; without one nothing is sent
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// What the agent may take in all, heap and BPF maps together, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// What to watch: a list of net, profile and gpu
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub capabilities: Option<Vec<String>>,
    /// Never draw the table, also on a terminal
    #[arg(long)]
    pub no_table: bool,
}

/// Runs the agent.
///
/// # Errors
/// When the configuration is wrong, the port is taken, or nothing that was asked for can be watched.
pub fn run(args: &Args) -> Outcome {
    let overrides = Overrides {
        tap: args.tap.clone(),
        listen: args.listen.clone(),
        otlp_endpoint: args.otlp_endpoint.clone(),
        memory_limit: args.memory_limit.clone(),
        capabilities: args.capabilities.clone(),
    };
    let config = Config::load(
        args.config.as_deref(),
        |name| std::env::var(name).ok(),
        &overrides,
    )
    .map_err(|error| Failure::Usage(error.into()))?;
    let server = Server::bind(config.listen)?;
    if let Err(error) = namespace::enter() {
        // Not fatal by itself: most of what follows works without, and says so where it does not.
        warn!("no mount namespace of its own: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fathom-io")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(watch_until_told(args, config, server))
}

async fn watch_until_told(args: &Args, config: Config, server: Server) -> Outcome {
    let started = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;

    let exporter = (!config.otlp.is_off())
        .then(|| Exporter::prepare(config.otlp.clone()))
        .transpose()?;
    let clock = Arc::new(Clock::new());
    let ids = Arc::new(Ids::random().context("drawing the key of the span ids")?);
    let events = Arc::new(Events::default());
    let own = Arc::new(Own::new(config.memory_limit));
    let mut sources: Vec<Arc<dyn Source>> = vec![
        Arc::clone(&own) as Arc<dyn Source>,
        Arc::clone(&events) as Arc<dyn Source>,
    ];

    let mut watch = Watch::new(clock, ids, events, Arc::clone(&own));
    if config.capabilities.net {
        let spans = exporter.as_ref().and_then(Exporter::spans);
        watch.net(&config, spans, &mut sources)?;
    }
    if config.capabilities.gpu {
        match Gpus::start() {
            Ok(gpus) => sources.push(Arc::new(gpus)),
            Err(error) => {
                own.off("gpu", error.to_string());
                info!("gpu is off: {error}");
            }
        }
    }
    if let Some(exporter) = &exporter {
        for ledger in exporter.ledgers() {
            sources.push(ledger);
        }
    }

    let ready = Arc::new(AtomicBool::new(false));
    let address = server.address();
    let state = State {
        sources: sources.clone().into(),
        ready: Arc::clone(&ready),
    };
    let serving = tokio::spawn(server.serve(state));
    let exporting = exporter.map(|exporter| exporter.start(sources.clone()));
    ready.store(true, Ordering::Release);
    info!(
        "ready after {} ms: {}; metrics on http://{address}/metrics",
        started.elapsed().as_millis(),
        watch.summary(),
    );

    let table = !args.no_table && std::io::stdout().is_terminal();
    let mut frames = tokio::time::interval(TABLE_INTERVAL);
    let mut drawn = Table::new(Instant::now());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = frames.tick(), if table => {
                let headline = format!("fathom {} · {} · http://{address}/metrics", env!("CARGO_PKG_VERSION"), watch.summary());
                draw(&mut drawn, &headline, &sources);
            }
        }
    }
    watch.stop();
    serving.abort();
    if let Some(exporting) = exporting {
        exporting.shutdown(FLUSH).await;
    }
    Ok(())
}

fn draw(table: &mut Table, headline: &str, sources: &[Arc<dyn Source>]) {
    let mut metrics = Vec::new();
    for source in sources {
        source.collect(&mut metrics);
    }
    let frame = table.frame(headline, &metrics, Instant::now());
    // Home, then each line cleared to its end, then everything below: no flicker, unlike clearing first.
    let lines = frame.replace('\n', "\x1b[K\n");
    let mut out = std::io::stdout().lock();
    // A terminal that is gone is no reason to stop watching.
    let _ = write!(out, "\x1b[H{lines}\x1b[J");
    let _ = out.flush();
}

//! `fathom agent`: every signal of the node, until a signal ends it.
//!
//! Wiring only. The order matters: the configuration and the port are checked before anything touches the kernel; the
//! mount namespace is entered before there is a second thread; readiness is said when the probes are attached.

mod memory;
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

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use self::{
    own::Own,
    watch::{Shared, Takers, Watch},
};
use crate::{
    cli::{Failure, Outcome, table::Table, usage},
    config::{Config, Overrides},
    export::{
        http::{Server, State},
        otlp::Exporter,
    },
    gpu::Gpus,
    probes::{
        self, namespace,
        trace_contexts::{self, TraceContexts},
    },
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
    /// How sockets are watched: auto, raw-tracepoint, fentry, kprobe or syscall
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
    memory::keep_little();
    usage::raise_open_files();
    let server = Server::bind(config.listen)?;
    let trace_contexts = config.trace_contexts.as_deref().map(TraceContexts::open);
    // Not fatal by itself: most of what follows works without, and says so where it does not.
    let namespace = namespace::enter()
        .inspect_err(|error| warn!("no mount namespace of its own: {error}"))
        .is_ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fathom-io")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ground = Ground {
        namespace,
        trace_contexts,
    };
    runtime.block_on(watch_until_told(args, config, server, ground))
}

/// What only a process with a single thread can get, and only in this order.
struct Ground {
    /// Whether there is a mount namespace of its own.
    namespace: bool,
    /// From the host's BPF file system, which that namespace hides.
    trace_contexts: Option<Result<TraceContexts, trace_contexts::Error>>,
}

async fn watch_until_told(args: &Args, config: Config, server: Server, ground: Ground) -> Outcome {
    let started = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;

    let exporter = (!config.otlp.is_off())
        .then(|| Exporter::prepare(config.otlp.clone()))
        .transpose()?;
    let mut watch = Watch::new(Shared {
        clock: Arc::new(Clock::new()),
        ids: Arc::new(Ids::random().context("drawing the key of the span ids")?),
        events: Arc::new(Events::default()),
        own: Arc::new(Own::new(config.memory_limit)),
        links: Arc::default(),
        joined: ground.namespace && config.capabilities.net && config.capabilities.profile,
    });
    let trace_contexts = match ground.trace_contexts {
        Some(Ok(map)) => {
            watch.works("trace_contexts", "trace contexts for others".to_owned());
            Some(map)
        }
        Some(Err(error)) => {
            watch.fails("trace_contexts", &error);
            None
        }
        None => None,
    };
    let takers = Takers {
        spans: exporter.as_ref().and_then(Exporter::spans),
        logs: exporter.as_ref().and_then(Exporter::logs),
        trace_contexts,
    };
    start(&mut watch, &config, takers, exporter.as_ref())?;
    memory::give_back();
    memory::give_back_program();
    for ledger in exporter.iter().flat_map(Exporter::ledgers) {
        watch.show(ledger);
    }
    let sources = watch.sources();

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

/// Starts each capability that is wanted. One that the kernel refuses is off, and the rest runs on; but where the main job can't be
/// done for want of privileges or type information, or not by the tap that was asked for, that is an error: an agent
/// that seems to run and sees no request helps nobody.
fn start(
    watch: &mut Watch,
    config: &Config,
    takers: Takers,
    exporter: Option<&Exporter>,
) -> Outcome {
    let mut refused = None;
    if config.capabilities.net {
        if takers.logs.is_none() && !config.flow_logs.is_empty() {
            warn!(
                "flows.logs has rules, and no record is sent: there is no OTLP endpoint (--otlp-endpoint), or OTEL_LOGS_EXPORTER is none"
            );
        }
        match watch.net(config, takers) {
            Ok(()) => {}
            Err(error @ (probes::Error::NoTap(_) | probes::Error::Program { .. })) => {
                watch.fails("net", &error);
                refused = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if config.capabilities.profile
        && let Err(error) = watch.profile(config, exporter.and_then(Exporter::profiles))
    {
        watch.fails("profile", &error);
        refused = refused.or(Some(error));
    }
    if config.capabilities.gpu {
        match Gpus::start() {
            Ok(gpus) => {
                watch.works("gpu", "gpu".to_owned());
                watch.show(Arc::new(gpus));
            }
            Err(error) => watch.lacks("gpu", &error),
        }
    }
    match refused {
        Some(error) if watch.is_idle() => Err(error.into()),
        None if watch.is_idle() => Err(Failure::Cannot(anyhow!(
            "there is nothing to watch: `fathom doctor` says why"
        ))),
        _ => Ok(()),
    }
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

//! `cargo xtask bench idle`: what connections that stay open and do nothing cost the agent in memory.
//!
//! Each connection over loopback is two for the agent, which watches both ends. They are opened while it runs, are idle until it has put everything away, and are
//! used once more at the end: what it kept of each must be enough to count every exchange.

pub mod crowd;

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use fathom_scenarios::pairs::AgentSample;

use self::crowd::{Crowd, Kind};
use super::{agent::Agent, ensure_root, under_test};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Ends of connections; half of them are clients'
    #[arg(long, default_value_t = 100_000)]
    ends: u32,
    /// The agent's memory limit
    #[arg(long, default_value = "64MiB")]
    memory_limit: String,
    /// The agent's loopback port
    #[arg(long, default_value_t = 25_190)]
    port: u16,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// How long the agent is left alone before it is measured.
const REST: Duration = Duration::from_secs(3);

const MEBIBYTE: f64 = 1_048_576.0;

/// What was found with one kind of connections.
struct Row {
    kind: Kind,
    /// Before any was opened.
    before: AgentSample,
    /// While all are idle.
    open: AgentSample,
    /// Those of them that found no room in the kernel's table.
    untracked: Option<f64>,
    /// After each was used once more.
    used: AgentSample,
}

/// Measures, and prints a table.
pub fn run(options: &Options) -> Result<()> {
    ensure_root()?;
    ensure!(options.ends >= 2, "no connections: nothing to measure");
    let binary = under_test(options.binary.as_deref())?;
    println!(
        "{} ends of connections over loopback, the agent with a limit of {}.\n\n{HEAD}",
        options.ends, options.memory_limit
    );
    for kind in Kind::ALL {
        let row = measure(&binary, options, kind)?;
        println!("{}", line(&row, options.ends));
    }
    Ok(())
}

fn measure(binary: &PathBuf, options: &Options, kind: Kind) -> Result<Row> {
    let arguments = [
        "--capabilities",
        "net",
        "--memory-limit",
        &options.memory_limit,
    ];
    let agent = Agent::start(binary, options.port, &arguments)?;
    thread::sleep(REST);
    let before = agent.sample(0.0)?;
    let mut crowd = Crowd::open(kind, options.ends / 2)?;
    thread::sleep(REST);
    let open = agent.sample(0.0)?;
    let untracked = agent.untracked()?;
    crowd.use_once()?;
    thread::sleep(REST);
    let used = agent.sample(0.0)?;
    drop(crowd);
    agent.stop()?;
    Ok(Row {
        kind,
        before,
        open,
        untracked,
        used,
    })
}

const HEAD: &str = "\
| connections | resident before (MiB) | resident while idle (MiB) | growth (bytes an end) | maps (MiB) | untracked ends | exchanges seen after idling (%) | lost events |
|---|---|---|---|---|---|---|---|";

fn line(row: &Row, ends: u32) -> String {
    let [before, open] = [&row.before, &row.open].map(|sample| bytes(sample.resident));
    let of = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    // The servers' ends count; each connection makes one exchange.
    let after = row
        .used
        .seen
        .zip(row.open.seen)
        .map(|(used, open)| (used - open) / f64::from(ends / 2) * 100.0);
    format!(
        "| {} | {:.1} | {:.1} | {:.0} | {} | {} | {} | {} |",
        row.kind.name(),
        before / MEBIBYTE,
        open / MEBIBYTE,
        (open - before) / f64::from(ends),
        of(row.open.maps.map(|maps| maps / MEBIBYTE), 1),
        of(row.untracked, 0),
        of(after.filter(|_| row.kind == Kind::Http), 1),
        of(row.used.lost, 0),
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory sizes are far below 2^53 bytes"
)]
fn bytes(size: u64) -> f64 {
    size as f64
}

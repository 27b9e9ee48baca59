//! `cargo xtask bench profile`: what a profile of the whole machine costs at 100 Hz, and what it costs with perf.
//!
//! - `compute`: an application that only computes, on every CPU, in pairs of runs as in `bench overhead`.
//! - `web`: nginx under wrk.
//! - `start`: how long it takes to the first sample, and to a flame graph of one second.
//! - `storm`: memory of the command and of the agent while a thousand processes start in each second.

mod compute;
mod start;
mod storm;
mod watcher;
mod web;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use fathom_scenarios::pairs::{Pair, Sample};

use self::watcher::{Kind, Left, Watcher};
use super::{
    chosen, ensure_root,
    report::{Machine, NOISE, Report, Row, line},
    statistics::Spread,
    summary::summary,
    under_test,
};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Measure only this (repeat for more)
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Pairs of runs of each watcher
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Seconds a run
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Processes that start in each second of the storm
    #[arg(long, default_value_t = 1000)]
    starts: u32,
    /// For how many seconds it lasts
    #[arg(long, default_value_t = 60)]
    storm_seconds: u32,
    /// nginx's loopback port; the next one is the agent's
    #[arg(long, default_value_t = 25_220)]
    port: u16,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// An application that computes
    Compute,
    /// nginx under load
    Web,
    /// How long it takes to begin
    Start,
    /// Many processes that live for a moment
    Storm,
}

/// Measures, and prints a table for each part.
pub fn run(options: &Options) -> Result<()> {
    ensure_root()?;
    ensure!(
        options.pairs > 0 && options.seconds > 0 && options.storm_seconds > 0,
        "no pairs or no seconds: nothing to measure"
    );
    let binary = under_test(options.binary.as_deref())?;
    for part in chosen(&options.part) {
        match part {
            Part::Compute => compute::run(options, &binary)?,
            Part::Web => web::run(options, &binary)?,
            Part::Start => start::run(options, &binary)?,
            Part::Storm => storm::run(options, &binary)?,
        }
    }
    Ok(())
}

/// Pairs of runs for each watcher, as a report. `run` loads the application once, while the watcher that it is given watches.
fn compare(
    options: &Options,
    binary: &Path,
    name: &str,
    setup: &str,
    mut run: impl FnMut(Option<&Watcher>) -> Result<Sample>,
) -> Result<()> {
    let mut rows = vec![Row {
        name: NOISE.to_owned(),
        ..summary(NOISE, &Pair::take(options.pairs, |_| run(None))?)
    }];
    eprintln!("{}", line(&rows[0]));
    let mut notes = Vec::new();
    for kind in Kind::ALL {
        if let Some(why) = kind.missing() {
            rows.push(Row::refused(kind.name(), &why));
            continue;
        }
        eprintln!("measures: {}", kind.name());
        let mut left = Vec::new();
        let pairs = Pair::take(options.pairs, |on| {
            if !on {
                return run(None);
            }
            let watcher = Watcher::start(kind, binary)?;
            let mut sample = run(Some(&watcher))?;
            let end = watcher.stop()?;
            if let Some(agent) = &mut sample.agent {
                agent.lost = end.lost;
            }
            left.push(end);
            Ok::<_, anyhow::Error>(sample)
        })?;
        let row = summary(kind.name(), &pairs);
        eprintln!("{}", line(&row));
        rows.push(row);
        notes.push(note(kind, &left));
    }
    Report {
        name: format!("profile-{name}"),
        machine: Machine::here()?,
        setup: setup.to_owned(),
        pairs: options.pairs,
        seconds: options.seconds,
        rows,
        notes,
    }
    .write()
}

/// What a watcher left behind, beside its row.
fn note(kind: Kind, left: &[Left]) -> String {
    let spread =
        |of: fn(&Left) -> f64, digits| Spread::shown(Spread::of(left.iter().map(of)), digits);
    format!(
        "- {}: {} MiB written; {} s of CPU time at the end, after the load",
        kind.name(),
        spread(|left| left.written_mib, 2),
        spread(|left| left.cpu_at_the_end, 2)
    )
}

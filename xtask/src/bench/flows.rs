//! `cargo xtask bench flows`: what it costs to follow connections that come and go, many of them, and many that just are.
//!
//! - `churn`: connections of a byte each way, one after the other, as fast as two processes make them, in pairs of runs as in `bench overhead`. Both
//!   ends are watched, and share the cores with the agent. One row is for programs that do nothing on the same events: what is left to save.
//! - `million`: memory while a million such connections come and go.
//! - `idle`: memory and CPU time while 100,000 ends of connections are open, do nothing, and are reported every ten seconds; in the agent they rest by then.

mod churn;
mod empty;
mod idle;
mod million;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use super::{chosen, ensure_root, under_test};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Measure only this (repeat for more)
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Pairs of runs of the churn
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Seconds a run of the churn
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Connections that come and go while memory is looked at
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// Ends of connections that are idle; half of them are clients'
    #[arg(long, default_value_t = 100_000)]
    ends: u32,
    /// How many of them are opened in a second at most; with 0, as many as can be
    #[arg(long, default_value_t = 2000)]
    ends_per_second: u32,
    /// For how many seconds they are looked at
    #[arg(long, default_value_t = 60)]
    idle_seconds: u32,
    /// The agent's memory limit, instead of its own default
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<String>,
    /// The agent's loopback port
    #[arg(long, default_value_t = 25_200)]
    port: u16,
    /// The tap that the agent is told to use, instead of the best one of this machine
    #[arg(long, value_name = "TAP")]
    tap: Option<String>,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What making connections costs
    Churn,
    /// Memory over a million connections
    Million,
    /// What idle connections cost
    Idle,
}

/// Measures, and prints a table for each part.
pub fn run(options: &Options) -> Result<()> {
    ensure_root()?;
    ensure!(
        options.pairs > 0 && options.seconds > 0 && options.idle_seconds > 0,
        "no pairs or no seconds: nothing to measure"
    );
    let binary = under_test(options.binary.as_deref())?;
    for part in chosen(&options.part) {
        match part {
            Part::Churn => churn::run(options, &binary)?,
            Part::Million => million::run(options, &binary)?,
            Part::Idle => idle::run(options, &binary)?,
        }
    }
    Ok(())
}

impl Options {
    /// What the agent is started with: connections alone.
    fn arguments(&self) -> Vec<&str> {
        let tap = self.tap.iter().flat_map(|tap| ["--tap", tap]);
        let limit = self.memory_limit.iter();
        let limit = limit.flat_map(|limit| ["--memory-limit", limit]);
        let net = ["--capabilities", "net"].into_iter();
        net.chain(tap).chain(limit).collect()
    }
}

//! `cargo xtask bench overhead`: the price on the watched application.
//!
//! Runs go in pairs, on/off then off/on (ABBA), so that a drift of the machine falls on both; each pair gives one
//! ratio, and the row shows their median and their ends. The first row compares off with off: its spread is the noise
//! that the other rows carry too.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use fathom_scenarios::pairs::{Pair, Sample};

use super::{
    agent::Agent,
    bpftrace::Counter,
    ensure_root,
    report::{self, Machine, NOISE, Report, Row},
    server::{Door, Server},
    summary::summary,
    under_test,
    wrk::{self, Pace},
};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Pairs of runs a row
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Seconds a run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Measure only rows whose name contains this (repeat for more)
    #[arg(long, value_name = "TEXT")]
    row: Vec<String>,
    /// The loopback port of nginx; the agent takes the next one
    #[arg(long, default_value_t = 25_080)]
    port: u16,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What is on in the "on" runs.
enum Watcher {
    Nothing,
    Agent(&'static [&'static str]),
    Bpftrace,
}

struct Plan {
    name: &'static str,
    watcher: Watcher,
    pace: Pace,
}

const fn agent(name: &'static str, arguments: &'static [&'static str]) -> Plan {
    Plan {
        name,
        watcher: Watcher::Agent(arguments),
        pace: Pace::Saturated,
    }
}

const PLANS: [Plan; 9] = [
    Plan {
        name: NOISE,
        watcher: Watcher::Nothing,
        pace: Pace::Saturated,
    },
    agent("net, fentry", &["--capabilities", "net", "--tap", "fentry"]),
    agent(
        "net, raw-tracepoint",
        &["--capabilities", "net", "--tap", "raw-tracepoint"],
    ),
    agent("net, kprobe", &["--capabilities", "net", "--tap", "kprobe"]),
    agent(
        "net, syscall",
        &["--capabilities", "net", "--tap", "syscall"],
    ),
    agent("profile", &["--capabilities", "profile"]),
    agent("everything", &[]),
    Plan {
        name: "bpftrace, counting",
        watcher: Watcher::Bpftrace,
        pace: Pace::Saturated,
    },
    Plan {
        name: "everything, 10,000/s",
        watcher: Watcher::Agent(&[]),
        pace: Pace::TenThousand,
    },
];

/// Measures and writes the report.
pub fn run(options: &Options) -> Result<()> {
    ensure_root()?;
    ensure!(
        options.pairs > 0 && options.seconds > 0,
        "no pairs or no seconds: nothing to measure"
    );
    let binary = under_test(options.binary.as_deref())?;
    let server = Server::start(options.port, None)?;
    let bench = Bench {
        options,
        server: &server,
        binary,
    };
    let mut rows = Vec::new();
    for plan in PLANS.iter().filter(|plan| {
        options.row.is_empty()
            || options
                .row
                .iter()
                .any(|part| plan.name.contains(part.as_str()))
    }) {
        eprintln!("measures: {}", plan.name);
        let row = bench.row(plan)?;
        eprintln!("{}", report::line(&row));
        rows.push(row);
    }
    server.stop()?;
    let broken = rows
        .iter()
        .any(|row| row.refused.is_some() && row.name.starts_with("everything"));
    Report {
        name: "overhead".to_owned(),
        machine: Machine::here()?,
        setup: "nginx with 2 workers and wrk share the cores.".to_owned(),
        pairs: options.pairs,
        seconds: options.seconds,
        rows,
        notes: Vec::new(),
    }
    .write()?;
    ensure!(!broken, "the agent as users start it does not run here");
    Ok(())
}

struct Bench<'o> {
    options: &'o Options,
    server: &'o Server,
    binary: PathBuf,
}

impl Bench<'_> {
    fn row(&self, plan: &Plan) -> Result<Row> {
        // What does not load here has a row too, with the reason.
        if let Watcher::Agent(arguments) = plan.watcher {
            match Agent::start(&self.binary, self.options.port + 1, arguments) {
                Ok(agent) => agent.stop()?,
                Err(why) => return Ok(Row::refused(plan.name, &format!("{why:#}"))),
            }
        }
        let pairs = Pair::take(self.options.pairs, |on| {
            let watcher = if on { &plan.watcher } else { &Watcher::Nothing };
            self.sample(watcher, plan.pace)
        })?;
        Ok(summary(plan.name, &pairs))
    }

    /// One run: start what watches, load, read the meters, end it.
    fn sample(&self, watcher: &Watcher, pace: Pace) -> Result<Sample> {
        match watcher {
            Watcher::Nothing => self.load(pace, None),
            Watcher::Agent(arguments) => {
                let agent = Agent::start(&self.binary, self.options.port + 1, arguments)?;
                let sample = self.load(pace, Some(&agent))?;
                agent.stop()?;
                Ok(sample)
            }
            Watcher::Bpftrace => {
                let counter = Counter::start()?;
                let sample = self.load(pace, None)?;
                counter.stop(sample.requests)?;
                Ok(sample)
            }
        }
    }

    fn load(&self, pace: Pace, agent: Option<&Agent>) -> Result<Sample> {
        thread::sleep(Duration::from_millis(300));
        let application = self.server.cpu_seconds()?;
        let own = agent.map(Agent::cpu_seconds).transpose()?;
        let load = wrk::run(&self.server.url(Door::Plain), pace, self.options.seconds)?;
        let application_cpu = self.server.cpu_seconds()? - application;
        let agent = match (agent, own) {
            (Some(agent), Some(before)) => {
                let cpu = agent.cpu_seconds()? - before;
                Some(agent.sample(cpu)?)
            }
            _ => None,
        };
        Ok(Sample {
            requests: load.requests,
            per_second: load.per_second,
            application_cpu,
            agent,
        })
    }
}

//! `cargo xtask bench l7`: the price of decoding, by what is spoken, and the price for those who don't speak it.
//!
//! Runs go in pairs as in `bench overhead`. Each protocol is measured twice: as fast as the two programs go, where the ratio of throughputs says what the agent
//! takes from a machine that has nothing to spare (its own CPU time is a part of that, as all share the same cores); and at 10,000 requests a second, where
//! the CPU time of a request says what each of the two pays.

mod applications;
mod h2load;

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use fathom_scenarios::pairs::{Pair, Sample};

use self::applications::{Application, Ground};
use super::{
    agent::Agent,
    ensure_root,
    report::{self, Machine, NOISE, Report, Row},
    statistics::Spread,
    summary::summary,
    under_test,
    wrk::Pace,
};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Pairs of runs a row
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Seconds a run
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Measure only rows whose name contains this (repeat for more)
    #[arg(long, value_name = "TEXT")]
    row: Vec<String>,
    /// What the agent does
    #[arg(long, value_name = "LIST", default_value = "net,tls")]
    capabilities: String,
    /// The tap that it is told to use, instead of the best one of this machine
    #[arg(long, value_name = "TAP")]
    tap: Option<String>,
    /// The first of five loopback ports
    #[arg(long, default_value_t = 25_180)]
    port: u16,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// CPU time of the agent for a request, at most, in microseconds.
const AGENT_AIM_US: f64 = 3.0;

/// A row.
struct Plan {
    name: String,
    application: Application,
    pace: Pace,
    /// Whether the agent is on in the "on" runs.
    watched: bool,
}

/// Measures and writes the report.
pub fn run(options: &Options) -> Result<()> {
    ensure_root()?;
    ensure!(
        options.pairs > 0 && options.seconds > 0,
        "no pairs or no seconds: nothing to measure"
    );
    let binary = under_test(options.binary.as_deref())?;
    let bench = Bench {
        options,
        ground: Ground::prepare(options.port)?,
        binary,
    };
    let plans = plans();
    let wanted = |plan: &&Plan| {
        options.row.is_empty() || options.row.iter().any(|part| plan.name.contains(part))
    };
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for plan in plans.iter().filter(wanted) {
        eprintln!("measures: {}", plan.name);
        let row = bench.row(plan)?;
        eprintln!("{}", report::line(&row));
        notes.extend(verdict(plan, &row));
        rows.push(row);
    }
    bench.ground.stop()?;
    let tap = options
        .tap
        .as_deref()
        .unwrap_or("the best tap of this machine");
    Report {
        name: "l7".to_owned(),
        machine: Machine::here()?,
        setup: format!(
            "The agent does {} through {tap}. Servers (nginx with 2 workers, tonic with 2 threads, a store that answers Redis's PING) and load (wrk, h2load, \
             a client of the store's) share the cores, and both are watched: a request is two exchanges.",
            options.capabilities
        ),
        pairs: options.pairs,
        seconds: options.seconds,
        rows,
        notes,
    }
    .write()
}

fn plans() -> Vec<Plan> {
    let saturated = |application: Application| Plan {
        name: application.name().to_owned(),
        application,
        pace: Pace::Saturated,
        watched: true,
    };
    let paced = |application: Application| Plan {
        name: format!("{}, 10,000/s", application.name()),
        pace: Pace::TenThousand,
        ..saturated(application)
    };
    let noise = Plan {
        name: NOISE.to_owned(),
        watched: false,
        ..saturated(Application::ALL[0])
    };
    let has_pace = Application::ALL
        .into_iter()
        .filter(|application| *application != Application::Files);
    [noise]
        .into_iter()
        .chain(Application::ALL.into_iter().map(saturated))
        .chain(has_pace.map(paced))
        .collect()
}

/// How a row compares with what is aimed at.
fn verdict(plan: &Plan, row: &Row) -> Option<String> {
    if !plan.watched {
        return None;
    }
    let says = |holds: bool| if holds { "met" } else { "missed" };
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    Some(match plan.pace {
        Pace::Saturated => {
            let (ratio, aim) = (median(row.throughput_ratio)?, plan.application.aim());
            format!(
                "- {}: at least {aim:.2} of the throughput without the agent is aimed at, {ratio:.3} is left: {}",
                plan.name,
                says(ratio >= aim)
            )
        }
        Pace::TenThousand => {
            let cpu = median(row.agent_cpu_us)?;
            format!(
                "- {}: less than {AGENT_AIM_US} µs of the agent's CPU time a request are aimed at, {cpu:.2} µs are taken: {}",
                plan.name,
                says(cpu < AGENT_AIM_US)
            )
        }
    })
}

struct Bench<'o> {
    options: &'o Options,
    ground: Ground,
    binary: PathBuf,
}

impl Bench<'_> {
    fn row(&self, plan: &Plan) -> Result<Row> {
        let pairs = Pair::take(self.options.pairs, |on| {
            self.sample(plan, on && plan.watched)
        })?;
        Ok(summary(&plan.name, &pairs))
    }

    /// One run: start the agent if it is to be on, load, read the meters, end it.
    fn sample(&self, plan: &Plan, watched: bool) -> Result<Sample> {
        if !watched {
            return self.load(plan, None);
        }
        let mut arguments = vec!["--capabilities", &self.options.capabilities];
        if let Some(tap) = &self.options.tap {
            arguments.extend(["--tap", tap]);
        }
        let agent = Agent::start(&self.binary, self.options.port + 1, &arguments)?;
        let sample = self.load(plan, Some(&agent))?;
        agent.stop()?;
        Ok(sample)
    }

    fn load(&self, plan: &Plan, agent: Option<&Agent>) -> Result<Sample> {
        thread::sleep(Duration::from_millis(300));
        let own = agent.map(Agent::cpu_seconds).transpose()?;
        let load = self
            .ground
            .load(plan.application, plan.pace, self.options.seconds)
            .with_context(|| plan.name.clone())?;
        let agent = match (agent, own) {
            (Some(agent), Some(before)) => Some(agent.sample(agent.cpu_seconds()? - before)?),
            _ => None,
        };
        Ok(Sample {
            requests: load.requests,
            per_second: load.per_second,
            application_cpu: load.application_cpu,
            agent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{report::Row, statistics::Spread},
        plans, verdict,
    };

    #[test]
    fn every_application_is_measured_and_files_have_no_pace() {
        let names: Vec<String> = plans().into_iter().map(|plan| plan.name).collect();
        assert_eq!(names.len(), 1 + 7 + 6);
        assert!(names.iter().any(|name| name == "HTTP/2, TLS, 10,000/s"));
        assert!(!names.iter().any(|name| name == "file I/O, 10,000/s"));
    }

    #[test]
    fn an_aim_is_met_or_missed() {
        let plans = plans();
        let spread = |median| {
            Some(Spread {
                median,
                least: median,
                most: median,
            })
        };
        let mut row = Row::refused("", "");
        row.throughput_ratio = spread(0.955);
        row.agent_cpu_us = spread(3.5);
        let said = |name: &str| {
            let plan = plans.iter().find(|plan| plan.name == name);
            verdict(plan.expect("a plan"), &row).expect("measured")
        };
        assert!(said("HTTP/1.1").ends_with("missed"));
        assert!(said("HTTP/1.1, TLS").ends_with("met"));
        assert!(said("HTTP/1.1, 10,000/s").ends_with("missed"));
        assert_eq!(verdict(&plans[0], &row), None);
    }
}

//! The price of a connection that is made, used once and closed.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fathom_scenarios::pairs::{Pair, Sample};

use super::{
    super::{
        agent::Agent,
        process,
        report::{Machine, NOISE, Report},
        summary::summary,
    },
    Options,
    empty::Empty,
};
use crate::shell;

/// Connections, as tests/programs/churn.c made them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churned {
    pub connections: f64,
    pub seconds: f64,
    /// CPU seconds of both programs.
    pub cpu: f64,
}

impl Churned {
    /// Reads what the program says: three numbers.
    pub fn read(line: &str) -> Result<Self> {
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        let mut next = || {
            numbers
                .next()
                .and_then(Result::ok)
                .with_context(|| format!("not what churn says of its connections: {line:?}"))
        };
        Ok(Self {
            connections: next()?,
            seconds: next()?,
            cpu: next()?,
        })
    }
}

/// Who watches the second run of a pair.
#[derive(Clone, Copy)]
enum Watched {
    No,
    /// Programs that do nothing, on the same events.
    Empty,
    Yes,
}

/// How long the agent has for what came last, before it is asked what it saw.
const SETTLE: Duration = Duration::from_millis(500);

pub fn run(options: &Options, binary: &PathBuf) -> Result<()> {
    let program = process::compile("churn")?;
    let mut rows = Vec::new();
    for (name, watched) in [
        (NOISE, Watched::No),
        ("empty programs", Watched::Empty),
        ("net", Watched::Yes),
    ] {
        eprintln!("measures: {name}");
        let pairs = Pair::take(options.pairs, |on| match watched {
            Watched::Yes if on => {
                let agent = Agent::start(binary, options.port, &options.arguments())?;
                let sample = sample(&program, options.seconds, Some(&agent))?;
                agent.stop()?;
                Ok::<_, anyhow::Error>(sample)
            }
            Watched::Empty if on => {
                let _empty = Empty::attach()?;
                sample(&program, options.seconds, None)
            }
            _ => sample(&program, options.seconds, None),
        })?;
        rows.push(summary(name, &pairs));
    }
    let tap = options
        .tap
        .as_deref()
        .unwrap_or("the best tap of this machine");
    Report {
        name: "flows".to_owned(),
        machine: Machine::here()?,
        setup: format!(
            "Two programs make connections over loopback, one after the other: connect, a byte there, a byte back, close. In this table a request is a connection, which \
             is two for the agent, through {tap}."
        ),
        pairs: options.pairs,
        seconds: options.seconds,
        rows,
        notes: Vec::new(),
    }
    .write()
}

fn sample(program: &PathBuf, seconds: u32, agent: Option<&Agent>) -> Result<Sample> {
    thread::sleep(Duration::from_millis(300));
    let before = agent
        .map(|agent| anyhow::Ok((agent.cpu_seconds()?, agent.connections()?.unwrap_or(0.0))))
        .transpose()?;
    let said = shell::output(shell::command(program).args(["seconds", &seconds.to_string()]))?;
    let churned = Churned::read(&said)?;
    ensure!(churned.connections > 0.0, "no connection was made");
    let agent = match (agent, before) {
        (Some(agent), Some((cpu, connections))) => {
            thread::sleep(SETTLE);
            let mut sample = agent.sample(agent.cpu_seconds()? - cpu)?;
            // Each connection has two ends.
            sample.seen = agent.connections()?.map(|seen| (seen - connections) / 2.0);
            Some(sample)
        }
        _ => None,
    };
    Ok(Sample {
        requests: churned.connections,
        per_second: churned.connections / churned.seconds,
        application_cpu: churned.cpu,
        agent,
    })
}

#[cfg(test)]
mod tests {
    use super::Churned;

    #[test]
    fn three_numbers_are_read_and_less_are_an_error() {
        let churned = Churned::read("20000 0.648731 0.465628\n").expect("three numbers");
        assert_eq!(churned.connections, 20_000.0);
        assert_eq!(churned.cpu, 0.465628);
        assert!(Churned::read("20000 0.6").is_err());
        assert!(Churned::read("connect: no").is_err());
    }
}

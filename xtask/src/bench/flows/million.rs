//! Memory while very many connections come and go: it may depend on how many there are at a time, and not on how many there were.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    super::{agent::Agent, process},
    Options,
    churn::Churned,
};
use crate::shell;

/// Memory is looked at so many times.
const STEPS: u32 = 10;

/// How long the agent is left alone before it is looked at.
const REST: Duration = Duration::from_secs(2);

const MEBIBYTE: f64 = 1_048_576.0;

pub fn run(options: &Options, binary: &PathBuf) -> Result<()> {
    let step = options.connections.div_ceil(STEPS);
    let agent = Agent::start(binary, options.port, &options.arguments())?;
    let mut churn = Churn::start(step)?;
    println!(
        "\nConnections as above, {step} at a time. Resident memory is without rings.\n\n\
         | connections so far | resident (MiB) | maps (MiB) | seen so far (%) | lost events |\n|---|---|---|---|---|"
    );
    let mut made = 0.0;
    let mut resident = Vec::new();
    let before = agent.connections()?.unwrap_or(0.0);
    for at in 0..=STEPS {
        if at > 0 {
            made += churn.step()?.connections;
        }
        thread::sleep(REST);
        let sample = agent.sample(0.0)?;
        let mebibytes = bytes(sample.resident) / MEBIBYTE;
        resident.push(mebibytes);
        let seen = agent
            .connections()?
            .filter(|_| made > 0.0)
            .map(|seen| (seen - before) / 2.0 / made * 100.0);
        println!(
            "| {made:.0} | {mebibytes:.2} | {} | {} | {} |",
            of(sample.maps.map(|maps| maps / MEBIBYTE), 1),
            of(seen, 3),
            of(sample.lost, 0)
        );
    }
    agent.stop()?;
    println!(
        "\nFrom the first {step} connections to the last, resident memory grew by {:.2} MiB.",
        resident[resident.len() - 1] - resident[1]
    );
    Ok(())
}

fn of(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory sizes are far below 2^53 bytes"
)]
fn bytes(size: u64) -> f64 {
    size as f64
}

/// tests/programs/churn.c, which makes some connections each time that it is told to.
struct Churn {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Churn {
    fn start(step: u32) -> Result<Self> {
        let program = process::compile("churn")?;
        let mut child = shell::command(&program)
            .args(["count", &step.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start churn")?;
        let orders = child.stdin.take().context("no pipe")?;
        let said = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self {
            child,
            orders,
            said,
        })
    }

    fn step(&mut self) -> Result<Churned> {
        writeln!(self.orders)?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        Churned::read(&line)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // Its server dies with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

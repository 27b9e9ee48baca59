//! What a server that does no work pays for fathom, in pairs of runs with the agent on and off.
//!
//! The set-up is that of a published comparison: a C server, a C client with four keep-alive connections, both of one
//! thread, on a machine of two CPUs. It is a measurement and no test.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent::Agent, context::Context, scenarios::accounting};

/// Keep-alive connections.
const CONNECTIONS: &str = "4";

/// Prints one row: the ratio of answers with the agent on to those with it off (median, least, most), the agent's CPU
/// time for each answer, and what it lost.
pub fn run(context: &Context, pairs: u32, seconds: u32) -> Result<()> {
    let server = Server::start(context.programs.join("echo"))?;
    let (mut ratios, mut cpu, mut off_rate, mut lost) = (vec![], vec![], vec![], 0);
    for pair in 0..pairs {
        // On and off take turns in being first, so that a drift of the machine falls on both.
        let (on, off) = if pair % 2 == 0 {
            let on = watched(context, &server, seconds)?;
            (on, server.ask(seconds)?)
        } else {
            let off = server.ask(seconds)?;
            (watched(context, &server, seconds)?, off)
        };
        ratios.push(on.answers / off);
        cpu.push(on.agent_seconds * 1e6 / on.answers);
        off_rate.push(off / f64::from(seconds));
        lost += on.lost;
    }
    let name = context.tap.as_deref().unwrap_or("everything");
    let (ratio, cpu, off) = (sorted(ratios), sorted(cpu), sorted(off_rate));
    println!(
        "{name:<16} ratio {:.2} ({:.2} to {:.2}), {:.0} answers/s without, agent {:.0} µs of CPU an answer, {lost} lost, {pairs} pairs",
        median(&ratio),
        ratio[0],
        ratio[ratio.len() - 1],
        median(&off),
        median(&cpu),
    );
    Ok(())
}

/// A run with the agent on.
struct Watched {
    answers: f64,
    agent_seconds: f64,
    lost: u64,
}

fn watched(context: &Context, server: &Server, seconds: u32) -> Result<Watched> {
    let capabilities: &[&str] = match context.tap {
        Some(_) => &["--capabilities", "net"],
        None => &[],
    };
    let agent = Agent::start(context, capabilities)?;
    let before = cpu_seconds(agent.pid())?;
    let answers = server.ask(seconds)?;
    let agent_seconds = cpu_seconds(agent.pid())? - before;
    let lost = accounting::losses(&agent.metrics()?);
    agent.stop()?;
    Ok(Watched {
        answers,
        agent_seconds,
        lost,
    })
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// The server, which ends with this.
struct Server {
    child: Child,
    program: PathBuf,
    port: String,
}

impl Server {
    fn start(program: PathBuf) -> Result<Self> {
        let mut child = Command::new(&program)
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("no pipe")?;
        let mut port = String::new();
        BufReader::new(stdout).read_line(&mut port)?;
        let port = port.trim().to_owned();
        Ok(Self {
            child,
            program,
            port,
        })
    }

    /// Answers that a client got within `seconds`.
    fn ask(&self, seconds: u32) -> Result<f64> {
        let output = Command::new(&self.program)
            .args(["ask", &self.port, CONNECTIONS, &seconds.to_string()])
            .output()?;
        let answers = String::from_utf8_lossy(&output.stdout).trim().parse();
        ensure!(
            output.status.success(),
            "the client failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        answers.context("the client printed no count")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU time that a process has had (proc_pid_stat(5), utime and stime).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    // USER_HZ, which is 100 on every x86-64.
    Ok(ticks / 100.0)
}

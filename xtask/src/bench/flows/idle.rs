//! Connections that are open and do nothing: what they cost the agent, and `fathom flows`, which writes a line for each of them every ten seconds.

use std::{path::PathBuf, process::Stdio, thread, time::Duration};

use anyhow::Result;
use fathom_scenarios::{bpf::Objects, process};

use super::{
    super::{
        agent::Agent,
        idle::crowd::{Crowd, Kind},
        process::Running,
    },
    Options,
};
use crate::shell;

/// How long what watches is left alone before it is looked at: attached, everything put away.
const REST: Duration = Duration::from_secs(12);

const MEBIBYTE: f64 = 1_048_576.0;

/// What is looked at.
#[derive(Clone, Copy)]
struct Taken {
    cpu: f64,
    resident: u64,
    maps: u64,
}

impl Taken {
    fn of(pid: u32) -> Result<Self> {
        Ok(Self {
            cpu: process::cpu_seconds(pid)?,
            resident: process::resident_bytes(pid)?,
            maps: map_bytes(pid)?,
        })
    }
}

pub fn run(options: &Options, binary: &PathBuf) -> Result<()> {
    let seconds = options.idle_seconds;
    println!(
        "\n{} ends of connections over loopback on which nothing happens, reported every 10 s, for {seconds} s. Resident memory is without rings.\n\n\
         | what | ends | resident (MiB) | maps (MiB) | growth (bytes an end) | CPU (% of a core) |\n|---|---|---|---|---|---|",
        options.ends
    );
    let agent = Agent::start(binary, options.port, &options.arguments())?;
    watch("agent", agent.pid(), options)?;
    let untracked = agent.untracked()?;
    agent.stop()?;
    let mut command = shell::command(binary);
    command.args(["flows", "--json", "--interval", "10"]);
    if let Some(tap) = &options.tap {
        command.args(["--tap", tap]);
    }
    let mut flows = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    watch("flows --json", flows.pid(), options)?;
    flows.stop("INT")?;
    if let Some(untracked) = untracked {
        println!(
            "\nThe agent's table of connections, whose size is a share of the memory limit, was full {untracked:.0} times (`connections_full`; an end that connects is counted up to twice)."
        );
    }
    Ok(())
}

/// Looks at a process without connections, then with them.
fn watch(name: &str, pid: u32, options: &Options) -> Result<()> {
    let without = look(name, pid, 0, None, options)?;
    let crowd = Crowd::open(Kind::Silent, options.ends / 2)?;
    look(name, pid, options.ends, Some(without), options)?;
    drop(crowd);
    Ok(())
}

fn look(
    name: &str,
    pid: u32,
    ends: u32,
    before: Option<Taken>,
    options: &Options,
) -> Result<Taken> {
    thread::sleep(REST);
    let start = Taken::of(pid)?;
    thread::sleep(Duration::from_secs(options.idle_seconds.into()));
    let end = Taken::of(pid)?;
    let growth = before.map_or_else(
        || "-".to_owned(),
        |before| {
            let all = |taken: Taken| bytes(taken.resident + taken.maps);
            format!("{:.0}", (all(end) - all(before)) / f64::from(ends.max(1)))
        },
    );
    println!(
        "| {name} | {ends} | {:.1} | {:.1} | {growth} | {:.2} |",
        bytes(end.resident) / MEBIBYTE,
        bytes(end.maps) / MEBIBYTE,
        (end.cpu - start.cpu) / f64::from(options.idle_seconds) * 100.0
    );
    Ok(end)
}

/// Bytes that the kernel charges for the BPF maps that a process has open.
fn map_bytes(pid: u32) -> Result<u64> {
    Ok(Objects::of(pid)?.maps.values().sum())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory sizes are far below 2^53 bytes"
)]
fn bytes(size: u64) -> f64 {
    size as f64
}

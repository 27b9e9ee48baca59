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

/// How long the agent is: three report intervals, after which connections on which nothing moves rest.
const AGENT_REST: Duration = Duration::from_secs(30);

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

/// What watches the connections.
struct Watch {
    name: &'static str,
    pid: u32,
    rest: Duration,
}

pub fn run(options: &Options, binary: &PathBuf) -> Result<()> {
    let seconds = options.idle_seconds;
    let opened = match options.ends_per_second {
        0 => "as fast as can be".to_owned(),
        rate => format!("at most {rate} a second"),
    };
    let limit = options.memory_limit.as_deref().unwrap_or("its default");
    println!(
        "\n{} ends of connections over loopback, opened {opened}, on which nothing happens, reported every 10 s, for {seconds} s. The agent's memory limit is {limit}. Resident memory is without rings.\n\n\
         | what | ends | resident (MiB) | maps (MiB) | all (MiB) | growth (bytes an end) | CPU (% of a core) |\n|---|---|---|---|---|---|---|",
        options.ends
    );
    let agent = Agent::start(binary, options.port, &options.arguments())?;
    let of_agent = Watch {
        name: "agent",
        pid: agent.pid(),
        rest: AGENT_REST,
    };
    of_agent.watch(options)?;
    let untracked = agent.untracked()?;
    let rested = agent.rested()?;
    agent.stop()?;
    let mut command = shell::command(binary);
    command.args(["flows", "--json", "--interval", "10"]);
    if let Some(tap) = &options.tap {
        command.args(["--tap", tap]);
    }
    let mut flows = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let of_flows = Watch {
        name: "flows --json",
        pid: flows.pid(),
        rest: REST,
    };
    of_flows.watch(options)?;
    flows.stop("INT")?;
    if let Some(rested) = rested {
        println!("\nIn the agent, ends went to rest {rested:.0} times.");
    }
    if let Some(untracked) = untracked {
        println!(
            "\nThe agent's table of connections, whose size is a share of the memory limit, was full {untracked:.0} times (`connections_full`; an end that connects is counted up to twice)."
        );
    }
    Ok(())
}

impl Watch {
    /// Looks at it without connections, then with them.
    fn watch(&self, options: &Options) -> Result<()> {
        let without = self.look(0, None, options)?;
        let per_second = options.ends_per_second.div_ceil(2);
        let crowd = Crowd::open_at(Kind::Silent, options.ends / 2, per_second)?;
        self.look(options.ends, Some(without), options)?;
        drop(crowd);
        Ok(())
    }

    fn look(&self, ends: u32, before: Option<Taken>, options: &Options) -> Result<Taken> {
        thread::sleep(self.rest);
        let start = Taken::of(self.pid)?;
        thread::sleep(Duration::from_secs(options.idle_seconds.into()));
        let end = Taken::of(self.pid)?;
        let all = |taken: Taken| bytes(taken.resident + taken.maps);
        let growth = before.map_or_else(
            || "-".to_owned(),
            |before| format!("{:.0}", (all(end) - all(before)) / f64::from(ends.max(1))),
        );
        println!(
            "| {} | {ends} | {:.1} | {:.1} | {:.1} | {growth} | {:.2} |",
            self.name,
            bytes(end.resident) / MEBIBYTE,
            bytes(end.maps) / MEBIBYTE,
            all(end) / MEBIBYTE,
            (end.cpu - start.cpu) / f64::from(options.idle_seconds) * 100.0
        );
        Ok(end)
    }
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

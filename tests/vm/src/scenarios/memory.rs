//! The agent's resident memory and its maps, as the kernel counts them, after load with everything on.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{agent::Agent, bpf::Objects, context::Context, nginx::Nginx, wrk::Wrk};

/// The default limit, which the documentation promises for heap and maps together.
const LIMIT: u64 = 64 << 20;

/// Requests natively.
const FULL: u64 = 60_000;

pub fn run(context: &mut Context) -> Result<()> {
    let nginx = Nginx::start(context)?;
    nginx.forget()?;
    let agent = Agent::start(context, &[])?;
    let quota = context.scaled(FULL, 1200);
    let mut wrk = Wrk::start(context, &nginx, 64, Some(quota))?;
    wrk.wait_for(&nginx, quota, Duration::from_secs(60) * context.patience)?;
    // The pages of the rings are the maps', which are counted by themselves.
    let rings = mapped_rings(agent.pid())?;
    ensure!(rings > 0, "the agent has no ring buffer mapped");
    let resident_now =
        || Ok::<_, anyhow::Error>(resident(agent.pid(), "VmRSS")?.saturating_sub(rings));
    let resident = resident_now()?;
    let peak = resident_peak(agent.pid())?.saturating_sub(rings);
    let maps = Objects::of(agent.pid())?.map_bytes();
    let says = agent
        .metrics()?
        .count("fathom_memory_usage_bytes", &[("kind", "maps")]);
    context.fact("resident_mib", mib(resident));
    context.fact("peak_resident_mib", mib(peak));
    context.fact("maps_mib", mib(maps));
    context.fact("ready_ms", agent.ready_after().as_secs_f64() * 1000.0);
    ensure!(maps > 0, "the kernel charges nothing for the agent's maps");
    ensure!(
        peak + maps <= LIMIT,
        "resident {:.1} MiB at most and maps {:.1} MiB are more than {:.0} MiB",
        mib(peak),
        mib(maps),
        mib(LIMIT)
    );
    // What fathom says of its own maps: within a quarter of what the kernel charges, which rounds up to pages.
    ensure!(
        says.abs_diff(maps) <= maps / 4,
        "fathom says its maps take {says} bytes, the kernel charges {maps}"
    );
    // The heap moves: what fathom says lies between what the kernel says before and after, or within a quarter of it.
    let before = resident_now()?;
    let says = agent
        .metrics()?
        .count("fathom_memory_usage_bytes", &[("kind", "resident")]);
    let after = resident_now()?;
    let (least, most) = (before.min(after), before.max(after));
    ensure!(
        (least - least / 4..=most + most / 4).contains(&says),
        "fathom says it has {says} bytes resident, the kernel {before} before and {after} after"
    );
    drop(wrk);
    agent.stop()?;
    Ok(())
}

fn resident_peak(pid: u32) -> Result<u64> {
    resident(pid, "VmHWM")
}

/// Bytes of BPF maps that the process has mapped.
fn mapped_rings(pid: u32) -> Result<u64> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let mut bytes = 0;
    let mut is_map = false;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let kib = size.split_whitespace().next().unwrap_or("0");
            bytes += if is_map {
                kib.parse::<u64>()? * 1024
            } else {
                0
            };
        } else if line
            .split_once('-')
            .is_some_and(|(start, _)| u64::from_str_radix(start, 16).is_ok())
        {
            is_map = line.ends_with("bpf-map");
        }
    }
    Ok(bytes)
}

/// A line of /proc/PID/status, in bytes.
fn resident(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {line} in /proc/{pid}/status"))?;
    Ok(kib * 1024)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory sizes are far below 2^53 bytes"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

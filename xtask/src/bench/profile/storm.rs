//! Memory while processes start in their thousands: each has a space of its own for a moment, and nothing may be kept of it.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fathom_scenarios::pairs::AgentSample;

use super::{super::process, Kind, Options, Watcher};
use crate::shell;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the profiler has for what was there before it, until it is looked at first.
const REST: Duration = Duration::from_secs(3);

pub fn run(options: &Options, binary: &Path) -> Result<()> {
    let program = process::compile("storm")?;
    let watcher = Watcher::start(Kind::Fathom, binary)?;
    thread::sleep(REST);
    let before = watcher.sample()?;
    let begun = Instant::now();
    let mut storm = shell::command(&program);
    storm.args([
        options.starts.to_string(),
        options.storm_seconds.to_string(),
    ]);
    let storm = start(&mut storm)?;
    let mut looks = Vec::new();
    let limit = Duration::from_secs(options.storm_seconds.into());
    while begun.elapsed() < limit {
        thread::sleep(LOOK);
        looks.push(watcher.sample()?);
    }
    let output = storm.wait_with_output()?;
    thread::sleep(REST);
    let after = watcher.sample()?;
    let left = watcher.stop()?;
    ensure!(
        output.status.success(),
        "the storm ended with {}",
        output.status
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = said.split_whitespace().map(str::parse::<f64>);
    let (started, seconds) = numbers
        .next()
        .and_then(Result::ok)
        .zip(numbers.next().and_then(Result::ok))
        .with_context(|| format!("not what storm says of its processes: {said:?}"))?;
    let most = looks.iter().max_by_key(|look| look.resident);
    let half = looks.get(looks.len() / 2);
    println!(
        "{started:.0} processes in {seconds:.1} s ({:.0} a second), each executes a program and ends; `fathom profile` of the whole machine.\n",
        started / seconds
    );
    println!("| | resident (MiB) | maps (MiB) |\n|---|---|---|");
    for (name, sample) in [
        ("before", Some(&before)),
        ("half-way", half),
        ("most", most),
        ("3 s after", Some(&after)),
    ] {
        if let Some(sample) = sample {
            println!("| {name} | {} |", memory(sample));
        }
    }
    let cpu = (after.cpu - before.cpu) / seconds * 100.0;
    println!(
        "\n{cpu:.1} % of a core, {:.1} µs a process; {} samples lost",
        (after.cpu - before.cpu) / started * 1e6,
        left.lost
            .map_or_else(|| "?".to_owned(), |lost| format!("{lost:.0}"))
    );
    Ok(())
}

fn start(command: &mut Command) -> Result<std::process::Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the storm")
}

fn memory(sample: &AgentSample) -> String {
    let kibibytes = u32::try_from(sample.resident >> 10).map_or(f64::INFINITY, f64::from);
    let maps = sample.maps.unwrap_or(0.0) / f64::from(1 << 20);
    format!("{:.1} | {maps:.1}", kibibytes / 1024.0)
}

//! How long it takes until something is seen: to the first sample, and to a flame graph of one second.

use std::{fs, path::Path, process::Stdio, time::Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{process::Running, statistics::Spread},
    Kind, Options, Watcher,
};
use crate::shell;

/// Each is measured so often: what a machine does besides moves single ones.
const TIMES: u32 = 5;

pub fn run(_: &Options, binary: &Path) -> Result<()> {
    let program = super::super::process::compile("spin")?;
    let threads = std::thread::available_parallelism()?.to_string();
    let _load = Running::start(
        shell::command(program)
            .args([&threads, "600"])
            .stdout(Stdio::null()),
    )?;
    println!(
        "Seconds on a machine whose CPUs are all busy, {TIMES} times each: median (least to most).\n"
    );
    println!(
        "| | to the first clock that samples | to a flame graph of one second |\n|---|---|---|"
    );
    for kind in Kind::ALL {
        if let Some(why) = kind.missing() {
            println!("| {} | not measured: {why} | |", kind.name());
            continue;
        }
        let mut ready = Vec::new();
        for _ in 0..TIMES {
            let watcher = Watcher::start(kind, binary)?;
            ready.push(watcher.ready_after().as_secs_f64());
            watcher.stop()?;
        }
        let graphs = (0..TIMES)
            .map(|_| graph(kind, binary))
            .collect::<Result<Option<Vec<_>>>>()?;
        println!(
            "| {} | {} | {} |",
            kind.name(),
            shown(Some(ready)),
            shown(graphs)
        );
    }
    Ok(())
}

/// From the start to the file; perf has none without other programs.
fn graph(kind: Kind, binary: &Path) -> Result<Option<f64>> {
    if kind != Kind::Fathom {
        return Ok(None);
    }
    let file = shell::target().join("bench/graph.svg");
    // It may lie there from before.
    let _ = fs::remove_file(&file);
    let begun = Instant::now();
    let output = shell::command(binary)
        .args(["profile", "-d", "1", "-o"])
        .arg(&file)
        .output()
        .context("cannot start fathom profile")?;
    let took = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    ensure!(
        fs::read_to_string(&file)?.contains("deeper"),
        "the flame graph lacks what the machine does: {said}"
    );
    Ok(Some(took))
}

fn shown(values: Option<Vec<f64>>) -> String {
    Spread::shown(Spread::of(values.unwrap_or_default()), 2)
}

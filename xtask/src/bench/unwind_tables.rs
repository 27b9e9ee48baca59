//! `cargo xtask bench unwind-tables`: what making unwind tables of every ELF file of this machine takes, and what they take.
//!
//! The work is done by the symbolizer's example `unwind_tables`, built as a release: once for all files, and once more for the one with
//! the largest `.eh_frame`, whose process then shows the memory that it takes.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::{elf_files::Selection, shell};

/// How to measure.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Print each file's line of JSON, too
    #[arg(long)]
    each: bool,
}

/// A file's line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    file: String,
    error: Option<String>,
    not_unwindable: Option<String>,
    gone: bool,
    eh_frame: u64,
    debug_frame: u64,
    entries: u64,
    elsewhere: u64,
    overlapping: u64,
    rows: u64,
    kept: u64,
    pages: u64,
    most_in_page: u64,
    bytes: u64,
    new_rules: u64,
    cpu_ns: u64,
    unsupported: BTreeMap<String, u64>,
}

/// The last line.
#[derive(Debug, Deserialize)]
struct Process {
    rules: u64,
    peak_memory: u64,
}

/// Measures, and prints what came out.
pub fn run(options: &Options) -> Result<()> {
    let example = build()?;
    let names = options.selection.find()?;
    ensure!(
        !names.is_empty(),
        "no ELF file below {}",
        options.selection.root.display()
    );
    let (files, process) = convert(&example, &names, options.each)?;
    let largest = files
        .iter()
        .max_by_key(|file| file.eh_frame)
        .context("no files")?;
    // Nothing of the first run counts: neither other files' tables nor what the allocator kept.
    let (_, alone) = convert(&example, &[PathBuf::from(&largest.file)], false)?;
    print(&files, &process);
    println!(
        "largest .eh_frame: {} with {} bytes; peak memory of a process that converts it and keeps its table: {} bytes, {:.2} times as much",
        largest.file,
        largest.eh_frame,
        alone.peak_memory,
        ratio(alone.peak_memory, largest.eh_frame),
    );
    let failed = files.iter().filter(|file| file.error.is_some()).count();
    ensure!(failed == 0, "{failed} files could not be converted");
    Ok(())
}

fn build() -> Result<PathBuf> {
    const EXAMPLE: &str = "unwind_tables";
    shell::run(shell::cargo().args([
        "build",
        "--release",
        "--package",
        "fathom-symbolizer",
        "--example",
        EXAMPLE,
    ]))?;
    Ok(shell::target().join("release/examples").join(EXAMPLE))
}

fn convert(example: &Path, names: &[PathBuf], is_shown: bool) -> Result<(Vec<File>, Process)> {
    let mut child = shell::command(example)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", example.display()))?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let list = names
        .iter()
        .map(|name| format!("{}\n", name.display()))
        .collect::<String>();
    // It answers while it is still asked: both pipes would fill up.
    let writer = std::thread::spawn(move || stdin.write_all(list.as_bytes()));
    let output = child.wait_with_output()?;
    writer
        .join()
        .ok()
        .context("the writer ended badly")?
        .context("the example does not read")?;
    ensure!(output.status.success(), "the example: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    if is_shown {
        print!("{text}");
    }
    let mut lines: Vec<&str> = text.lines().collect();
    let Some(last) = lines.pop() else {
        bail!("the example says nothing");
    };
    let files = lines
        .into_iter()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    Ok((files, serde_json::from_str(last)?))
}

fn print(files: &[File], process: &Process) {
    let sum = |of: fn(&File) -> u64| files.iter().map(of).sum::<u64>();
    let most = |of: fn(&File) -> u64| files.iter().map(of).max().unwrap_or(0);
    let (rows, kept, bytes) = (
        sum(|file| file.rows),
        sum(|file| file.kept),
        sum(|file| file.bytes),
    );
    let seconds = ratio(sum(|file| file.cpu_ns), 1_000_000_000);
    let gone = files.iter().filter(|file| file.gone).count();
    let tabled = files.iter().filter(|file| file.entries > 0).count();
    println!("| what | how much |\n|---|---|");
    let line = |what: &str, value: String| println!("| {what} | {value} |");
    line("ELF files", files.len().to_string());
    line("of them with tables", tabled.to_string());
    line("of them gone meanwhile", gone.to_string());
    line(".eh_frame (bytes)", sum(|file| file.eh_frame).to_string());
    line(
        ".debug_frame (bytes)",
        sum(|file| file.debug_frame).to_string(),
    );
    line("entries", sum(|file| file.entries).to_string());
    line("entries elsewhere", sum(|file| file.elsewhere).to_string());
    line(
        "entries overlapping",
        sum(|file| file.overlapping).to_string(),
    );
    line("rows in the tables", rows.to_string());
    line("rows kept", kept.to_string());
    line("pages", sum(|file| file.pages).to_string());
    line(
        "most rows in a page",
        most(|file| file.most_in_page).to_string(),
    );
    line("bytes a row kept", format!("{:.3}", ratio(bytes, kept)));
    line("rules", process.rules.to_string());
    line(
        "most new rules of a file",
        most(|file| file.new_rules).to_string(),
    );
    line("time on one core (s)", format!("{seconds:.2}"));
    line(
        "million rows/s",
        format!("{:.2}", ratio(rows, 1_000_000) / seconds),
    );
    let mut unsupported = BTreeMap::<&str, u64>::new();
    let mut others = BTreeMap::<&str, u64>::new();
    for file in files {
        for (kind, count) in &file.unsupported {
            *unsupported.entry(kind).or_default() += count;
        }
        if let Some(what) = &file.not_unwindable {
            *others.entry(what).or_default() += 1;
        }
    }
    for (kind, count) in unsupported {
        line(&format!("not expressed: {kind}"), count.to_string());
    }
    for (what, count) in others {
        line(&format!("not for unwinding: {what}"), count.to_string());
    }
    for error in files.iter().filter_map(|file| file.error.as_deref()) {
        line("ERROR", error.to_owned());
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes and times are far below 2^53"
)]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

//! `cargo xtask test`: everything that CI runs, step by step, with one closing line.

mod steps;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use steps::{STEPS, Step};
use tally::Tally;

/// Which steps to run.
#[derive(Args)]
pub struct Options {
    /// Run this step only (repeat for more)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave this step out (repeat for more)
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// List the steps and run none
    #[arg(long)]
    list: bool,
}

impl Options {
    fn wants(&self, step: &Step) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// What became of a step.
struct Outcome {
    step: &'static Step,
    tally: Tally,
    took: Duration,
    note: String,
}

/// Runs the steps; an error when any failed.
pub fn run(options: &Options) -> Result<()> {
    for name in options.only.iter().chain(&options.skip) {
        ensure!(
            STEPS.iter().any(|step| step.name == name),
            "no step {name}: `cargo xtask test --list` names them"
        );
    }
    if options.list {
        for step in &STEPS {
            println!("{:<14} {}", step.name, step.what);
        }
        return Ok(());
    }
    let mut outcomes = Vec::new();
    for step in STEPS.iter().filter(|step| options.wants(step)) {
        println!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        let mut tally = Tally::default();
        let note = match (step.run)(&mut tally) {
            Ok(()) => {
                // A step without tests of its own to count is one test.
                if tally.is_empty() {
                    tally.passed = 1;
                }
                String::new()
            }
            Err(error) => {
                tally.failed = tally.failed.max(1);
                format!("{error:#}")
            }
        };
        if !note.is_empty() {
            eprintln!("{}: {note}", step.name);
        }
        outcomes.push(Outcome {
            step,
            tally,
            took: start.elapsed(),
            note,
        });
    }
    println!(
        "\n{:<14} {:>8} {:>7} {:>7} {:>8}",
        "step", "passed", "failed", "skipped", "seconds"
    );
    for Outcome {
        step,
        tally,
        took,
        note,
    } in &outcomes
    {
        println!(
            "{:<14} {:>8} {:>7} {:>7} {:>8.1}  {}",
            step.name,
            tally.passed,
            tally.failed,
            tally.skipped,
            took.as_secs_f64(),
            note.lines().next().unwrap_or_default()
        );
    }
    let total = outcomes
        .into_iter()
        .fold(Tally::default(), |sum, outcome| sum + outcome.tally);
    if !total.failures.is_empty() {
        println!("\nWhat failed:");
        for line in &total.failures {
            println!("  {line}");
        }
    }
    println!("\n{total}");
    if total.failed > 0 {
        bail!("{} failed", total.failed);
    }
    ensure!(total.passed > 0, "no step ran");
    Ok(())
}

//! `cargo xtask bench guest`: what a server that does no work pays, through each tap of one kernel, in a guest under QEMU.
//!
//! The set-up is that of a published comparison, so that the ratios can be read beside its own. The guest measures
//! (`scenario price`); the table is made here.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fathom_scenarios::{
    catalog::{TAPS, known_tap},
    pairs::Price,
    plan::{Action, Plan, Record, Step},
};

use super::{
    report::{self, Machine, Report, Row},
    summary::summary,
};
use crate::vm::{Boot, CPUS, Guests, PATIENCE, Profile, lines};

/// How long a pair may take besides its runs: an agent is loaded and ended under emulation.
const PAIR_LIMIT_S: u32 = 90;

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// The line of kernels
    #[arg(long, value_name = "LINE", default_value = "6.12")]
    kernel: String,
    /// Pairs of runs a row
    #[arg(long, default_value_t = 7)]
    pairs: u32,
    /// Seconds a run
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Only this tap and the noise; may be given more than once
    #[arg(long, value_name = "TAP")]
    tap: Vec<String>,
}

/// What one row measures.
#[derive(Debug, PartialEq, Eq)]
struct Measure {
    name: String,
    /// What tells `scenario price` so.
    flags: String,
}

/// Boots the kernel, measures, and writes the report.
pub fn run(options: &Options) -> Result<()> {
    let Options { pairs, seconds, .. } = *options;
    ensure!(
        pairs > 0 && seconds > 0,
        "no pairs or no seconds: nothing to measure"
    );
    let measures = measures(&options.tap)?;
    let guests = Guests::of(
        &lines(std::slice::from_ref(&options.kernel), false)?,
        false,
        Profile::Release,
    )?;
    let plan = Plan {
        steps: measures
            .iter()
            .map(|measure| step(measure, pairs, seconds))
            .collect(),
    };
    eprintln!("measures {} rows in a guest", measures.len());
    let (kernel, boot) = guests
        .boot(&plan, "price")?
        .pop()
        .context("no guest was booted")?;
    let (rows, failed) = rows(&measures, &boot);
    Report {
        name: format!("guest-{}", kernel.line),
        machine: Machine::here()?,
        setup: format!(
            "In a guest of {CPUS} CPUs under QEMU ({}), kernel {}: a C server that does no work, asked by a C client on 4 \
             keep-alive connections, both of one thread.",
            guests.accelerator(),
            kernel.release
        ),
        pairs,
        seconds,
        rows,
        notes: Vec::new(),
    }
    .write()?;
    if let Some(crash) = &boot.crash {
        eprintln!("{crash}");
    }
    if !failed.is_empty() {
        bail!("could not be measured: {}", failed.join("; "));
    }
    Ok(())
}

/// The rows of these taps, of all and of everything where none is named.
fn measures(taps: &[String]) -> Result<Vec<Measure>> {
    let noise = Measure {
        name: report::NOISE.to_owned(),
        flags: "--noise".to_owned(),
    };
    let tap = |tap: &str| Measure {
        name: format!("net, {tap}"),
        flags: format!("--tap {tap}"),
    };
    let mut measures = vec![noise];
    if taps.is_empty() {
        measures.extend(TAPS.map(tap));
        measures.push(Measure {
            name: "everything".to_owned(),
            flags: String::new(),
        });
    }
    for name in taps {
        measures.push(tap(known_tap(name)?));
    }
    Ok(measures)
}

fn step(measure: &Measure, pairs: u32, seconds: u32) -> Step {
    let flags = &measure.flags;
    Step {
        action: Action::Shell(format!(
            "scenario price --pairs {pairs} --seconds {seconds} --fathom /bin/fathom --programs /bin \
             --patience {PATIENCE} {flags}"
        )),
        limit_s: u64::from(pairs) * u64::from(2 * seconds + PAIR_LIMIT_S),
    }
}

/// A row for each measure, and which of them failed. What the kernel lacks is no failure.
fn rows(measures: &[Measure], boot: &Boot) -> (Vec<Row>, Vec<String>) {
    let mut said = boot.records.iter().filter_map(|record| match record {
        Record::Shell { status, output } => Some((*status, output.as_str())),
        _ => None,
    });
    let mut failed = Vec::new();
    let rows = measures
        .iter()
        .map(|measure| {
            let price = match said.next() {
                Some((status, output)) => price(status, output),
                None => Err("the guest ended before".to_owned()),
            };
            match price {
                Ok(Price::Measured(pairs)) => summary(&measure.name, &pairs),
                Ok(Price::NotHere(why)) => Row::refused(&measure.name, &why),
                Err(why) => {
                    failed.push(format!("{} ({why})", measure.name));
                    Row::refused(&measure.name, &why)
                }
            }
        })
        .collect();
    (rows, failed)
}

/// Reads the last line of `scenario price`; what it says instead of one is the error.
fn price(status: Option<i32>, output: &str) -> Result<Price, String> {
    let last = output.trim().lines().last().unwrap_or("it said nothing");
    match status {
        Some(0) => {
            serde_json::from_str(last).map_err(|error| format!("unexpected: {last}: {error}"))
        }
        Some(_) => Err(last.to_owned()),
        None => Err("it took too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fathom_scenarios::{
        pairs::{Pair, Price, Sample},
        plan::Record,
    };

    use super::{Boot, measures, price, rows, step};

    #[test]
    fn all_taps_are_measured_between_the_noise_and_everything() {
        let all = measures(&[]).expect("measures");
        let names: Vec<&str> = all.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "nothing (noise)",
                "net, fentry",
                "net, raw-tracepoint",
                "net, kprobe",
                "net, syscall",
                "everything"
            ]
        );
        let one = measures(&["kprobe".to_owned()]).expect("measures");
        assert_eq!(one.len(), 2);
        assert_eq!(one[1].flags, "--tap kprobe");
        assert!(measures(&["uprobe".to_owned()]).is_err());
    }

    #[test]
    fn a_step_has_time_for_its_runs() {
        let all = measures(&[]).expect("measures");
        assert!(step(&all[0], 7, 4).limit_s > 2 * 7 * 4);
    }

    #[test]
    fn a_guests_words_become_rows() {
        let sample = Sample {
            requests: 100.0,
            per_second: 25.0,
            application_cpu: 0.1,
            agent: None,
        };
        let measured = Price::Measured(vec![Pair {
            on: sample.clone(),
            off: sample,
        }]);
        let shell = |status, output: String| Record::Shell { status, output };
        let json =
            |price: &Price| format!("noise\n{}\n", serde_json::to_string(price).expect("JSON"));
        let boot = Boot {
            records: vec![
                Record::Booted { uptime_s: 1.0 },
                shell(Some(0), json(&measured)),
                shell(Some(0), json(&Price::NotHere("no kprobes".to_owned()))),
                shell(Some(1), "error: not ready\n".to_owned()),
            ],
            crash: None,
            took: Duration::ZERO,
        };
        let taps = ["kprobe", "syscall", "fentry"].map(str::to_owned);
        let (rows, failed) = rows(&measures(&taps).expect("measures"), &boot);
        let reasons: Vec<Option<&str>> = rows.iter().map(|row| row.refused.as_deref()).collect();
        assert_eq!(
            reasons,
            [
                None,
                Some("no kprobes"),
                Some("error: not ready"),
                Some("the guest ended before")
            ]
        );
        assert_eq!(
            failed,
            [
                "net, syscall (error: not ready)",
                "net, fentry (the guest ended before)"
            ]
        );
    }

    #[test]
    fn a_killed_step_and_an_unreadable_line_are_errors() {
        assert_eq!(price(None, "{}"), Err("it took too long".to_owned()));
        assert!(price(Some(0), "").is_err());
    }
}

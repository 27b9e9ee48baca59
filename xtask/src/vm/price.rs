//! `cargo xtask bench guest`: what a server that does no work pays, in a guest.

use anyhow::{Result, bail};
use clap::Args;
use fathom_scenarios::{
    catalog::TAPS,
    plan::{Action, Plan, Record, Step},
};

use super::{Guests, Profile, lines};

/// How long one row may take.
const ROW_LIMIT_S: u64 = 900;

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
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Only this tap; may be given more than once
    #[arg(long, value_name = "TAP")]
    tap: Vec<String>,
}

/// Boots the kernel and prints a row for each tap, and one with everything on.
pub fn run(options: &Options) -> Result<()> {
    let guests = Guests::of(
        &lines(std::slice::from_ref(&options.kernel), false)?,
        false,
        Profile::Release,
    )?;
    let all = TAPS.iter().map(|tap| Some((*tap).to_owned())).chain([None]);
    let rows: Vec<Option<String>> = if options.tap.is_empty() {
        all.collect()
    } else {
        options.tap.iter().cloned().map(Some).collect()
    };
    let step = |tap: &Option<String>| {
        let tap = tap
            .as_ref()
            .map_or(String::new(), |tap| format!(" --tap {tap}"));
        let Options { pairs, seconds, .. } = options;
        Step {
            action: Action::Shell(format!(
                "scenario price --pairs {pairs} --seconds {seconds} --fathom /bin/fathom --programs /bin --patience 8{tap}"
            )),
            limit_s: ROW_LIMIT_S,
        }
    };
    let plan = Plan {
        steps: rows.iter().map(step).collect(),
    };
    let mut measured = 0;
    for (kernel, boot) in guests.boot(&plan, "price")? {
        println!(
            "{} under QEMU ({}), 2 CPUs:",
            kernel.release,
            guests.qemu.accelerator().name()
        );
        for record in &boot.records {
            if let Record::Shell { status, output } = record {
                print!("{output}");
                measured += usize::from(*status == Some(0));
            }
        }
        if let Some(crash) = &boot.crash {
            println!("{crash}");
        }
    }
    if measured < rows.len() {
        bail!(
            "{} of {} rows could not be measured",
            rows.len() - measured,
            rows.len()
        );
    }
    Ok(())
}

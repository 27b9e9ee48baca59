//! `scenario`: runs one scenario on the machine that it is started on, or carries out a plan as a guest's only task.

mod guest;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// What fathom must do, checked against a truth that fathom did not write.
#[derive(Parser)]
#[command(name = "scenario")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry out a plan as the first process of a guest, then halt it
    Guest {
        /// The plan
        #[arg(long)]
        plan: PathBuf,
        /// Where the records go
        #[arg(long)]
        records: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Guest { plan, records } => guest::run(&plan, &records),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The command line: one file a subcommand, each with its clap `Args` and a `run` that returns an [`Outcome`].

pub mod agent;
pub mod doctor;
pub mod flows;
pub mod gpu;
mod live;
pub mod profile;
pub mod requests;
mod sampling;
mod screen;
pub mod symbolize;
mod table;
mod text;
mod usage;

use std::{fmt, io::IsTerminal as _, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// See every connection, request, GPU and CPU stack of this node, with no change to the programs it watches.
#[derive(Debug, Parser)]
#[command(name = "fathom", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter such as `fathom::export=debug`
    #[arg(
        long,
        global = true,
        env = "FATHOM_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this node until told to stop; serve /metrics and export over OTLP
    Agent(agent::Args),
    /// List this node's GPUs
    Gpu(gpu::Args),
    /// Show each HTTP request of this node
    Requests(requests::Args),
    /// Show each TCP connection of this node: a table on a terminal, else lines
    #[command(after_help = flows::EXAMPLES)]
    Flows(flows::Args),
    /// Say what works on this kernel, what does not, why, and what to do
    Doctor(doctor::Args),
    /// Sample what the CPUs run, and write a flame graph, folded stacks or a pprof file
    Profile(profile::Args),
    /// Say what is at addresses of a file or a process: functions, files and lines
    #[command(after_help = symbolize::FORM)]
    Symbolize(symbolize::Args),
}

/// What a subcommand comes to.
pub type Outcome = Result<(), Failure>;

/// Why a subcommand ended without doing its job; the exit code says which kind.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1: this machine, or its state, does not let it work.
    Cannot(anyhow::Error),
    /// Exit code 2: a flag, a variable or a configuration file is wrong.
    Usage(anyhow::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Cannot(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Cannot(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cannot(error) | Self::Usage(error) => write!(f, "{error:#}"),
        }
    }
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(failure) = start_log(&cli.log) {
        return report(&failure);
    }
    let outcome = match &cli.command {
        Command::Agent(args) => agent::run(args),
        Command::Gpu(args) => gpu::run(args),
        Command::Requests(args) => requests::run(args),
        Command::Flows(args) => flows::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Symbolize(args) => symbolize::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("fathom: {failure}");
    ExitCode::from(failure.code())
}

fn start_log(filter: &str) -> Outcome {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::Usage(anyhow::anyhow!(
            "--log {filter}: {error}; accepted is a level (error, warn, info, debug, trace) or a list of target=level"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// What clap can say of the flags only when it runs.
    #[test]
    fn the_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}

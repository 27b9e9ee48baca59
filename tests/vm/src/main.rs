//! `scenario`: what fathom must do, checked against a truth that fathom did not write.
//!
//! The same scenarios run natively, where they are the acceptance test of a machine, and in the guests of the kernel matrix.

mod agent;
mod chains;
mod context;
mod echo;
mod guest;
mod kernel;
mod metrics;
mod namespace;
mod nginx;
mod price;
mod receiver;
mod relay;
mod scenarios;
mod subjects;
mod wrk;

use std::{
    env,
    path::PathBuf,
    process::{Command as Process, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use fathom_scenarios::{
    bpf,
    catalog::{ALL, Entry},
    pairs::Price,
    path,
    report::Outcome,
};

use self::{
    price::Watcher,
    scenarios::{Options, dns, flows::Program, udp},
};

/// Run scenarios; without a command all of them, on this machine.
#[derive(Parser)]
#[command(name = "scenario")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the scenarios
    List,
    /// Run all scenarios, each with every tap that it depends on
    All {
        #[command(flatten)]
        flags: Flags,
    },
    /// Run one scenario; the last line is its report as JSON
    Run {
        /// Its name
        name: String,
        /// The tap that the agent is told to use
        #[arg(long)]
        tap: Option<String>,
        /// Write what it found into docs/ as well, where the scenario makes a part of it: docs/seen.md
        #[arg(long)]
        write_docs: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Measure what a server that does no work pays; the last line is what was measured, as JSON
    Price {
        /// The tap that the agent is told to use; without it everything is on
        #[arg(long, conflicts_with = "noise")]
        tap: Option<String>,
        /// Start no agent: compare off with off
        #[arg(long)]
        noise: bool,
        /// Pairs of runs
        #[arg(long, default_value_t = 7)]
        pairs: u32,
        /// Seconds a run
        #[arg(long, default_value_t = 4)]
        seconds: u32,
        #[command(flatten)]
        flags: Flags,
    },
    /// Compile the test programs into a folder
    Compile {
        /// The folder
        into: PathBuf,
    },
    /// A program of the scenario `flows`
    #[command(hide = true)]
    Flow {
        #[command(subcommand)]
        program: Program,
    },
    /// The server and the clients of the scenario `dns`
    #[command(hide = true)]
    DnsPeers {
        /// Where it notes what was asked
        notes: PathBuf,
        /// How often each client asks
        rounds: u64,
    },
    /// One end of the scenario `udp`
    #[command(hide = true)]
    UdpServer {
        /// Where it notes what it moved
        notes: PathBuf,
        /// Its ports
        #[arg(num_args = 3)]
        ports: Vec<u16>,
    },
    /// The other end
    #[command(hide = true)]
    UdpClient {
        /// Where it notes what it moved
        notes: PathBuf,
        /// How many datagrams it sends on each socket
        rounds: u64,
        /// The server's ports
        #[arg(num_args = 3)]
        ports: Vec<u16>,
    },
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

#[derive(clap::Args)]
struct Flags {
    /// The binary under test; by default the release build beside this program's own
    #[arg(long)]
    fathom: Option<PathBuf>,
    /// The share of the full amount of work
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How many times longer than natively things may take
    #[arg(long, default_value_t = 1)]
    patience: u32,
    /// Where the test programs are compiled, or lie
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::All {
        flags: Flags {
            fathom: None,
            scale: 1.0,
            patience: 1,
            programs: None,
        },
    });
    let outcome = match command {
        Command::List => {
            for scenario in &ALL {
                println!("{:<16} {}", scenario.name, scenario.shows);
            }
            Ok(true)
        }
        Command::All { flags } => all(flags),
        Command::Run {
            name,
            tap,
            write_docs,
            flags,
        } => one(&name, tap.as_deref(), write_docs, flags),
        Command::Flow { program } => program.run().map(|()| true),
        Command::UdpServer { notes, ports } => three(ports)
            .and_then(|ports| udp::peers::server(&notes, ports))
            .map(|()| true),
        Command::UdpClient {
            notes,
            rounds,
            ports,
        } => three(ports)
            .and_then(|ports| udp::peers::client(&notes, rounds, ports))
            .map(|()| true),
        Command::DnsPeers { notes, rounds } => dns::peers::run(&notes, rounds).map(|()| true),
        Command::Price {
            tap,
            noise,
            pairs,
            seconds,
            flags,
        } => {
            let watcher = if noise {
                Watcher::Nothing
            } else {
                Watcher::Agent
            };
            price(watcher, tap, pairs, seconds, flags).map(|()| true)
        }
        Command::Compile { into } => compile(&into).map(|_| true),
        Command::Guest { plan, records } => guest::run(&plan, &records).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn three(ports: Vec<u16>) -> Result<[u16; 3]> {
    <[u16; 3]>::try_from(ports).map_err(|_| anyhow::anyhow!("not three ports"))
}

/// Runs one scenario and prints its report.
fn one(name: &str, tap: Option<&str>, write_docs: bool, flags: Flags) -> Result<bool> {
    let scenario = find(name)?;
    let options = Options {
        write_docs,
        ..options(flags)?
    };
    let report = scenarios::run(scenario, tap, &options);
    println!("{}", serde_json::to_string(&report)?);
    Ok(!matches!(report.outcome, Outcome::Failed(_)))
}

/// Measures what the watcher costs and prints it.
fn price(
    watcher: Watcher,
    tap: Option<String>,
    pairs: u32,
    seconds: u32,
    flags: Flags,
) -> Result<()> {
    if pairs == 0 || seconds == 0 {
        bail!("no pairs or no seconds: nothing to measure");
    }
    let price = if let Some(why) = tap.as_deref().and_then(kernel::lacks) {
        Price::NotHere(why.to_owned())
    } else {
        let options = options(flags)?;
        let context = context::Context::new(
            options.fathom,
            tap,
            options.scale,
            options.patience,
            options.programs,
        )?;
        Price::Measured(price::run(&context, watcher, pairs, seconds)?)
    };
    println!("{}", serde_json::to_string(&price)?);
    Ok(())
}

/// Runs all scenarios here, one after another, and ends with a line of counts.
fn all(flags: Flags) -> Result<bool> {
    let options = options(flags)?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in &ALL {
        for tap in scenario.taps() {
            let report = scenarios::run(scenario, tap, &options);
            let facts = serde_json::to_string(&report.facts)?;
            let (word, why) = match &report.outcome {
                Outcome::Passed => ("passed", facts.as_str()),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::NotHere(why) => ("not here", why.as_str()),
            };
            println!(
                "{:<16} {:<16} {:<9} {:>6.1} s  {why}",
                scenario.name,
                tap.unwrap_or("auto"),
                word,
                report.seconds
            );
            match report.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed(_) => failed += 1,
                Outcome::NotHere(_) => skipped += 1,
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

fn find(name: &str) -> Result<&'static Entry> {
    ALL.iter()
        .find(|scenario| scenario.name == name)
        .with_context(|| {
            let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
            format!("no scenario {name}; there are {}", names.join(", "))
        })
}

fn options(flags: Flags) -> Result<Options> {
    let own = env::current_exe().context("this program's own path")?;
    // target/<profile>/scenario
    let target = own
        .ancestors()
        .nth(2)
        .context("no folder above this program")?;
    let fathom = flags
        .fathom
        .unwrap_or_else(|| target.join("release/fathom"));
    if !fathom.is_file() {
        bail!("no {}: `cargo xtask build` makes it", fathom.display());
    }
    let programs = match flags.programs {
        Some(dir) => dir,
        None => compile(&target.join("programs"))?,
    };
    Ok(Options {
        fathom: fathom.canonicalize()?,
        scale: flags.scale,
        patience: flags.patience,
        programs,
        write_docs: false,
    })
}

/// Compiles the test programs into `dir`.
fn compile(dir: &std::path::Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    for entry in std::fs::read_dir(&sources).with_context(|| format!("{}", sources.display()))? {
        let source = entry?.path();
        if source.extension().is_none_or(|kind| kind != "c") {
            continue;
        }
        let name = source.file_stem().context("a program without a name")?;
        let status = Process::new("cc")
            .args(["-O1", "-g", "-fno-omit-frame-pointer", "-Wall", "-o"])
            .arg(dir.join(name))
            .arg(&source)
            .args(["-lm", "-lpthread"])
            .status()
            .context("cannot start cc")?;
        if !status.success() {
            bail!("{} does not compile", source.display());
        }
    }
    chains::compile(dir)?;
    subjects::compile(dir)?;
    Ok(dir.to_path_buf())
}

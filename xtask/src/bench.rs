//! `cargo xtask bench`: what fathom costs.

mod agent;
mod bpftrace;
mod flows;
mod guest;
mod idle;
mod l7;
mod overhead;
mod process;
mod profile;
mod report;
mod server;
mod statistics;
mod summary;
mod symbolizer;
mod unwind_tables;
mod wrk;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Subcommand, ValueEnum};

use crate::{build, setup, shell};

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// What the watched application pays: nginx under wrk, in pairs of runs with the agent on and off
    Overhead(overhead::Options),
    /// What decoding costs, by protocol, plain and over TLS, and what those pay who don't speak any of them
    L7(l7::Options),
    /// What connections that stay open and do nothing cost the agent in memory
    Idle(idle::Options),
    /// What connections cost that come and go, and many that are open and idle
    Flows(flows::Options),
    /// What a profile of the whole machine costs, beside perf's
    Profile(profile::Options),
    /// What a server that does no work pays in a guest under QEMU, through each tap of a kernel
    Guest(guest::Options),
    /// What making unwind tables of every ELF file of this machine takes, and what they take
    UnwindTables(unwind_tables::Options),
    /// What answers cost, beside blazesym, addr2line, llvm-symbolizer and eu-addr2line
    Symbolizer(symbolizer::Options),
}

/// Measures it.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(options) => overhead::run(options),
        Bench::L7(options) => l7::run(options),
        Bench::Idle(options) => idle::run(options),
        Bench::Flows(options) => flows::run(options),
        Bench::Profile(options) => profile::run(options),
        Bench::Guest(options) => guest::run(options),
        Bench::UnwindTables(options) => unwind_tables::run(options),
        Bench::Symbolizer(options) => symbolizer::run(options),
    }
}

fn ensure_root() -> Result<()> {
    ensure!(
        shell::is_root(),
        "measuring loads kernel programs: start it as root"
    );
    Ok(())
}

/// The parts of a benchmark that were asked for, in the order in which they are declared; all where none was.
fn chosen<Part: ValueEnum + PartialEq>(asked: &[Part]) -> impl Iterator<Item = &Part> {
    let all = Part::value_variants().iter();
    all.filter(|part| asked.is_empty() || asked.contains(part))
}

/// The binary to measure: the one that was given, else one that is built now.
fn under_test(binary: Option<&Path>) -> Result<PathBuf> {
    match binary {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| format!("no binary at {}", binary.display())),
        None => {
            setup::run(setup::Purpose::Test)?;
            build::release()
        }
    }
}

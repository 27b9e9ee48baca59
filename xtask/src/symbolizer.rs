//! `cargo xtask symbolizer`: fathom's symbolizer beside others, on real files.

pub mod addresses;
mod answer;
mod compare;
pub mod packages;
mod plt;
mod report;
pub mod subjects;
mod sweep;
pub mod tool;
pub mod truth;

use anyhow::Result;
use clap::Subcommand;

/// What to look at.
#[derive(Subcommand)]
pub enum Look {
    /// Whether `fathom symbolize` answers as llvm-symbolizer does, on random addresses of many kinds of files
    Truth(truth::Options),
    /// Whether `fathom symbolize` answers on every ELF file of this machine, with bounded time and memory
    Sweep(sweep::Options),
}

/// Looks, and fails where something is not as it should be.
pub fn run(look: &Look) -> Result<()> {
    match look {
        Look::Truth(options) => truth::run(options).map(drop),
        Look::Sweep(options) => sweep::run(options),
    }
}

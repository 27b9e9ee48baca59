//! `cargo xtask bench symbolizer`: fathom's symbolizer and four others on the same addresses of the same files, in one run.
//!
//! Each run is a process of its own that reads addresses and prints functions, inlined ones too, with demangled names, files, lines and
//! columns; runs of different symbolizers take turns, and files lie in the page cache before the first. What is compared is the time
//! that a process has on a core, for others may use this machine, too. What libraries do without printing is measured within their processes.

mod contender;
mod library;
mod load;
mod table;

use std::{fs::File, io, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{contender::Contender, load::Loads, table::Table};
use super::report::Machine;
use crate::{
    shell,
    symbolizer::{
        packages::Packages,
        subjects::{self, Subject},
    },
};

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// How often each symbolizer does each thing; medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only files whose names contain this; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only symbolizers whose names contain this, and fathom; may be given more than once
    #[arg(long, value_name = "NAME")]
    beside: Vec<String>,
}

/// Measures, and prints a table for each file.
pub fn run(options: &Options) -> Result<()> {
    let packages = Packages::new();
    let contenders: Vec<Contender> = contender::all(&packages)?
        .into_iter()
        .filter(|one| {
            one.is_fathom()
                || options.beside.is_empty()
                || options
                    .beside
                    .iter()
                    .any(|part| one.name.contains(part.as_str()))
        })
        .collect();
    let machine = Machine::here()?;
    println!(
        "{}, {} cores, {} GiB, kernel {}, {}. Each symbolizer in a fresh process, in turn, {} rounds, medians; page cache warm; time on a core.",
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.system,
        options.rounds
    );
    for subject in files(&packages, &options.only)? {
        warm(&subject)?;
        let loads = Loads::make(&subject)?;
        let mut table = Table::new(&subject)?;
        for _ in 0..options.rounds {
            for contender in &contenders {
                for load in loads.of(contender) {
                    table.add(contender, load, contender.run(&subject.file, load));
                }
            }
        }
        table.print();
        library::measure(&subject, &loads, &contenders, options.rounds)?;
    }
    Ok(())
}

/// A Rust program with full debug information, its symbols alone, a library of 200 MB with symbols, and the kernel.
fn files(packages: &Packages, only: &[String]) -> Result<Vec<Subject>> {
    let wanted =
        |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let mut files = Vec::new();
    if wanted("ripgrep") {
        files.push(subjects::rust::ripgrep()?);
    }
    if wanted("symbols") {
        files.push(subjects::rust::ripgrep_symbols()?);
    }
    if wanted("libLLVM-rust") {
        files.extend(subjects::rust::build(&|name| name == "libLLVM-rust")?);
    }
    if wanted("vmlinux") {
        files.push(subjects::packaged::kernel(packages)?);
    }
    Ok(files)
}

/// Reads the file once.
fn warm(subject: &Subject) -> Result<()> {
    let mut file = File::open(&subject.file).with_context(|| subject.file.display().to_string())?;
    io::copy(&mut file, &mut io::sink())?;
    Ok(())
}

/// Where addresses are written.
fn folder() -> Result<PathBuf> {
    let folder = shell::target().join("bench/symbolizer");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

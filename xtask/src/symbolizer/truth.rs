//! `cargo xtask symbolizer truth`: `fathom symbolize` beside llvm-symbolizer, on the same random addresses of real files.
//!
//! The kinds of differences that it counts are explained in `symbolizer/docs/differences.md`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use object::{Object as _, ReadCache};

use super::{
    addresses::{self, Random},
    compare::{Comparison, Symbols},
    plt,
    report::Report,
    subjects::{self, Set, Subject},
    tool::{Names, Tool},
};
use crate::build;

/// What to compare.
#[derive(Args)]
pub struct Options {
    /// Which files
    #[arg(long, value_enum, default_value_t = Set::All)]
    set: Set,
    /// Only files whose names contain this; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How many addresses of each file
    #[arg(long, default_value_t = 20_000)]
    addresses: usize,
    /// What the random addresses follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The fathom to ask; one is built when none is given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl Options {
    /// What every test run compares: the files that are made quickly, with enough addresses that a thousandth is ten of them.
    pub fn bounded() -> Self {
        Self {
            set: Set::Small,
            only: Vec::new(),
            addresses: 10_000,
            seed: 1,
            binary: None,
        }
    }
}

/// Compares, prints what came out, and fails where too much differs. Gives back on how many files both agreed.
pub fn run(options: &Options) -> Result<u64> {
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize()?,
        None => build::release()?,
    };
    let (fathom, llvm) = (Tool::fathom(binary), Tool::llvm()?);
    let subjects = subjects::find(options.set, &options.only)?;
    ensure!(!subjects.is_empty(), "no file is called so");
    let mut report = Report::new(&llvm.name, options.addresses, options.seed);
    for subject in &subjects {
        let outcome = compare(options, subject, &fathom, &llvm);
        report.add(subject, outcome);
    }
    report.finish()
}

fn compare(options: &Options, subject: &Subject, fathom: &Tool, llvm: &Tool) -> Result<Comparison> {
    let code = addresses::executable(&subject.file)?;
    let stubs = plt::stubs(&subject.file, &code)?;
    let addresses = addresses::pick(
        &code,
        &mut Random::of(&subject.name, options.seed),
        options.addresses,
    );
    let debug_files = subject.debug_files.as_deref();
    let ours = |names| fathom.answers(&subject.file, debug_files, names, &addresses);
    let theirs = |names| llvm.answers(&subject.truth, debug_files, names, &addresses);
    let is_stub = |address| {
        code.iter()
            .any(|section| section.is_plt && section.contains(address))
    };
    let mut comparison = Comparison::default();
    let linkage = ours(Names::Linkage)?;
    let symbols = symbols(subject)?;
    for ((&address, ours), theirs) in addresses.iter().zip(&linkage).zip(&theirs(Names::Linkage)?) {
        if is_stub(address) {
            comparison.add_stub(address, ours, stubs.name(address));
        } else {
            comparison.add(address, ours, theirs, &symbols);
        }
    }
    let (ours, theirs) = (ours(Names::Demangled)?, theirs(Names::Demangled)?);
    for (((&address, ours), theirs), linkage) in
        addresses.iter().zip(&ours).zip(&theirs).zip(&linkage)
    {
        if !is_stub(address) {
            comparison.add_printed(address, ours, theirs, linkage);
        }
    }
    Ok(comparison)
}

/// The symbols of a file and of its separate debug file.
fn symbols(subject: &Subject) -> Result<Symbols> {
    let debug_file = match &subject.debug_files {
        Some(folder) => by_build_id(folder, &subject.file)?,
        None => None,
    };
    let files: Vec<&Path> = [subject.file.as_path(), &subject.truth]
        .into_iter()
        .chain(debug_file.as_deref())
        .collect();
    Symbols::read(&files)
}

fn by_build_id(folder: &Path, file: &Path) -> Result<Option<PathBuf>> {
    let cache = ReadCache::new(std::fs::File::open(file)?);
    let object = object::File::parse(&cache)?;
    let Some([first, rest @ ..]) = object.build_id()? else {
        return Ok(None);
    };
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!(".build-id/{first:02x}/{rest}.debug"));
    Ok(path.is_file().then_some(path))
}

//! The files that symbolizers are asked about.

mod cxx;
mod go;
pub mod packaged;
pub mod rust;
mod stripped;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::packages::Packages;
use crate::shell;

/// A file, and where the truth about it lies.
#[derive(Debug, Clone)]
pub struct Subject {
    /// A short name of its own.
    pub name: String,
    /// What is of interest about it.
    pub kind: String,
    /// What fathom is asked about.
    pub file: PathBuf,
    /// What the other is asked about: the same file, or one with the same code that was not stripped.
    pub truth: PathBuf,
    /// Where separate debug files lie.
    pub debug_files: Option<PathBuf>,
}

impl Subject {
    fn of(name: impl Into<String>, kind: impl Into<String>, file: PathBuf) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            truth: file.clone(),
            file,
            debug_files: None,
        }
    }
}

/// How many of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Set {
    /// Those that are made here by compilers, or come in small packages: a few minutes at most
    Small,
    /// All, with the kernel and the largest libraries: some GB of packages the first time
    All,
}

/// The files of `set` whose names contain one of `only`, or all; what is missing is fetched and built.
pub fn find(set: Set, only: &[String]) -> Result<Vec<Subject>> {
    let packages = Packages::new();
    let wanted =
        |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    let mut subjects = packaged::find(&packages, set, &wanted)?;
    subjects.extend(cxx::build(&packages, &wanted)?);
    subjects.extend(stripped::build(&wanted)?);
    subjects.extend(go::build(set, &wanted)?);
    if set == Set::All {
        subjects.extend(rust::build(&wanted)?);
    }
    Ok(subjects)
}

/// The folder of what is built here.
fn built() -> Result<PathBuf> {
    let folder = shell::target().join("symbolizer/built");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A program of this repository that is there to be symbolized.
fn source(name: &str) -> PathBuf {
    shell::root().join("symbolizer/tests/programs").join(name)
}

/// Makes `output` by `command`, unless it was made before from the same inputs by the same command.
fn make(output: &Path, inputs: &[&Path], command: &mut Command) -> Result<()> {
    let mut recipe = format!("{command:?}");
    for input in inputs {
        recipe += &version(input)?;
    }
    let mut stamp = output.as_os_str().to_owned();
    stamp.push(".recipe");
    if output.is_file() && fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    println!("makes {}", output.display());
    shell::run(command)?;
    fs::write(&stamp, recipe).with_context(|| format!("cannot write beside {}", output.display()))
}

/// What tells one version of an input from another: a source's text, for a checkout changes its time; a program's time.
fn version(input: &Path) -> Result<String> {
    let look = || format!("cannot look at {}", input.display());
    if let Ok(text) = fs::read_to_string(input) {
        return Ok(text);
    }
    let modified = fs::metadata(input)
        .and_then(|metadata| metadata.modified())
        .with_context(look)?;
    Ok(format!("\n{} {modified:?}", input.display()))
}

//! `cargo xtask setup`: everything that building and testing needs beyond a stable Rust.
//!
//! Each part looks first, and does nothing when it finds what it wants: a second run costs a fraction of a second.

mod packages;
mod tools;

use anyhow::{Result, bail};

use crate::{
    apt::Release,
    toolchain::{self, Toolchain},
};

/// How much has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Building and running fathom.
    Build,
    /// That, and everything that tests and measurements use.
    Test,
}

pub use tools::deny as cargo_deny_path;

/// Installs what is missing.
pub fn run(purpose: Purpose) -> Result<()> {
    match Release::here() {
        Some(release) => packages::install(&release, purpose)?,
        None => packages::explain(purpose)?,
    }
    tools::bpf_linker()?;
    if purpose == Purpose::Test {
        tools::cargo_deny()?;
        tools::python()?;
    }
    if let (Err(error), _) | (_, Err(error)) = (Toolchain::find(), toolchain::linker()) {
        bail!(error);
    }
    Ok(())
}

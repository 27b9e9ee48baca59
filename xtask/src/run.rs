//! `cargo xtask run`: from a fresh checkout to a running agent.

use anyhow::Result;

use crate::{build, setup, shell};

/// Sets up, builds and starts `fathom agent` in the foreground, as root; `arguments` go to it.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    let binary = build::release()?;
    shell::run(shell::as_root(binary).arg("agent").args(arguments))
}

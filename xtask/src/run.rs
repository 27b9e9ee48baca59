//! `cargo xtask run`: from a fresh checkout to a running agent.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::{build, setup, shell};

/// Sets up, builds and starts `fathom agent` in the foreground, as root; `arguments` go to it.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::run(setup::Purpose::Build)?;
    let binary = build::release()?;
    // Becoming the agent leaves the terminal's signals and the exit code to it.
    let error = shell::as_root(binary).arg("agent").args(arguments).exec();
    Err(error).context("cannot start fathom")
}

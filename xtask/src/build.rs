//! `cargo xtask build`: the kernel objects and the release binary.

use std::path::PathBuf;

use anyhow::Result;

use crate::{build_ebpf, shell};

/// Builds both.
pub fn run() -> Result<()> {
    let binary = release()?;
    println!("built {}", binary.display());
    Ok(())
}

/// Builds both and says where the binary lies.
pub fn release() -> Result<PathBuf> {
    build_ebpf::run()?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "fathom"]))?;
    Ok(shell::target().join("release/fathom"))
}

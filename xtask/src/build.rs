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
    with_profile("release")
}

/// The same as it is shipped: smaller, and several times slower to build.
pub fn shipped() -> Result<PathBuf> {
    with_profile("dist")
}

fn with_profile(profile: &str) -> Result<PathBuf> {
    build_ebpf::run()?;
    shell::run(shell::cargo().args(["build", "--profile", profile, "--package", "fathom"]))?;
    Ok(shell::target().join(profile).join("fathom"))
}

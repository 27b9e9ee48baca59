//! `cargo xtask dist`: the one file to ship.

use std::fs;

use anyhow::{Context, Result};

use crate::{build, shell};

/// Puts the stripped binary, kernel objects inside, into `target/dist` and says what it is and what it needs.
///
/// It links the C library dynamically, and nothing else: NVML is loaded at run time, which a static C library can't do.
pub fn run() -> Result<()> {
    let binary = build::shipped()?;
    let folder = binary.parent().context("a binary in no folder")?;
    let bytes = fs::metadata(&binary)?.len();
    let sum = shell::output(
        shell::command("sha256sum")
            .arg("fathom")
            .current_dir(folder),
    )?;
    fs::write(folder.join("fathom.sha256"), &sum)?;
    println!("{}", binary.display());
    println!(
        "size    {bytes} bytes ({}.{} MiB)",
        bytes >> 20,
        ((bytes & 0xf_ffff) * 10) >> 20
    );
    println!(
        "sha256  {}",
        sum.split_whitespace().next().unwrap_or_default()
    );
    println!("needs");
    print!("{}", shell::output(shell::command("ldd").arg(&binary))?);
    Ok(())
}

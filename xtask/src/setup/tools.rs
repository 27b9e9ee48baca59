//! What cargo and pip install, into a folder of fathom's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{shell, toolchain};

/// The LLVM that `llvm-22-dev` installs; without `LLVM_PREFIX`, bpf-linker's build looks elsewhere.
const LLVM: &str = "/usr/lib/llvm-22";

/// Where cargo installs fathom's tools.
pub fn folder() -> Result<PathBuf> {
    Ok(shell::cache()?.join("tools"))
}

/// The linker of the kernel programs.
pub fn bpf_linker() -> Result<()> {
    if toolchain::linker().is_ok() {
        return Ok(());
    }
    println!(
        "setup: builds bpf-linker, once, into {}",
        folder()?.display()
    );
    let mut cargo = shell::cargo();
    if Path::new(LLVM).is_dir() {
        cargo.env("LLVM_PREFIX", LLVM);
    }
    shell::run(
        cargo
            .args(["install", "--locked", "bpf-linker@0.13.0"])
            .args(["--no-default-features", "--features", "llvm-22", "--root"])
            .arg(folder()?),
    )
}

/// The judge of licences, sources and duplicate versions.
pub fn cargo_deny() -> Result<()> {
    if deny().is_ok_and(|path| path.is_file()) {
        return Ok(());
    }
    println!(
        "setup: builds cargo-deny, once, into {}",
        folder()?.display()
    );
    shell::run(
        shell::cargo()
            .args([
                "install",
                "--locked",
                "cargo-deny@0.20.2",
                "--no-default-features",
                "--root",
            ])
            .arg(folder()?),
    )
}

/// Where setup puts cargo-deny.
pub fn deny() -> Result<PathBuf> {
    Ok(folder()?.join("bin/cargo-deny"))
}

/// A Python environment with what the tests' Python programs import; a test that needs it finds it there.
pub fn python() -> Result<()> {
    let requirements = shell::root().join("tests/python/requirements.txt");
    let Ok(wanted) = fs::read(&requirements) else {
        return Ok(());
    };
    let environment = shell::cache()?.join("venv");
    let stamp = environment.join("fathom-requirements.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!(
        "setup: Python packages of {} into {}",
        requirements.display(),
        environment.display()
    );
    // Debian's own interpreter, for it is the one that python3-venv belongs to.
    let interpreter = Path::new("/usr/bin/python3");
    let interpreter = if interpreter.is_file() {
        interpreter
    } else {
        Path::new("python3")
    };
    shell::run(
        shell::command(interpreter)
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    shell::run(
        shell::command(environment.join("bin/pip"))
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements),
    )?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

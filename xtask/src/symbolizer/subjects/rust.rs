//! Rust: the toolchain's own files, and release builds with debug information.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Subject, built, make};
use crate::shell;

/// Finds and builds those that are wanted.
pub fn build(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let sysroot =
        PathBuf::from(shell::output(shell::command("rustc").args(["--print", "sysroot"]))?.trim());
    for (name, part) in [
        ("librustc_driver", "librustc_driver-"),
        ("libLLVM-rust", "libLLVM"),
        ("libstd-rust", "libstd-"),
    ] {
        if wanted(name)
            && let Some(file) = starts_with(&sysroot.join("lib"), part)?
        {
            subjects.push(Subject::of(name, "of the Rust toolchain", file));
        }
    }
    let cargo = sysroot.join("bin/cargo");
    if wanted("cargo") && cargo.is_file() {
        subjects.push(Subject::of("cargo", "of the Rust toolchain", cargo));
    }
    if wanted("ripgrep") {
        subjects.push(ripgrep()?);
    }
    for (name, kind, flags) in [
        (
            "rust-v0",
            "Rust, DWARF 5, v0 names",
            "-Cdwarf-version=5 -Csymbol-mangling-version=v0",
        ),
        ("rust-packed", "Rust, .dwp", "-Csplit-debuginfo=packed"),
    ] {
        if wanted(name) {
            subjects.push(Subject::of(name, kind, example(name, flags)?));
        }
    }
    Ok(subjects)
}

fn starts_with(folder: &Path, part: &str) -> Result<Option<PathBuf>> {
    let files =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<PathBuf> = files.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    let is_it = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with(part)
            && name.contains(".so")
            && fs::metadata(path).is_ok_and(|metadata| metadata.len() > 1 << 16)
    };
    Ok(names.into_iter().find(is_it))
}

/// ripgrep, built as a release with full debug information: 59 MB.
pub fn ripgrep() -> Result<Subject> {
    let folder = built()?.join("ripgrep");
    let file = folder.join("bin/rg");
    if !file.is_file() {
        shell::run(
            shell::cargo()
                .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
                .env("CARGO_PROFILE_RELEASE_STRIP", "none")
                .args(["install", "--locked", "ripgrep@14.1.1", "--root"])
                .arg(&folder),
        )?;
    }
    Ok(Subject::of("ripgrep", "Rust, release with debug=2", file))
}

/// The same program with its symbols and no debug information.
pub fn ripgrep_symbols() -> Result<Subject> {
    let whole = ripgrep()?.file;
    let symbols = built()?.join("ripgrep-symbols");
    make(
        &symbols,
        &[&whole],
        shell::command("objcopy")
            .arg("--strip-debug")
            .args([&whole, &symbols]),
    )?;
    Ok(Subject::of("ripgrep-symbols", ".symtab only", symbols))
}

/// A program of this repository, built with `flags`.
fn example(name: &str, flags: &str) -> Result<PathBuf> {
    const EXAMPLE: &str = "unwind_tables";
    let target = built()?.join(name);
    shell::run(
        shell::cargo()
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "fathom-symbolizer",
                "--example",
                EXAMPLE,
            ]),
    )?;
    Ok(target.join("release/examples").join(EXAMPLE))
}

//! Stripped programs, each with another way back to what was taken from it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Subject, built, make, source};
use crate::shell;

/// Makes those that are wanted of one program.
pub fn build(wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    if wanted("debuglink") {
        subjects.push(debuglink(&whole("debuglink")?)?);
    }
    if wanted("minidebuginfo") {
        subjects.push(mini_debug_info(&whole("minidebuginfo")?)?);
    }
    Ok(subjects)
}

/// The program as the compiler made it, in a folder of its own. No build id: the way back is the one under test.
fn whole(name: &str) -> Result<PathBuf> {
    let folder = built()?.join(name);
    fs::create_dir_all(&folder)?;
    let (source, output) = (source("inlining.cpp"), folder.join("whole"));
    let mut compile = shell::command("g++");
    compile
        .args(["-std=c++17", "-O2", "-g", "-Wl,--build-id=none", "-o"])
        .arg(&output)
        .arg(&source);
    make(&output, &[&source], &mut compile)?;
    Ok(output)
}

/// Makes `to` of `from`.
pub fn objcopy(options: &[&str], from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("objcopy");
    make(to, &[from], command.args(options).arg(from).arg(to))
}

/// A stripped program that names its debug file, which lies beside it.
fn debuglink(whole: &Path) -> Result<Subject> {
    let (debug, stripped, linked) = (
        whole.with_file_name("linked.debug"),
        whole.with_file_name("stripped"),
        whole.with_file_name("linked"),
    );
    objcopy(&["--only-keep-debug"], whole, &debug)?;
    objcopy(&["--strip-all"], whole, &stripped)?;
    objcopy(
        &[&format!("--add-gnu-debuglink={}", debug.display())],
        &stripped,
        &linked,
    )?;
    Ok(Subject::of(
        "debuglink",
        "stripped, separate debug file by .gnu_debuglink",
        linked,
    ))
}

/// A stripped program with its symbols in `.gnu_debugdata`. llvm-symbolizer can't read that, so it is asked about the symbols themselves.
fn mini_debug_info(whole: &Path) -> Result<Subject> {
    let symbols = whole.with_file_name("symbols");
    objcopy(&["--strip-debug"], whole, &symbols)?;
    let mini = whole.with_file_name("mini");
    objcopy(&["--only-keep-debug"], &symbols, &mini)?;
    let packed = whole.with_file_name("mini.xz");
    let bytes = shell::command("xz")
        .args(["--stdout", "--keep"])
        .arg(&mini)
        .output()
        .context("cannot start xz")?;
    fs::write(&packed, bytes.stdout)?;
    let (stripped, with_data) = (
        whole.with_file_name("stripped"),
        whole.with_file_name("minidebuginfo"),
    );
    objcopy(&["--strip-all"], whole, &stripped)?;
    objcopy(
        &[
            "--add-section",
            &format!(".gnu_debugdata={}", packed.display()),
        ],
        &stripped,
        &with_data,
    )?;
    Ok(Subject {
        truth: symbols,
        ..Subject::of(
            "minidebuginfo",
            "stripped, symbols in .gnu_debugdata",
            with_data,
        )
    })
}

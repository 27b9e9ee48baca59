//! The steps of the test run.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::Tally;
use crate::{build_ebpf, objects, setup, shell, symbolizer::truth, toolchain::Toolchain};

/// One step.
pub struct Step {
    pub name: &'static str,
    pub what: &'static str,
    /// Does it, and counts what has tests of its own.
    pub run: fn(&mut Tally) -> Result<()>,
}

/// Every step, in the order in which one can build on another; the cheap ones first where the order is free.
pub const STEPS: [Step; 10] = [
    Step {
        name: "setup",
        what: "what tests need is there",
        run: |_| setup::run(setup::Purpose::Test),
    },
    Step {
        name: "fmt",
        what: "rustfmt has nothing to change",
        run: fmt,
    },
    Step {
        name: "build-ebpf",
        what: "the kernel objects build",
        run: |_| build_ebpf::run(),
    },
    Step {
        name: "check-objects",
        what: "they only observe, and the kernel takes their form",
        run: |_| objects::run(),
    },
    Step {
        name: "clippy",
        what: "no warning, on the host and in the kernel programs",
        run: clippy,
    },
    Step {
        name: "deny",
        what: "licences, sources, duplicate versions, known vulnerabilities",
        run: deny,
    },
    Step {
        name: "unit",
        what: "the crates' own tests",
        run: unit,
    },
    Step {
        name: "symbols",
        what: "fathom symbolize answers as llvm-symbolizer does",
        run: symbols,
    },
    Step {
        name: "scenarios",
        what: "the scenarios on this machine's kernel",
        run: scenarios,
    },
    Step {
        name: "vm",
        what: "the scenarios on every kernel of the matrix",
        run: vm,
    },
];

fn fmt(_: &mut Tally) -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy(_: &mut Tally) -> Result<()> {
    shell::run(
        shell::cargo()
            .args([
                "clippy",
                "--quiet",
                "--workspace",
                "--exclude",
                "fathom-ebpf",
                "--all-targets",
            ])
            .args(["--", "--deny", "warnings"]),
    )?;
    shell::run(&mut Toolchain::find()?.lint()?)
}

fn unit(tally: &mut Tally) -> Result<()> {
    tally.count(shell::cargo().args([
        "test",
        "--workspace",
        "--exclude",
        "fathom-ebpf",
        "--no-fail-fast",
    ]))
}

/// Judges the dependencies. Advisories need a database that lies elsewhere; whether it was reached is said.
fn deny(tally: &mut Tally) -> Result<()> {
    let deny = setup::cargo_deny_path()?;
    let check = |what: &[&str]| {
        let mut command = shell::command(&deny);
        command.env(
            "CARGO",
            std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        );
        command
            .args(["--log-level", "error", "check", "--hide-inclusion-graph"])
            .args(what);
        command
    };
    shell::run(&mut check(&["licenses", "bans", "sources"]))?;
    tally.passed += 1;
    let fetched = shell::command(&deny)
        .args(["--log-level", "error", "fetch", "db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", deny.display()))?;
    if !fetched.success() {
        println!("advisories: not checked, for their database can't be reached from here");
        tally.skipped += 1;
        return Ok(());
    }
    shell::run(&mut check(&["advisories"]))?;
    tally.passed += 1;
    Ok(())
}

/// Each file on which both agree is one test.
fn symbols(tally: &mut Tally) -> Result<()> {
    tally.passed += truth::run(&truth::Options::bounded())?;
    Ok(())
}

/// The scenarios run the release binary, which is the one that ships; they load kernel programs, so they run as root.
fn scenarios(tally: &mut Tally) -> Result<()> {
    crate::build::release()?;
    shell::run(
        shell::cargo()
            .args(["build", "--release", "--package", "fathom-scenarios"])
            .args(["--package", "fathom-subject-grpc"]),
    )?;
    tally.count(&mut shell::as_root(
        shell::target().join("release/scenario"),
    ))?;
    ensure!(!tally.is_empty(), "the scenarios ended without a count");
    Ok(())
}

/// The matrix, as a task of its own process, so that its closing line can be counted.
fn vm(tally: &mut Tally) -> Result<()> {
    let this = std::env::current_exe().context("this program's own path")?;
    tally.count(shell::command(this).arg("vm"))?;
    ensure!(!tally.is_empty(), "the matrix ended without a count");
    Ok(())
}

//! `cargo xtask vm`: the scenarios on every kernel of the matrix, each in a guest under QEMU.

mod apt;
mod image;
mod kernels;
mod qemu;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use fathom_scenarios::plan::{Action, Plan, Record, Step};

use self::{
    image::Image,
    kernels::{Kernel, LINES},
    qemu::{Boot, Qemu},
};
use crate::{build_ebpf, shell};

/// From QEMU's start to the first step, at most.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How long a line of shell may run in a guest.
const EXEC_LIMIT_S: u64 = 300;

/// Flags of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this line of kernels (5.10, 6.1, 6.12, 6.18, 7.2); may be given more than once
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// Run this line of shell in each guest instead of the scenarios, and print what it writes
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Put this program into each guest's /bin as well; may be given more than once
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// The build of fathom to use: dev is the default of --exec, release that of scenarios
    #[arg(long)]
    profile: Option<Profile>,
    /// How many guests run at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Ask the mirror for newer kernels now, not once a week
    #[arg(long)]
    update: bool,
}

/// A build of fathom.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Dev,
    Release,
}

/// Runs the matrix, or one command on every kernel of it.
pub fn run(args: &Args) -> Result<()> {
    let qemu = Qemu::find()?;
    let dir = shell::target().join("vm");
    let logs = dir.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let kernels = kernels::fetch(&lines(&args.kernel)?, &dir.join("apt"), args.update)?;
    let profile = args.profile.unwrap_or(if args.exec.is_some() {
        Profile::Dev
    } else {
        Profile::Release
    });
    let programs = build(profile)?;
    let image = |plan: &Plan, name: &str| -> Result<PathBuf> {
        let mut image = Image::new()?;
        for program in programs.iter().chain(&args.with) {
            image.program(program)?;
        }
        for (name, package) in [
            ("nginx", "nginx-light"),
            ("wrk", "wrk"),
            ("bpftool", "bpftool"),
        ] {
            image.system_program(name, package)?;
        }
        image.file("plan.json", serde_json::to_vec(plan)?);
        let to = dir.join(name);
        image.write(&to)?;
        Ok(to)
    };
    let qemu = {
        let trial = image(&Plan::default(), "trial.cpio")?;
        qemu.accelerated(kernels.last().context("no kernel")?, &trial, &logs)
    };
    let Some(line) = &args.exec else {
        bail!("the scenarios are not wired yet; --exec works");
    };
    let plan = Plan {
        steps: vec![Step {
            action: Action::Shell(line.clone()),
            limit_s: EXEC_LIMIT_S,
        }],
    };
    let image = image(&plan, "exec.cpio")?;
    let limit = BOOT_LIMIT + Duration::from_secs(EXEC_LIMIT_S);
    let mut failed = Vec::new();
    for (kernel, boot) in boot_all(&qemu, &kernels, &image, &logs, limit, args.jobs)? {
        println!("=== {} ({:.1} s)", kernel.release, boot.took.as_secs_f64());
        let mut good = false;
        for record in &boot.records {
            if let Record::Shell { status, output } = record {
                print!("{output}");
                good = *status == Some(0);
                match status {
                    Some(0) => {}
                    Some(status) => println!("--- exit status {status}"),
                    None => println!("--- killed"),
                }
            }
        }
        if let Some(crash) = &boot.crash {
            println!("{crash}");
            good = false;
        }
        if !good {
            failed.push(kernel.line);
        }
    }
    if !failed.is_empty() {
        bail!("failed on {}", failed.join(", "));
    }
    Ok(())
}

/// The lines that are asked for, all by default.
fn lines(asked: &[String]) -> Result<Vec<&'static str>> {
    if asked.is_empty() {
        return Ok(LINES.to_vec());
    }
    asked
        .iter()
        .map(|line| {
            LINES
                .into_iter()
                .find(|known| known == line)
                .with_context(|| format!("no kernel line {line}; there are {}", LINES.join(", ")))
        })
        .collect()
}

/// Builds what goes into the guests: fathom and the scenarios.
fn build(profile: Profile) -> Result<Vec<PathBuf>> {
    build_ebpf::run()?;
    let (flags, folder): (&[&str], _) = match profile {
        Profile::Dev => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    shell::run(
        shell::cargo()
            .args(["build", "--package", "fathom"])
            .args(flags),
    )?;
    // The scenarios do next to no work of their own: their dev build serves, and is there from the tests.
    shell::run(shell::cargo().args(["build", "--package", "fathom-scenarios"]))?;
    Ok(vec![
        shell::target().join(folder).join("fathom"),
        shell::target().join("debug/scenario"),
    ])
}

/// Boots every kernel, `jobs` at a time; the results come in the kernels' order.
fn boot_all(
    qemu: &Qemu,
    kernels: &[Kernel],
    image: &Path,
    logs: &Path,
    limit: Duration,
    jobs: usize,
) -> Result<Vec<(Kernel, Boot)>> {
    let next = Mutex::new(kernels.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, kernels.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().ok().and_then(|mut next| next.next());
                    let Some((at, kernel)) = taken else { break };
                    let boot = qemu.boot(kernel, image, &logs.join(kernel.line), limit);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, kernel.clone(), boot));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, ..)| *at);
    done.into_iter()
        .map(|(_, kernel, boot)| Ok((kernel, boot?)))
        .collect()
}

//! `cargo xtask vm`: the scenarios on every kernel of the matrix, each in a guest under QEMU.

pub mod apt;
mod image;
mod kernels;
mod matrix;
mod qemu;
mod subjects;
mod verifier;

use std::{
    fs,
    path::PathBuf,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use fathom_scenarios::{
    catalog::{self, Place},
    plan::{Action, Plan, Record, Step},
};

pub use self::qemu::{Boot, CPUS};
use self::{
    image::Image,
    kernels::{Kernel, LINES},
    matrix::Column,
    qemu::{BOOT_LIMIT, Qemu},
    verifier::Walked,
};
use crate::{build_ebpf, shell};

/// How long a line of shell may run in a guest.
const EXEC_LIMIT_S: u64 = 300;

/// How long a scenario may take in a guest before it counts as stuck.
const SCENARIO_LIMIT_S: u64 = 240;

/// The share of a native run's work that an emulated guest does.
const SCALE: &str = "0.02";

/// How many times longer than natively things may take in an emulated guest.
pub const PATIENCE: &str = "8";

/// The same for what is verified only where TLS is watched: the kernel walks many times as much.
const SEEN_PATIENCE: &str = "20";

/// Flags of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this line of kernels (5.10, 6.1, 6.12, 6.18, 7.2); may be given more than once
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// Only this scenario; may be given more than once
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Only this tap, and no scenario that is run with the agent's own choice; may be given more than once
    #[arg(long, value_name = "TAP")]
    tap: Vec<String>,
    /// Only the oldest and the newest kernel
    #[arg(long)]
    quick: bool,
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
    /// Write what the verifier walked into docs/verifier.md, and the matrix into docs/kernel-matrix.md if nothing was left out
    #[arg(long)]
    write_docs: bool,
}

impl Args {
    /// Whether every scenario runs on every kernel.
    fn is_whole(&self) -> bool {
        self.kernel.is_empty() && self.scenario.is_empty() && self.tap.is_empty() && !self.quick
    }
}

/// A build of fathom.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// As it is measured.
    Release,
}

/// Runs the matrix, or one command on every kernel of it.
pub fn run(args: &Args) -> Result<()> {
    let guests = Guests::prepare(args)?;
    match &args.exec {
        Some(line) => exec(&guests, line),
        None => scenarios(&guests, args),
    }
}

/// Everything that booting needs.
pub struct Guests {
    qemu: Qemu,
    kernels: Vec<Kernel>,
    programs: Vec<PathBuf>,
    dir: PathBuf,
    jobs: usize,
}

impl Guests {
    fn prepare(args: &Args) -> Result<Self> {
        let lines = lines(&args.kernel, args.quick)?;
        let profile = args.profile.unwrap_or(if args.exec.is_some() {
            Profile::Dev
        } else {
            Profile::Release
        });
        let mut guests = Self::of(&lines, args.update, profile)?;
        guests.programs.extend(args.with.iter().cloned());
        guests.jobs = args.jobs;
        Ok(guests)
    }

    /// Guests of these lines of kernels, one at a time.
    pub fn of(lines: &[&'static str], update: bool, profile: Profile) -> Result<Self> {
        let qemu = Qemu::find()?;
        let dir = shell::target().join("vm");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let kernels = kernels::fetch(lines, &dir.join("apt"), update)?;
        let mut guests = Self {
            qemu,
            kernels,
            programs: build(profile)?,
            dir,
            jobs: 1,
        };
        let trial = guests.image(&Plan::default(), "trial")?;
        let newest = guests.kernels.last().context("no kernel")?;
        guests.qemu = guests
            .qemu
            .clone()
            .accelerated(newest, &trial, &guests.logs());
        Ok(guests)
    }

    /// The name of how they are run.
    pub fn accelerator(&self) -> &'static str {
        self.qemu.accelerator().name()
    }

    fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// An initramfs that carries out `plan`.
    fn image(&self, plan: &Plan, name: &str) -> Result<PathBuf> {
        let mut image = Image::new()?;
        for program in &self.programs {
            image.program(program)?;
        }
        for (name, package) in [
            ("nginx", "nginx-light"),
            ("wrk", "wrk"),
            ("bpftool", "bpftool"),
            ("ip", "iproute2"),
            ("ss", "iproute2"),
            ("tcplife", "libbpf-tools"),
            ("tcpconnlat", "libbpf-tools"),
        ] {
            image.system_program(name, package)?;
        }
        for kernel in &self.kernels {
            for (at, module) in kernel.modules.iter().enumerate() {
                let inside = format!("modules/{}/{at}.ko", kernel.release);
                image.file(&inside, fs::read(module)?);
            }
        }
        subjects::add(&mut image)?;
        image.file("plan.json", serde_json::to_vec(plan)?);
        let to = self.dir.join(name).with_extension("cpio");
        image.write(&to)?;
        Ok(to)
    }

    /// Boots every kernel with `plan`, some at a time; the results come in the kernels' order.
    pub fn boot(&self, plan: &Plan, name: &str) -> Result<Vec<(Kernel, Boot)>> {
        let image = self.image(plan, name)?;
        let limit = plan.steps.iter().map(|step| step.limit_s).sum();
        let limit = BOOT_LIMIT + Duration::from_secs(limit);
        let next = Mutex::new(self.kernels.iter().enumerate());
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, self.kernels.len().max(1)) {
                scope.spawn(|| {
                    loop {
                        let taken = next.lock().ok().and_then(|mut next| next.next());
                        let Some((at, kernel)) = taken else { break };
                        let logs = self.logs().join(kernel.line);
                        let boot = self.qemu.boot(kernel, &image, &logs, limit);
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
}

/// Runs `line` on every kernel and prints what it writes.
fn exec(guests: &Guests, line: &str) -> Result<()> {
    let plan = Plan {
        steps: vec![Step {
            action: Action::Shell(line.to_owned()),
            limit_s: EXEC_LIMIT_S,
        }],
    };
    let mut failed = Vec::new();
    for (kernel, boot) in guests.boot(&plan, "exec")? {
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

/// Runs the scenarios on every kernel, and ends with the table and a line of counts.
fn scenarios(guests: &Guests, args: &Args) -> Result<()> {
    let started = Instant::now();
    let plan = plan(args)?;
    let planned = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Scenario(_)))
        .count();
    let columns: Vec<Column> = guests
        .boot(&plan, "scenarios")?
        .into_iter()
        .map(|(kernel, boot)| Column::new(&kernel, boot, planned))
        .collect();
    let text = matrix::markdown(&columns, guests.accelerator());
    let lines: Vec<_> = guests.kernels.iter().map(|kernel| kernel.line).collect();
    fs::write(guests.dir.join("matrix.md"), &text)?;
    if args.write_docs {
        if args.is_whole() {
            fs::write(shell::root().join("docs/kernel-matrix.md"), &text)
                .context("cannot write docs/kernel-matrix.md")?;
        }
        Walked::recorded()?.record(matrix::walked(&columns), &lines)?;
    }
    println!("{text}");
    // That no program has grown is one test.
    let grown = Walked::recorded()?.complaints(&matrix::walked(&columns), &lines);
    let (mut passed, mut failed, mut absent) = if grown.is_empty() {
        (1, 0, 0)
    } else {
        (0, 1, 0)
    };
    for complaint in &grown {
        println!("FAILED {complaint}");
    }
    if failed > 0 {
        println!(
            "look at what made the programs grow; `cargo xtask vm --write-docs` records the new numbers"
        );
    }
    for column in &columns {
        print!("{}", column.failures());
        let counts = column.counts();
        passed += counts.0;
        failed += counts.1;
        absent += counts.2;
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed, {absent} skipped");
    if failed > 0 {
        bail!(
            "{failed} failed; the guests' consoles are in {}",
            guests.logs().display()
        );
    }
    Ok(())
}

/// What each guest does: say what works on it, then each scenario with each of its taps.
fn plan(args: &Args) -> Result<Plan> {
    let mut steps = vec![Step {
        // Where the kernel doesn't say what its verifier walked, its log does.
        action: Action::Shell("LD_PRELOAD=/bin/verifier_log.so fathom doctor --json".to_owned()),
        limit_s: SCENARIO_LIMIT_S,
    }];
    for name in &args.scenario {
        if !catalog::ALL.iter().any(|entry| entry.name == name) {
            bail!("no scenario {name}");
        }
    }
    for name in &args.tap {
        catalog::known_tap(name)?;
    }
    let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    for entry in catalog::ALL {
        // Who names a scenario has it run in guests, too, though it is not what they are for.
        let is_left_out = entry.place == Place::Native && args.scenario.is_empty();
        if is_left_out || !named(&args.scenario, entry.name) {
            continue;
        }
        for tap in entry.taps() {
            if !named(&args.tap, tap.unwrap_or("auto")) {
                continue;
            }
            let mut words = vec![entry.name, "--fathom", "/bin/fathom", "--programs", "/bin"];
            let (patience, limit_s) = match entry.name {
                "seen" => (SEEN_PATIENCE, 2 * SCENARIO_LIMIT_S),
                // Each kill has another start behind it, under load.
                "sigkill" => (PATIENCE, 2 * SCENARIO_LIMIT_S),
                _ => (PATIENCE, SCENARIO_LIMIT_S),
            };
            words.extend(["--scale", SCALE, "--patience", patience]);
            words.extend(tap.iter().flat_map(|tap| ["--tap", tap]));
            steps.push(Step {
                action: Action::Scenario(words.into_iter().map(str::to_owned).collect()),
                limit_s,
            });
        }
    }
    Ok(Plan { steps })
}

/// The lines that are asked for, all by default.
pub fn lines(asked: &[String], quick: bool) -> Result<Vec<&'static str>> {
    if asked.is_empty() {
        return Ok(if quick {
            vec![LINES[0], LINES[LINES.len() - 1]]
        } else {
            LINES.to_vec()
        });
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

/// Builds what goes into the guests: fathom, the scenarios and the C programs that they watch.
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
    let scenario = shell::target().join("debug/scenario");
    let compiled = shell::target().join("programs");
    shell::run(shell::command(&scenario).arg("compile").arg(&compiled))?;
    // Its libraries are large without optimization.
    shell::run(shell::cargo().args(["build", "--release", "--package", "fathom-subject-grpc"]))?;
    let verifier_log = shell::target().join("verifier_log.so");
    shell::run(
        shell::command("cc")
            .args(["-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
            .arg(&verifier_log)
            .arg("tests/programs/verifier_log/verifier_log.c")
            .arg("-ldl"),
    )?;
    let mut programs = vec![
        shell::target().join(folder).join("fathom"),
        scenario,
        verifier_log,
        shell::target().join("release/subject-grpc"),
    ];
    for entry in fs::read_dir(&compiled)? {
        let path = entry?.path();
        if path.is_file() {
            programs.push(path);
        }
    }
    Ok(programs)
}

//! Programs whose call chains and shares are known: every stack that fathom shows of them must be one that their sources have.
//!
//! Natively perf looks at the same programs at the same time, over DWARF, as the second opinion; in guests there is no perf.

mod chain;
mod judge;
mod perf;
mod stacks;
mod subjects;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use self::{
    judge::Verdict,
    perf::Perf,
    stacks::Stack,
    subjects::{SHORT, SUBJECTS, Subject, Turn},
};
use crate::{context::Context, subjects::process::Running};

/// Far more than the 100 Hz of an ordinary profile: what is tested are stacks, and each is a test.
const FREQUENCY: u32 = 997;

/// Where the whole machine is sampled or the processor is emulated, no more than what is ordinary: at ten times that, copies of stacks fill their ring until the
/// first tables are there.
const ORDINARY_FREQUENCY: u32 = 100;

/// How long perf and fathom look at the same programs: natively, and where there are neither perf nor the many samples that the bounds of chance are made of.
const SECONDS: [u64; 2] = [15, 5];

/// How long fathom looks at the whole machine, while processes come and go.
const SECONDS_OF_SHORT: [u64; 2] = [10, 5];

/// How long subjects may take until each has its name, before patience is applied.
const NAMED: Duration = Duration::from_secs(5);

/// Fewer samples of a subject say nothing: natively, and on an emulated processor, whose timer skips most of its ticks.
const LEAST: [u64; 2] = [20, 5];

/// Of a hundred stacks of a subject so many may be wrong.
const WRONG: f64 = 1.0;

/// Of a short life's samples at least this share, in percent, is in its one function; the rest is what it takes to start a process.
const SHORT_LIFE: u64 = 25;

pub fn run(context: &mut Context) -> Result<()> {
    let mut faults = Vec::new();
    let mut sum = Sum::default();
    for turn in Turn::ALL {
        let subjects = SUBJECTS.iter().filter(|subject| subject.turn() == turn);
        let group = Group::start(context, subjects)?;
        sum.absent.extend(group.absent.iter().cloned());
        if turn != Turn::Short {
            faults.extend(chains(context, &group, &mut sum)?);
        } else if !group.running.is_empty() {
            faults.extend(short_lives(context)?);
        }
    }
    context.fact("absent", sum.absent);
    context.fact("samples", sum.samples);
    context.fact("wrong", sum.wrong);
    if sum.wrong * 100 > sum.samples {
        faults.push(format!(
            "{} of all {} stacks are wrong",
            sum.wrong, sum.samples
        ));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Over all groups.
#[derive(Default)]
struct Sum {
    samples: u64,
    wrong: u64,
    /// Why a subject is not here.
    absent: Vec<String>,
}

/// Subjects that run at the same time, and end with this.
struct Group {
    running: Vec<(&'static str, Running)>,
    present: Vec<&'static Subject>,
    absent: Vec<String>,
}

impl Group {
    fn start(context: &Context, subjects: impl Iterator<Item = &'static Subject>) -> Result<Self> {
        let mut group = Self {
            running: Vec::new(),
            present: Vec::new(),
            absent: Vec::new(),
        };
        for subject in subjects {
            match subject.command(&context.programs) {
                Ok(command) => {
                    if let Some(mut command) = command {
                        command.stdin(Stdio::null()).stdout(Stdio::null());
                        group.running.push((subject.comm, Running::start(command)?));
                    }
                    if !subject.chains.is_empty() {
                        group.present.push(subject);
                    }
                }
                Err(why) => group.absent.push(why),
            }
        }
        let deadline = Instant::now() + NAMED * context.patience;
        for (comm, subject) in &mut group.running {
            let name = format!("/proc/{}/comm", subject.pid());
            loop {
                if let Some(status) = subject.ended()? {
                    bail!("{comm} ended with {status}");
                }
                if fs::read_to_string(&name)?.trim_end() == *comm {
                    break;
                }
                ensure!(Instant::now() < deadline, "{comm} does not begin");
                thread::sleep(Duration::from_millis(20));
            }
        }
        // A name comes before the first call of what is known.
        thread::sleep(Duration::from_millis(100) * context.patience);
        Ok(group)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.running
            .iter()
            .try_for_each(|(_, subject)| subject.signal(signal))
    }
}

/// A group at once, with perf beside fathom.
fn chains(context: &mut Context, group: &Group, sum: &mut Sum) -> Result<Vec<String>> {
    let pids: Vec<String> = group
        .running
        .iter()
        .map(|(_, subject)| subject.pid().to_string())
        .collect();
    let is_emulated = context.patience > 1;
    let seconds = SECONDS[usize::from(is_emulated)];
    let perf = Perf::start(&pids, seconds, context.dir())?;
    let arguments: Vec<&str> = pids.iter().flat_map(|pid| ["-p", pid]).collect();
    let frequency = if is_emulated {
        ORDINARY_FREQUENCY
    } else {
        FREQUENCY
    };
    // Beside fifteen programs that spin, what makes their tables gets an eighth of an emulated processor: they stand still until it has.
    if is_emulated {
        group.signal(Signal::STOP)?;
    }
    let ours = profile(context, "chains", frequency, seconds, &arguments, || {
        if is_emulated {
            group.signal(Signal::CONT)?;
        }
        Ok(())
    })?;
    let theirs = perf.map(Perf::stacks).transpose()?;
    let least = LEAST[usize::from(is_emulated)];
    let mut faults = Vec::new();
    for subject in &group.present {
        let of = |stacks: &[Stack]| {
            let own = stacks.iter().filter(|stack| stack.comm == subject.comm);
            Verdict::of(subject, own)
        };
        let verdict = of(&ours)?;
        let mut facts = verdict.facts();
        let mut found = verdict.faults(least, WRONG);
        if let Some(theirs) = &theirs {
            let theirs = of(theirs)?;
            facts["perf"] = theirs.facts();
            found.extend(verdict.differences(&theirs));
        }
        if subject.comm == "chain-syscall" && verdict.in_kernel * 2 < verdict.samples {
            found.push(format!(
                "{} of {} stacks have the kernel's frames, of a program that is always in a system call",
                verdict.in_kernel, verdict.samples
            ));
        }
        sum.samples += verdict.samples;
        sum.wrong += verdict.wrong;
        context.fact(subject.comm, facts);
        let named = |fault| format!("{}: {fault}", subject.comm);
        faults.extend(found.iter().map(named));
    }
    Ok(faults)
}

/// Processes that are gone before anyone can look them up keep their names.
fn short_lives(context: &mut Context) -> Result<Vec<String>> {
    let is_emulated = context.patience > 1;
    let seconds = SECONDS_OF_SHORT[usize::from(is_emulated)];
    let stacks = profile(
        context,
        "short",
        ORDINARY_FREQUENCY,
        seconds,
        &[],
        || Ok(()),
    )?;
    // A program has its executable's name until it gives itself another, and no user code while it is made or unmade.
    let theirs = || {
        stacks.iter().filter(|stack| {
            [SHORT.comm, "chains"].contains(&stack.comm.as_str())
                && !(stack.user.is_empty() && stack.kernel > 0)
        })
    };
    let verdict = Verdict::of(&SHORT, theirs())?;
    context.fact(SHORT.comm, verdict.facts());
    let least = LEAST[usize::from(is_emulated)];
    let mut faults = verdict.faults(least, WRONG);
    let living = theirs().filter(|stack| stack.user.iter().any(|frame| frame == "short_life"));
    let living: u64 = living.map(|stack| stack.count).sum();
    if living * 100 < verdict.samples * SHORT_LIFE {
        faults.push(format!(
            "{living} of {} stacks are in the function that it lives for",
            verdict.samples
        ));
    }
    let named = |fault| format!("{}: {fault}", SHORT.comm);
    Ok(faults.iter().map(named).collect())
}

/// Runs `fathom profile`; `sampling` is called when it says that it has begun to sample what was named.
fn profile(
    context: &Context,
    name: &str,
    frequency: u32,
    seconds: u64,
    arguments: &[&str],
    sampling: impl FnOnce() -> Result<()>,
) -> Result<Vec<Stack>> {
    let file = context.dir().join(name).with_extension("folded");
    let mut child = Command::new(&context.fathom)
        // A chain is one of calls: what was inlined is none.
        .args(["profile", "--no-inlines"])
        .args(arguments)
        .args(["-d", &seconds.to_string(), "-F", &frequency.to_string()])
        .arg("-o")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start fathom profile")?;
    let said = BufReader::new(child.stderr.take().context("a pipe")?);
    let mut sampling = Some(sampling);
    let mut begun = Ok(());
    let mut lines = Vec::new();
    for line in said.lines() {
        let line = line?;
        eprintln!("{line}");
        if line.starts_with("sampling ")
            && let Some(sampling) = sampling.take()
        {
            begun = sampling();
        }
        lines.push(line);
    }
    let status = child.wait()?;
    ensure!(
        status.success(),
        "fathom profile ended with {status}: {}",
        lines.join("\n")
    );
    begun?;
    read(&file)
}

fn read(file: &Path) -> Result<Vec<Stack>> {
    let text = fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
    stacks::folded(&text)
}

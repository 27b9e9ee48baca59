//! A whole machine at work, with programs that nobody has prepared: compilers, nginx, Python, PostgreSQL. How many of its stacks reach
//! their root, and what the others are. What ran before is no part of that load: it is listed, and not judged.

mod load;
mod pprof;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use self::pprof::Sample;
use crate::{context::Context, nginx::Nginx, path::find, wrk::Wrk};

/// For how long the machine is watched.
const SECONDS: u64 = 10;

/// For how long it works before, so that everything has begun.
const WARM_UP: Duration = Duration::from_secs(3);

/// Keep-alive connections to nginx.
const CONNECTIONS: u64 = 4;

/// Of a hundred stacks with a user part, so many must be whole.
const WHOLE: f64 = 98.0;

/// Fewer samples say nothing of a machine.
const LEAST: u64 = 300;

/// Where programs and threads begin. What is whole ends at one of these, whatever fathom says of itself; a first function without a name, in a file
/// without symbols, is counted apart.
const ROOTS: [&str; 9] = [
    "_start",
    // The dynamic linker's first instructions, behind those of its own `_start` (RTLD_START of glibc).
    "_dl_start_user",
    "clone3",
    "__clone3",
    "clone",
    "__clone",
    "runtime.goexit",
    "runtime.rt0_go",
    "runtime.mstart",
];

/// Qualities of samples that have no user part: a kernel thread's, a task's that is about to end.
const NO_USER_PART: [&str; 2] = ["kernel_only", "idle"];

/// Qualities of samples whose stack is whole.
const WHOLE_KINDS: [&str; 2] = ["whole", "jit_without_map"];

pub fn run(context: &mut Context) -> Result<()> {
    let before = processes()?;
    let nginx = Nginx::start(context)?;
    let wrk = Wrk::start(context, &nginx, CONNECTIONS, None)?;
    let mut loads = Vec::new();
    let mut absent = Vec::new();
    for start in load::ALL {
        match start(context) {
            Ok(load) => loads.push(load),
            Err(why) => absent.push(format!("{why:#}")),
        }
    }
    thread::sleep(WARM_UP);
    for load in &mut loads {
        load.still_runs()?;
    }
    let file = context.dir().join("system.pb.gz");
    let output = Command::new(&context.fathom)
        .args(["profile", "-d", &SECONDS.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "fathom profile ended with {}: {said}",
        output.status
    );
    eprint!("{said}");
    for load in loads {
        load.stop()?;
    }
    wrk.stop()?;
    context.fact("absent", absent);
    let samples = pprof::read(&file)?;
    let (others, samples): (Vec<_>, Vec<_>) = samples
        .into_iter()
        .partition(|sample| before.contains(&sample.pid));
    context.fact("others", Sorted::of(&others).facts());
    let sorted = Sorted::of(&samples);
    sorted.note(context);
    sorted.check()
}

/// Why the scenario can't be run here: the profile is read by an independent reader.
pub fn missing() -> Option<String> {
    find("go")
        .is_none()
        .then(|| "no go, whose pprof reads the profile; `cargo xtask setup` installs it".to_owned())
}

/// Samples by what they are.
#[derive(Default)]
struct Sorted {
    /// All.
    samples: u64,
    /// Those with a user part.
    user: u64,
    /// Those that say that they are whole, and end where programs or threads begin.
    whole: u64,
    /// Those that say that they are whole, and don't, by their last frame.
    elsewhere: BTreeMap<String, u64>,
    /// Those of a program or a file without symbols, whose first function has no name.
    nameless_roots: u64,
    /// All others, by quality, program and the file in which they end.
    broken: BTreeMap<String, u64>,
    /// All, by quality.
    kinds: BTreeMap<String, u64>,
}

impl Sorted {
    fn of(samples: &[Sample]) -> Self {
        let mut sorted = Self::default();
        for sample in samples {
            sorted.add(sample);
        }
        sorted
    }

    fn add(&mut self, sample: &Sample) {
        let quality = sample.quality.as_deref().unwrap_or("does not say");
        self.samples += sample.count;
        *self.kinds.entry(quality.to_owned()).or_default() += sample.count;
        if NO_USER_PART.contains(&quality) {
            return;
        }
        self.user += sample.count;
        if !WHOLE_KINDS.contains(&quality) {
            let kind = format!("{quality}: {} in {}", sample.comm, sample.root_file);
            *self.broken.entry(kind).or_default() += sample.count;
            return;
        }
        match &sample.root {
            Some(root) if is_root(root) => self.whole += sample.count,
            Some(root) => {
                let kind = format!("{root} of {} in {}", sample.comm, sample.root_file);
                *self.elsewhere.entry(kind).or_default() += sample.count;
            }
            None => {
                self.whole += sample.count;
                self.nameless_roots += sample.count;
            }
        }
    }

    /// What is listed of those that are not judged.
    fn facts(&self) -> Value {
        json!({ "user": self.user, "whole": self.whole, "not_whole": most(&self.broken, 10) })
    }

    fn note(&self, context: &mut Context) {
        context.fact("samples", self.samples);
        context.fact("user", self.user);
        context.fact("whole", self.whole);
        context.fact("whole_percent", percent(self.whole, self.user));
        context.fact("nameless_roots", self.nameless_roots);
        context.fact("kinds", most(&self.kinds, usize::MAX));
        context.fact("not_whole", most(&self.broken, 30));
        context.fact("whole_by_their_own_word", most(&self.elsewhere, 30));
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.samples >= LEAST,
            "{} samples of a machine that is busy for {SECONDS} s",
            self.samples
        );
        ensure!(
            percent(self.whole, self.user) >= WHOLE,
            "{:.1} % of {} stacks with a user part are whole; the others are {:?} and {:?}",
            percent(self.whole, self.user),
            self.user,
            most(&self.broken, 10),
            most(&self.elsewhere, 10)
        );
        Ok(())
    }
}

/// Go's assembly functions have the suffix of their calling convention.
fn is_root(name: &str) -> bool {
    let name = name.split(['(', '@']).next().unwrap_or(name);
    ROOTS.contains(&name.trim_end_matches(".abi0"))
}

/// The processes that there are.
fn processes() -> Result<BTreeSet<u32>> {
    let mut pids = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    Ok(pids)
}

/// The most frequent first.
fn most(counts: &BTreeMap<String, u64>, limit: usize) -> Vec<String> {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    counts
        .iter()
        .take(limit)
        .map(|(name, count)| format!("{count} {name}"))
        .collect()
}

fn percent(part: u64, whole: u64) -> f64 {
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    number(part) * 100.0 / number(whole).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(quality: &str, root: Option<&str>, count: u64) -> Sample {
        Sample {
            count,
            pid: 1,
            comm: "cc1".to_owned(),
            quality: Some(quality.to_owned()),
            root: root.map(str::to_owned),
            root_file: "cc1".to_owned(),
        }
    }

    #[test]
    fn what_says_that_it_is_whole_is_so_only_with_a_known_root() {
        let sorted = Sorted::of(&[
            sample("whole", Some("_start"), 500),
            sample("whole", Some("runtime.goexit.abi0"), 480),
            sample("whole", Some("in_the_middle"), 15),
            sample("no_rule", Some("in_the_middle"), 5),
            sample("kernel_only", None, 300),
        ]);
        assert_eq!((sorted.user, sorted.whole), (1000, 980));
        assert!(sorted.check().is_ok());
        let sorted = Sorted::of(&[
            sample("whole", Some("_start"), 970),
            sample("no_rule", Some("in_the_middle"), 30),
        ]);
        let error = sorted.check().expect_err("too few").to_string();
        assert!(error.contains("30 no_rule: cc1 in cc1"), "{error}");
    }

    #[test]
    fn a_profile_that_does_not_say_how_good_it_is_is_not_whole() {
        let mut mute = sample("whole", Some("_start"), 1000);
        mute.quality = None;
        assert!(Sorted::of(&[mute]).check().is_err());
    }
}

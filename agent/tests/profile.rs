//! `fathom profile` against a program whose time is known, and against `perf`.

mod burning;
mod running;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use burning::{build, skips};
use running::Running;

/// The truth about `tests/programs/burn.c`, in percent.
const TRUTH: [(&str, f64); 3] = [
    ("burn_sixty", 60.0),
    ("burn_thirty", 30.0),
    ("burn_ten", 10.0),
];

/// One test at a time: they burn CPU time, and measure it.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the program and waits until it burns. It goes before what else this machine does: on a busy one it would be
/// sampled too rarely for its shares to say anything. Far before would hold up the kernel's own threads, which load
/// and unload programs.
fn start(program: &Path, arguments: &[&str]) -> Running {
    let (running, line) = Running::start(
        Command::new("nice")
            .args(["-n", "-10"])
            .arg(program)
            .args(arguments),
    );
    assert_eq!(line, running.0.id().to_string(), "it prints its pid");
    running
}

fn fathom(pid: u32, seconds: &str, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
    command
        .args(["profile", "-p", &pid.to_string(), "-d", seconds, "-o"])
        .arg(output)
        .stderr(Stdio::piped());
    command
}

fn expect_success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn folded(path: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(path).expect("the file is there");
    let lines = text.lines().map(|line| {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
        (stack.to_owned(), count.parse().expect("a count"))
    });
    lines.collect()
}

/// Percent of the samples in which each of the three functions was the one that ran.
fn shares<'a>(samples: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    let mut all = 0.0;
    for (leaf, count) in samples {
        *shares.entry(leaf.to_owned()).or_default() += count;
        all += count;
    }
    shares.values_mut().for_each(|share| *share *= 100.0 / all);
    shares
}

fn assert_near(what: &str, shares: &BTreeMap<String, f64>, expected: impl Fn(&str) -> f64) {
    for (function, _) in TRUTH {
        let share = shares.get(function).copied().unwrap_or(0.0);
        let expected = expected(function);
        assert!(
            (share - expected).abs() <= 3.0,
            "{what}: {function} {share:.1} %, expected {expected:.1} %: {shares:?}"
        );
    }
}

/// CPU time that a process has used, in seconds (fields 14 and 15 of `/proc/PID/stat`, in hundredths).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .expect("a name")
        .1
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<f64>().expect("ticks"))
        .sum();
    ticks / 100.0
}

/// Samples a process for ten seconds, and longer where that gives too few samples for three points. Returns the seconds
/// and how many CPUs the process used meanwhile.
fn sample(pid: u32, path: &Path) -> (f64, f64) {
    for seconds in [10, 40] {
        let (before, begun) = (cpu_seconds(pid), Instant::now());
        let output = fathom(pid, &seconds.to_string(), path)
            .output()
            .expect("fathom starts");
        let used = (cpu_seconds(pid) - before) / begun.elapsed().as_secs_f64();
        let said = expect_success(&output);
        assert!(said.contains(", 0 lost"), "{said}");
        let samples: u64 = folded(path).iter().map(|(_, count)| count).sum();
        if samples >= 600 || seconds == 40 {
            return (f64::from(seconds), used);
        }
        eprintln!("{samples} samples in {seconds} s on a busy machine: once more, longer");
    }
    unreachable!("the longer one is the last")
}

/// The leaf of each sample that `perf script` prints.
fn perf_leaves(data: &Path) -> Vec<String> {
    let output = Command::new("perf")
        .args(["script", "-F", "ip,sym", "-i"])
        .arg(data)
        .output()
        .expect("perf was there a moment ago");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let samples = text
        .split("\n\n")
        .filter_map(|sample| sample.trim().lines().next());
    samples
        .filter_map(|leaf| leaf.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn shares_are_the_programs_own_and_perf_agrees() {
    if skips("shares_are_the_programs_own_and_perf_agrees") {
        return;
    }
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let burn = start(&build(folder.path(), "burn"), &["120"]);
    let pid = burn.0.id();
    let data = folder.path().join("perf.data");
    let perf = Command::new("perf")
        .args([
            "record",
            "-q",
            "-e",
            "cpu-clock",
            "-F",
            "100",
            "-g",
            "-p",
            &pid.to_string(),
            "-o",
        ])
        .arg(&data)
        .args(["--", "sleep", "10"])
        .spawn();

    let path = folder.path().join("out.folded");
    let (seconds, used) = sample(pid, &path);
    let lines = folded(&path);
    let leaf = |stack: &'_ str| stack.rsplit(';').next().unwrap_or_default().to_owned();
    let leaves: Vec<_> = lines
        .iter()
        .map(|(stack, count)| (leaf(stack), *count))
        .collect();
    let ours = shares(
        leaves
            .iter()
            .map(|(leaf, count)| (leaf.as_str(), *count as f64)),
    );
    assert_near("the truth", &ours, |function| {
        TRUTH
            .iter()
            .find(|(name, _)| *name == function)
            .expect("one of the three")
            .1
    });
    for (stack, _) in lines
        .iter()
        .filter(|(stack, _)| stack.contains("burn_sixty"))
    {
        assert!(stack.starts_with("burn;"), "{stack}");
        assert!(
            stack.contains(";main;burn_until;burn_round;burn_sixty"),
            "{stack}"
        );
    }
    // A sample stands for a hundredth of a second of CPU time, by the kernel's own account of it.
    let samples: u64 = lines.iter().map(|(_, count)| count).sum();
    let sampled = samples as f64 / 100.0 / seconds;
    assert!(
        (sampled - used).abs() < 0.15 * used,
        "{sampled} CPUs sampled, {used} CPUs used"
    );

    match perf {
        Ok(perf) => {
            let mut perf = Running(perf);
            perf.0.wait().expect("perf ends");
            let leaves = perf_leaves(&data);
            let theirs = shares(leaves.iter().map(|leaf| (leaf.as_str(), 1.0)));
            assert_near("perf", &ours, |function| theirs[function]);
        }
        Err(error) => eprintln!("SKIPPED the comparison with perf: {error}"),
    }
}

/// A process that samples has its program on the CPUs' clocks.
fn wait_until_it_samples(pid: u32) {
    let samples = || {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
        let mut links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        // Kernels before 5.15 have no link to hold for a clock.
        links.any(|link| {
            let link = link.to_string_lossy();
            link.contains("perf_event") || link.contains("bpf_link") || link.contains("bpf-link")
        })
    };
    let begun = Instant::now();
    while !samples() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it never starts to sample"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_ends_it_early_and_the_file_is_written() {
    if skips("a_signal_ends_it_early_and_the_file_is_written") {
        return;
    }
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let burn = start(&build(folder.path(), "burn"), &["120", "spawn"]);
    let path = folder.path().join("out.svg");
    let begun = Instant::now();
    let child = fathom(burn.0.id(), "300", &path)
        .spawn()
        .expect("fathom starts");
    wait_until_it_samples(child.id());
    std::thread::sleep(Duration::from_secs(2));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    expect_success(&child.wait_with_output().expect("it ends"));
    assert!(begun.elapsed() < Duration::from_secs(60));
    let svg = fs::read_to_string(&path).expect("the file is there");
    assert!(
        svg.contains("burn_sixty"),
        "a thread of the process was sampled"
    );
}

#[test]
fn a_pprof_file_is_gzip() {
    if skips("a_pprof_file_is_gzip") {
        return;
    }
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let burn = start(&build(folder.path(), "burn"), &["60"]);
    let path = folder.path().join("out.pb.gz");
    let output = fathom(burn.0.id(), "1", &path)
        .output()
        .expect("fathom starts");
    expect_success(&output);
    let unpacked = Command::new("gzip")
        .args(["-dc"])
        .arg(&path)
        .output()
        .expect("gzip is everywhere");
    assert!(unpacked.status.success());
    let has = |name: &str| {
        unpacked
            .stdout
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    };
    assert!(has("burn_sixty") && has("nanoseconds"));
}

#[test]
fn wrong_use_is_told_apart_from_what_can_not_be_done() {
    let fathom = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fathom"));
        let output = command
            .arg("profile")
            .args(arguments)
            .output()
            .expect("fathom starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (arguments, code, expected) in [
        (&["-o", "x.txt"][..], 2, ".pb.gz"),
        (&["--top", "-o", "/tmp/x.svg"], 2, "--output"),
        (
            &["--cgroup", "/no/such.slice", "-d", "1"],
            1,
            "systemd-cgls",
        ),
        (&["--route", "checkout", "-d", "1"], 2, "--route"),
        (&["-o", "/tmp/x.svg", "-F", "0"], 2, "--frequency 0"),
        (&["-o", "/tmp/x.svg", "-d", "0"], 2, "--duration 0"),
        (&["-o", "/tmp/x.svg", "-d", "NaN"], 2, "--duration NaN"),
        (&["-o", "/tmp/x.svg", "-p", "4194305"], 1, "no such process"),
        (&["-o", "/nowhere/x.svg"], 1, "/nowhere/x.svg"),
    ] {
        let (got, said) = fathom(arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_process_that_does_not_run_has_no_profile() {
    if skips("a_process_that_does_not_run_has_no_profile") {
        return;
    }
    let sleep = Running(
        Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep starts"),
    );
    std::thread::sleep(Duration::from_millis(200));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.folded");
    let output = fathom(sleep.0.id(), "0.5", &path)
        .output()
        .expect("fathom starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no sample was taken"), "{said}");
    assert!(!path.exists(), "no empty file is left behind");
}

//! `fathom profile` as a command: whose samples it has, what ends it, and what it says of itself.

mod burning;
mod running;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    num::NonZeroUsize,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use burning::{build, skips};
use running::Running;
use rustix::process::{Pid, Signal, kill_process};

fn profile(output: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["profile", "-o"])
        .arg(output)
        .arg("--")
        .args(words)
        .output()
        .expect("fathom starts")
}

/// Samples of the threads of a name.
fn samples(folded: &str, comm: &str) -> u64 {
    folded
        .lines()
        .filter(|line| line.split(';').next() == Some(comm))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

#[test]
fn a_command_and_its_children_are_sampled() {
    if skips("a_command_and_its_children_are_sampled") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let child = build(folder.path(), "its_child");
    let path = folder.path().join("out.folded");
    // About a second of CPU time for the shell itself; more of the clock's for the child, which has to share the CPUs.
    let script = "\"$0\" 3 & i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; wait";
    let child = child.to_str().expect("text");
    let output = profile(&path, &["sh", "-c", script, child]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let folded = fs::read_to_string(&path).expect("the file is there");
    assert!(samples(&folded, "sh") >= 50, "{said}{folded}");
    assert!(samples(&folded, "its_child") >= 50, "{said}{folded}");
    let all = |line: &str| line.starts_with("sh;") || line.starts_with("its_child;");
    let strangers: Vec<_> = folded.lines().filter(|line| !all(line)).collect();
    // The command is fathom's own copy until it executes its program.
    assert!(
        strangers.iter().all(|line| line.starts_with("fathom;")),
        "{strangers:#?}"
    );
}

/// A session of a command that works until it is ended, with samples taken by now.
fn begin(folder: &Path, output: &Path, stderr: Stdio) -> Child {
    let begun = folder.join("begun");
    // The tests themselves may have been started with signals that are ignored.
    let child = Command::new("env")
        .args(["--default-signal=HUP,QUIT", env!("CARGO_BIN_EXE_fathom")])
        .args(["profile", "-o"])
        .arg(output)
        .args(["--", "sh", "-c", ": > \"$0\"; while :; do :; done"])
        .arg(&begun)
        .stderr(stderr)
        .spawn()
        .expect("fathom starts");
    let start = Instant::now();
    while !begun.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never begins");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_secs(1));
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

#[test]
fn a_terminal_that_goes_away_leaves_the_profile() {
    if skips("a_terminal_that_goes_away_leaves_the_profile") {
        return;
    }
    for signal in [Signal::HUP, Signal::QUIT] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.folded");
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut child = begin(folder.path(), &path, writer.into());
        drop(reader);
        send(&child, signal);
        assert!(child.wait().expect("it ends").success(), "{signal:?}");
        let folded = fs::read_to_string(&path).expect("the file is there");
        assert!(samples(&folded, "sh") > 0, "{signal:?}: {folded}");
    }
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    if skips("a_signal_that_comes_twice_at_once_is_one") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.folded");
    let child = begin(folder.path(), &path, Stdio::piped());
    // As timeout(1) sends them, and then some: whatever fathom is doing by then.
    for _ in 0..10 {
        send(&child, Signal::TERM);
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let folded = fs::read_to_string(&path).expect("the file is there");
    assert!(samples(&folded, "sh") > 0, "{said}{folded}");
}

#[test]
fn a_second_signal_ends_it_without_a_file_and_says_so() {
    if skips("a_second_signal_ends_it_without_a_file_and_says_so") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.folded");
    // Nobody reads the pipe that the profile goes to as well: what comes after the first signal takes as long as somebody wants.
    let pipe = folder.path().join("pipe.folded");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is everywhere").success());
    let reader = OpenOptions::new().read(true).write(true).open(&pipe);
    let reader = reader.expect("the pipe");
    let mut fill = &reader;
    rustix::io::ioctl_fionbio(&reader, true).expect("a pipe");
    while fill.write(&[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&reader, false).expect("a pipe");
    let child = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["profile", "-d", "0.5", "-o"])
        .arg(&pipe)
        .arg("-o")
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("fathom starts");
    thread::sleep(Duration::from_secs(5));
    send(&child, Signal::INT);
    thread::sleep(Duration::from_secs(1));
    send(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("ended by a second signal"), "{said}");
    assert!(said.contains("out.folded was not written"), "{said}");
    assert!(!path.exists());
}

/// What a session of these words says, whether there is a profile or not.
fn said(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .arg("profile")
        .args(words)
        .output()
        .expect("fathom starts");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn samples_without_a_frame_that_is_wanted_are_counted() {
    if skips("samples_without_a_frame_that_is_wanted_are_counted") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let burn = Running::start(Command::new(build(folder.path(), "burn")).arg("60")).0;
    let path = folder.path().join("out.folded");
    let path = path.to_str().expect("text");
    let pid = burn.0.id().to_string();
    let said = said(&["--kernel", "-p", &pid, "-d", "1", "-o", path]);
    assert!(
        said.contains("samples had no frame of the kernel's"),
        "{said}"
    );
    assert!(!said.contains("nothing of what was watched ran"), "{said}");
}

#[test]
fn what_sampling_takes_is_a_share_of_the_time_that_it_took() {
    if skips("what_sampling_takes_is_a_share_of_the_time_that_it_took") {
        return;
    }
    // Loading alone takes many times as long.
    let said = said(&["-d", "0.01", "--json"]);
    let (_, share) = said.split_once("fathom took ").expect("it is said");
    let (share, _) = share.split_once(" %").expect("in percent");
    let share: f64 = share.parse().expect("a number");
    let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    assert!(share <= 150.0 * cpus as f64, "{said}");
}

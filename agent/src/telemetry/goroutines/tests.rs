use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::Goroutines;
use crate::{identity::Identity, probes::net::GoProcesses, telemetry::Clock};

/// Go's own tool, which is a Go program.
fn go_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("go"))
        .find(|go| go.exists())
}

/// A procfs with one process that executes `program`, and its start.
fn procfs(program: &Path, start_ticks: u64) -> tempfile::TempDir {
    let proc = tempfile::tempdir().unwrap();
    let folder = proc.path().join("7");
    fs::create_dir(&folder).unwrap();
    write_stat(proc.path(), start_ticks);
    symlink(program, folder.join("exe")).unwrap();
    proc
}

fn write_stat(proc: &Path, start_ticks: u64) {
    let fields = "0 ".repeat(18);
    let stat = format!("7 (server) S {fields}{start_ticks} 0\n");
    fs::write(proc.join("7/stat"), stat).unwrap();
}

fn met(proc: &Path) -> Option<Goroutines> {
    let mut goroutines = Goroutines::new(GoProcesses::alone()?, proc);
    assert!(goroutines.is_new(7));
    let process = Identity::new(proc, super::PROCESSES).process(7, Clock::monotonic_ns());
    goroutines.meet(process);
    assert!(!goroutines.is_new(7));
    Some(goroutines)
}

#[test]
fn of_a_go_program_only_what_began_when_the_kernel_knew_it_is_told_apart() {
    let Some(go) = go_program() else {
        eprintln!("skipped: no Go program here");
        return;
    };
    let proc = procfs(&go, 5);
    let before = Clock::monotonic_ns();
    let Some(mut goroutines) = met(proc.path()) else {
        eprintln!("skipped: the kernel gives no map");
        return;
    };
    assert!(goroutines.list.has(7));
    assert!(!goroutines.serves_on_threads(7));
    assert!(!goroutines.are_told_apart(7, before));
    assert!(goroutines.are_told_apart(7, Clock::monotonic_ns() + 1));
    goroutines.check();
    assert!(goroutines.list.has(7), "it goes on");
    write_stat(proc.path(), 6);
    goroutines.check();
    assert!(
        !goroutines.list.has(7) && goroutines.is_new(7),
        "another process has its number"
    );
}

#[test]
fn another_program_serves_on_threads() {
    let program = std::env::current_exe().unwrap();
    let proc = procfs(&program, 5);
    let Some(goroutines) = met(proc.path()) else {
        eprintln!("skipped: the kernel gives no map");
        return;
    };
    assert!(!goroutines.list.has(7));
    assert!(goroutines.serves_on_threads(7) && goroutines.are_told_apart(7, 1));
}

//! `fathom profile` of a whole machine: stacks of programs without frame pointers, and of processes that are gone before anybody looks, end where
//! programs begin.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
};

/// What ends with the test, all that it started included: it is the leader of a process group.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A shell that runs `script`, in a process group of its own.
fn start(script: &str) -> Running {
    use std::os::unix::process::CommandExt as _;
    let child = Command::new("/bin/sh")
        .args(["-c", script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Running(child.expect("a shell starts"))
}

/// Whether the outermost frames, the root first, are what programs and threads begin with: `_start` of the program (which has no name in one without
/// symbols, and calls the C library's `__libc_start_main`) or of the dynamic linker, and the system call that begins a thread.
fn is_root(frames: &[&str]) -> bool {
    const ROOTS: [&str; 6] = [
        "_start",
        "_dl_start_user",
        "__GI___clone3",
        "__clone3",
        "__clone",
        "clone",
    ];
    match frames {
        [root, ..] if ROOTS.contains(root) => true,
        [root, main, ..] => root.starts_with('[') && main.starts_with("__libc_start_"),
        _ => false,
    }
}

/// Samples with user frames by program: how many there are, and how many are whole.
fn whole(folded: &str, programs: &[&str]) -> BTreeMap<String, (u64, u64)> {
    let mut found = BTreeMap::new();
    for line in folded.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
        let count: u64 = count.parse().expect("a count");
        let mut frames = stack.split(';');
        let program = frames.next().expect("a program");
        let user: Vec<_> = frames.filter(|frame| !frame.ends_with("_[k]")).collect();
        // In execve(2) the old program is gone and the new one has not begun.
        if !programs.contains(&program) || user.is_empty() || stack.contains("execve_[k]") {
            continue;
        }
        let (all, whole) = found.entry(program.to_owned()).or_insert((0, 0));
        *all += count;
        if is_root(&user) {
            *whole += count;
        } else {
            eprintln!("not whole: {line}");
        }
    }
    found
}

/// A compiler, an interpreter that calls deep into itself, and shells that live for some milliseconds: none keeps frame pointers.
#[test]
fn stacks_of_all_that_runs_reach_where_programs_begin() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIPPED stacks_of_all_that_runs_reach_where_programs_begin: to sample other processes takes root"
        );
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    // Under names that nothing else on the machine has.
    symlink("/bin/sh", path("whole-sh")).expect("linked");
    let python = Command::new("python3")
        .args([
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable))",
        ])
        .output()
        .expect("python3 is installed by `cargo xtask setup`");
    let python = String::from_utf8_lossy(&python.stdout).trim().to_owned();
    symlink(&python, path("whole-python")).expect("linked");
    let source = path("whole.c");
    let functions: String = (0..400)
        .map(|n| {
            format!("int f{n}(int x) {{ for (int i = 0; i < x; i++) x += i * {n}; return x; }}\n")
        })
        .collect();
    fs::write(&source, functions).expect("written");

    let shell = shown(&path("whole-sh"));
    let _storm = start(&format!(
        "while :; do {shell} -c 'i=0; while [ $i -lt 500 ]; do i=$((i+1)); done'; done"
    ));
    let deep = "def f(n): return 1 if n == 0 else f(n - 1) + sum(range(50))\nwhile True: f(20)";
    let _python = start(&format!(
        "exec {} -c '{deep}'",
        shown(&path("whole-python"))
    ));
    let _compiler = start(&format!(
        "while :; do cc -O2 -c {} -o {}; done",
        shown(&source),
        shown(&path("whole.o"))
    ));

    let output = path("all.folded");
    let ran = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["profile", "-d", "5", "--exclude-self", "--no-inlines", "-o"])
        .arg(&output)
        .output()
        .expect("fathom starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    eprintln!("{said}");
    let folded = fs::read_to_string(&output).expect("the file is there");
    let found = whole(&folded, &["whole-sh", "whole-python", "cc1"]);
    eprintln!("{found:?}");
    for program in ["whole-sh", "whole-python", "cc1"] {
        let &(all, _) = found.get(program).expect(program);
        assert!(all >= 20, "{program}: {found:?}");
    }
    let (all, whole) = found
        .values()
        .fold((0, 0), |(a, b), (all, whole)| (a + all, b + whole));
    assert!(
        whole * 100 >= all * 98,
        "{whole} of {all}: {found:?}\n{said}"
    );
}

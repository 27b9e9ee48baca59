//! `fathom profile` of programs that make code while they run, and of what they say of it in perf maps.

#![cfg(target_arch = "x86_64")]

use std::process::{Child, Command, Stdio};

/// Makes code (x86-64: `mov rcx, rdi; loop: dec rcx; jnz loop; ret`), says in a perf map what it is called, runs it for some seconds, and ends without leaving the map behind.
const SUBJECT: &str = r#"
import ctypes, mmap, os, time
code = bytes([0x48, 0x89, 0xf9, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xc3])
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
path = f"/tmp/perf-{os.getpid()}.map"
with open(path, "w") as map:
    map.write(f"{address:x} {len(code):x} {os.environ['NAME']}\n")
if os.environ.get("OLD"):
    os.utime(path, (1, 1))
run = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(address)
end = time.monotonic() + float(os.environ["SECONDS"])
open("/proc/self/comm", "w").write(os.environ["COMM"])
while time.monotonic() < end:
    run(2_000_000)
os.unlink(path)
"#;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn subject(name: &str, comm: &str, seconds: &str, is_old: bool) -> Running {
    let mut command = Command::new("python3");
    command
        .args(["-c", SUBJECT])
        .env("NAME", name)
        .env("COMM", comm)
        .env("SECONDS", seconds)
        .stdin(Stdio::null());
    if is_old {
        command.env("OLD", "1");
    }
    Running(command.spawn().expect("python3 is installed"))
}

/// Folded stacks of what has this name, and what was said.
fn profile(comm: &str, seconds: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .args(["profile", "--comm", comm, "--duration", seconds])
        .args(["--no-inlines", "--format", "folded", "-o", "-"])
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED {test}: to sample other processes takes root");
    }
    is_root
}

#[test]
fn a_process_that_ends_before_its_window_has_names_of_what_it_compiled() {
    if !is_root("a_process_that_ends_before_its_window_has_names_of_what_it_compiled") {
        return;
    }
    let mut subject = subject("JS:~made_while_running", "compiled-ends", "4", false);
    let (folded, said) = profile("compiled-ends", "7");
    // It had ended, and its map was gone, when names were given.
    let ended = subject.0.try_wait().expect("a child");
    assert!(ended.is_some_and(|status| status.success()));
    assert!(
        folded.contains("JS:~made_while_running"),
        "{folded}\n{said}"
    );
}

#[test]
fn a_map_that_is_older_than_its_process_is_said_and_not_taken() {
    if !is_root("a_map_that_is_older_than_its_process_is_said_and_not_taken") {
        return;
    }
    let _subject = subject("of_another_process", "compiled-old", "60", true);
    let (folded, said) = profile("compiled-old", "3");
    assert!(folded.contains("compiled-old;"), "{folded}\n{said}");
    assert!(!folded.contains("of_another_process"), "{folded}");
    assert!(said.contains("names nothing of what runs"), "{said}");
}

//! What this kernel has, by its own files: the truth that a tap's presence is judged against.

use std::{fs, path::Path, process::Command};

/// Why this kernel cannot have `tap`; none when it must work.
pub fn lacks(tap: &str) -> Option<&'static str> {
    let tracing = Tracing::mount();
    let has = |file: &str| tracing.has(file);
    match tap {
        // A trampoline hangs on ftrace's call at a function's start.
        "fentry" if !has("available_filter_functions") => Some("no function tracer"),
        "fentry" if refused_to_others() => Some("the kernel refuses fentry, to bpftrace as well"),
        "raw-tracepoint" if !has("events/sock/sock_send_length") => {
            Some("no tracepoint sock_send_length (since Linux 6.3)")
        }
        "kprobe" if !has("kprobe_events") => Some("no kprobes"),
        "syscall" if !has("events/raw_syscalls") => Some("no syscall tracepoints"),
        _ => None,
    }
}

/// Whether bpftrace, where it is installed, can't attach to a function's entry either. A kernel may refuse what its files
/// promise.
fn refused_to_others() -> bool {
    Command::new("bpftrace")
        .args(["-e", "kfunc:tcp_sendmsg { } BEGIN { exit(); }"])
        .output()
        .is_ok_and(|output| !output.status.success())
}

/// tracefs, mounted for as long as it is asked.
struct Tracing {
    dir: Option<tempfile::TempDir>,
}

impl Tracing {
    fn mount() -> Self {
        let dir = tempfile::tempdir().ok();
        if let Some(dir) = &dir {
            let _ = Command::new("mount")
                .args(["-t", "tracefs", "tracefs"])
                .arg(dir.path())
                .status();
        }
        Self { dir }
    }

    fn has(&self, file: &str) -> bool {
        self.dir
            .as_ref()
            .is_some_and(|dir| fs::metadata(dir.path().join(file)).is_ok())
            || Path::new("/sys/kernel/tracing").join(file).exists()
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            let _ = Command::new("umount").arg(dir.path()).status();
        }
    }
}

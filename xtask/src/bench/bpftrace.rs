//! The yardstick: bpftrace programs that only count, on the system calls' exits that the syscall tap watches.
//!
//! Nothing that watches these tracepoints can cost less, so this row is the floor of that tap.

use std::{
    fs::{self, File},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::process::Running;
use crate::shell;

/// The tracepoints of agent/src/probes/net.rs.
const CALLS: [&str; 11] = [
    "read",
    "write",
    "readv",
    "writev",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "sendfile64",
];

/// A running bpftrace.
pub struct Counter {
    process: Running,
    output: std::path::PathBuf,
}

impl Counter {
    /// Starts it and waits until it counts. It sees debugfs in a mount namespace of its own, for it may not be mounted.
    pub fn start() -> Result<Self> {
        let bpftrace = shell::find("bpftrace").context("no bpftrace: run `cargo xtask setup`")?;
        let probes = CALLS
            .map(|call| format!("tracepoint:syscalls:sys_exit_{call}"))
            .join(",");
        let program = format!(
            "{probes} {{ @calls = count(); }} interval:ms:200 {{ printf(\"counting\\n\"); }}"
        );
        let output = shell::target().join("bench/bpftrace.out");
        let log = File::create(&output)?;
        let mut process = Running::start(
            shell::command("unshare")
                .args(["--mount", "sh", "-c"])
                .arg("mount -t debugfs debugfs /sys/kernel/debug && exec \"$0\" -e \"$1\"")
                .arg(bpftrace)
                .arg(program)
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let start = Instant::now();
        while !fs::read_to_string(&output)?.contains("counting") {
            ensure!(
                process.ended()?.is_none() && start.elapsed() < Duration::from_secs(20),
                "bpftrace does not count: {}",
                fs::read_to_string(&output)?.trim()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { process, output })
    }

    /// Ends it; it must have counted `requests` calls at least, or it was no yardstick.
    pub fn stop(mut self, requests: f64) -> Result<()> {
        self.process.stop("INT")?;
        let text = fs::read_to_string(&self.output)?;
        let counted: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("@calls: ")?.parse().ok())
            .with_context(|| format!("bpftrace gave no count: {}", text.trim()))?;
        ensure!(
            counted >= requests,
            "bpftrace counted {counted} calls for {requests} requests"
        );
        Ok(())
    }
}

//! Programs that do nothing, on the events that fathom's are on: what is left to save.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// The events of a connection as the raw tracepoint tap and the flow tap are attached to them where the kernel refuses fexit, each as often as they are. With
/// a tracepoint of a system call each system call of each process takes the kernel's slower way (`SYSCALL_WORK_SYSCALL_TRACEPOINT`).
const EVENTS: [&str; 7] = [
    "inet_sock_set_state",
    "inet_sock_set_state",
    "sock_send_length",
    "sock_recv_length",
    "syscalls/sys_exit_accept",
    "syscalls/sys_exit_accept4",
    "syscalls/sys_exit_connect",
];

/// They are attached as long as this lives.
pub struct Empty(Child);

impl Empty {
    pub fn attach() -> Result<Self> {
        let script = shell::root().join("tests/python/empty_programs.py");
        let mut child = shell::command("python3")
            .arg(script)
            .args(EVENTS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start python3")?;
        let stdout = child.stdout.take().context("no output")?;
        let empty = Self(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line.trim() == EVENTS.len().to_string(),
            "the empty programs are not attached; this takes Linux 6.3 or later on x86-64"
        );
        Ok(empty)
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

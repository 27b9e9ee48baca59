//! perf on the same programs at the same time, unwinding over DWARF from copies of their stacks.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::stacks::{Stack, perf_script};
use crate::path::find;

/// perf at work; it ends by itself.
pub struct Perf {
    child: Child,
    program: PathBuf,
    data: PathBuf,
}

impl Perf {
    /// Starts it, where there is one.
    pub fn start(pids: &[String], seconds: u64, dir: &Path) -> Result<Option<Self>> {
        let Some(program) = find("perf") else {
            return Ok(None);
        };
        let data = dir.join("perf.data");
        let child = Command::new(&program)
            .args(["record", "--quiet", "-e", "cpu-clock", "-F", "100"])
            // Twice the default: a hundred frames are to fit.
            .args(["--call-graph", "dwarf,16384"])
            .args(["-p", &pids.join(","), "-o"])
            .arg(&data)
            .args(["--", "sleep", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start perf")?;
        Ok(Some(Self {
            child,
            program,
            data,
        }))
    }

    /// Waits for its end; gives back what it has seen.
    pub fn stacks(mut self) -> Result<Vec<Stack>> {
        let status = self.child.wait()?;
        ensure!(status.success(), "perf record ended with {status}");
        let output = Command::new(&self.program)
            .args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "-i"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "perf script ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(perf_script(&String::from_utf8_lossy(&output.stdout)))
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        // It has ended where its stacks were taken.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

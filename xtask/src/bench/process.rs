//! Processes that this task started: their children, and their end.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The children of process `pid`.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

/// Compiles one of tests/programs into target/bench.
pub fn compile(name: &str) -> Result<PathBuf> {
    let folder = shell::target().join("bench");
    fs::create_dir_all(&folder)?;
    let program = folder.join(name);
    shell::run(
        shell::command("cc")
            .args(["-O1", "-Wall", "-o"])
            .arg(&program)
            .arg(format!("tests/programs/{name}.c")),
    )?;
    Ok(program)
}

/// A process that ends with this value at the latest.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Starts a server that lives as long as its standard input is open, and gives back the first line that it says.
    pub fn serve(command: &mut Command) -> Result<(Self, String)> {
        let program = command.get_program().to_owned();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut running = Self { child };
        let said = running.child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(said)
            .read_line(&mut line)
            .with_context(|| format!("{} says nothing", program.display()))?;
        Ok((running, line))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its status when it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends `signal` (`TERM`, `INT`) and waits for the end.
    pub fn stop(&mut self, signal: &str) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let pid = self.pid().to_string();
        Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .context("cannot start kill")?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("process {pid} is still there 20 s after SIG{signal}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Asked first: nginx's workers would outlive a master that is killed. It may have ended since: then there is nothing left to do.
            let _ = self.stop("TERM");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

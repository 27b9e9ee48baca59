//! Programs that run for a bounded time, and are ended on every way out.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::path::find;

/// For how long a client may do its plan, on an emulated processor, too.
const LIMIT: Duration = Duration::from_secs(120);

/// For how long a server may take to end.
const END: Duration = Duration::from_secs(5);

/// A child that does not outlive this.
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Writes to its standard input, which is a pipe.
    pub fn tell(&mut self, text: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no pipe to it")?;
        input
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write to {}", self.name))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Ends its standard input.
    pub fn hang_up(&mut self) {
        self.child.stdin.take();
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {} s", self.name, limit.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: nginx's workers would outlive a master that is killed. Whatever has ended already is not there to be asked.
        self.child.stdin.take();
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::TERM);
            if self.wait(END).is_err() {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// A command for a program of this machine, with nothing to read.
pub fn command(program: &str) -> Result<Command> {
    let path = find(program).with_context(|| format!("no {program} on this machine"))?;
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end; gives back what it wrote on standard output.
pub fn run(command: Command) -> Result<String> {
    let (status, output, errors) = finish(command)?;
    ensure!(status.success(), "it ended with {status}: {output}{errors}");
    Ok(output)
}

/// Runs a command to its end, whatever that is; gives back what it wrote on standard output and on standard error.
pub fn finish(mut command: Command) -> Result<(ExitStatus, String, String)> {
    // Files, for a pipe that nobody reads would fill.
    let dir = tempfile::tempdir()?;
    let (output, errors) = (dir.path().join("output"), dir.path().join("errors"));
    command
        .stdout(File::create(&output)?)
        .stderr(File::create(&errors)?);
    let mut running = Running::start(command)?;
    let read = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
    };
    let status = running
        .wait(LIMIT)
        .with_context(|| read(&errors).unwrap_or_default())?;
    Ok((status, read(&output)?, read(&errors)?))
}

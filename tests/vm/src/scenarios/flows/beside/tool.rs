//! Another tool that runs beside fathom.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{bpf::Objects, path};

/// These tools look for tracefs where systems have it mounted; here it is, for the tool alone.
const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec \"$0\" \"$@\"";

/// For how long a tool may load, and how long behind that it may attach, before patience is applied.
const LOAD_LIMIT: Duration = Duration::from_secs(5);
const ATTACH: Duration = Duration::from_millis(500);

/// A running tool.
pub struct Tool {
    name: &'static str,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Tool {
    /// Starts it and waits until its programs are loaded; an error with its own words where they can't be.
    pub fn start(
        name: &'static str,
        arguments: &[&str],
        dir: &Path,
        patience: u32,
    ) -> Result<Self> {
        let program =
            path::find(name).with_context(|| format!("no {name}: install libbpf-tools"))?;
        let (output, log) = (dir.join(name), dir.join(format!("{name}.log")));
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", SCRIPT])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start unshare")?;
        let mut tool = Self {
            name,
            child,
            output,
            log,
        };
        let deadline = Instant::now() + LOAD_LIMIT * patience;
        while !tool.has_loaded() {
            tool.still_runs()?;
            ensure!(Instant::now() < deadline, "{name} loads no program");
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(ATTACH * patience);
        tool.still_runs()?;
        Ok(tool)
    }

    fn has_loaded(&self) -> bool {
        Objects::of(self.child.id()).is_ok_and(|objects| !objects.programs.is_empty())
    }

    fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            bail!(
                "{} does not run here ({status}): {}",
                self.name,
                said.lines().last().unwrap_or("it says nothing")
            );
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does, and gives back what it wrote.
    pub fn stop(&mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("cannot signal it")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        fs::read_to_string(&self.output).context("no output")
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! When requests were on the wire: `tests/subjects/wire.py`, for programs that don't let their own connection be timed.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{process::Running, program::sources, truth};

/// For how long it may take to start, and to read what it has taken.
const LIMIT: Duration = Duration::from_secs(20);

/// The interpreter; nothing but Python's own library is needed.
const PYTHON: &str = "python3";

/// Packets are being taken.
pub struct Wire {
    running: Running,
    output: PathBuf,
}

impl Wire {
    /// Starts taking those to and from `port`; notes go to `output` and beside it.
    pub fn tap(port: u16, output: PathBuf) -> Result<Self> {
        let errors = output.with_extension("errors");
        let mut command = Command::new(crate::path::find(PYTHON).context("no python3")?);
        command
            .arg(sources().join("wire.py"))
            .args(["--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?);
        let mut running = Running::start(command)?;
        let deadline = Instant::now() + LIMIT;
        while !fs::read_to_string(&output)?.contains('\n') {
            if running.ended()?.is_some() || Instant::now() >= deadline {
                bail!("it takes no packets: {}", fs::read_to_string(&errors)?);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { running, output })
    }

    /// Looks at what was taken: how long each request took, seconds.
    pub fn times(mut self) -> Result<Vec<f64>> {
        self.running.hang_up();
        self.running.wait(LIMIT)?;
        let text = fs::read_to_string(&self.output)?;
        let (_, lines) = text.split_once('\n').unwrap_or_default();
        Ok(truth::parse(lines).context("not what it writes")?.times)
    }
}

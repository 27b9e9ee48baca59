//! The server that does no work, and the client that asks it: tests/programs/echo.c.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Keep-alive connections.
const CONNECTIONS: &str = "4";

/// A running server, which ends with this.
pub struct Echo {
    child: Child,
    program: PathBuf,
    port: String,
}

impl Echo {
    /// Starts the server on a port of its own; the compiled program lies in `programs`.
    pub fn start(programs: &Path) -> Result<Self> {
        let program = programs.join("echo");
        let mut child = Command::new(&program)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("no pipe")?;
        let mut echo = Self {
            child,
            program,
            port: String::new(),
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        line.trim().clone_into(&mut echo.port);
        ensure!(!echo.port.is_empty(), "the server printed no port");
        Ok(echo)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Answers that a client got within `seconds`.
    pub fn ask(&self, seconds: u32) -> Result<f64> {
        let output = Command::new(&self.program)
            .args(["ask", &self.port, CONNECTIONS, &seconds.to_string()])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        ensure!(
            output.status.success(),
            "the client failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let answers = String::from_utf8_lossy(&output.stdout).trim().parse();
        answers.context("the client printed no count")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended since: then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

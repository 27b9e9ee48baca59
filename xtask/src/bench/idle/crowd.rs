//! The connections: tests/programs/crowd.c, as often as one process's limit on open files asks for.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::super::process;
use crate::shell;

/// Connections of one process: many systems let one have twice as many open files.
const MOST: u32 = 8_000;

/// What the connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1.
    Http,
    /// Something else.
    Other,
    /// Nothing.
    Silent,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Http, Self::Other, Self::Silent];

    /// What a table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP/1.1, one exchange each",
            Self::Other => "not HTTP, one message each way",
            Self::Silent => "nothing was said",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Other => "other",
            Self::Silent => "silent",
        }
    }
}

/// Open connections; they end with this.
pub struct Crowd(Vec<Part>);

struct Part {
    child: Child,
    /// Its end ends the program.
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Crowd {
    /// Opens so many, as fast as it goes.
    pub fn open(kind: Kind, connections: u32) -> Result<Self> {
        Self::open_at(kind, connections, 0)
    }

    /// Opens so many, at most `per_second` in a second; with 0, as [`Crowd::open`].
    pub fn open_at(kind: Kind, connections: u32, per_second: u32) -> Result<Self> {
        let program = process::compile("crowd")?;
        let mut left = connections;
        let mut crowd = Self(Vec::new());
        while left > 0 {
            let count = left.min(MOST);
            left -= count;
            crowd.0.push(Part::open(&program, kind, count, per_second)?);
        }
        Ok(crowd)
    }

    /// Makes one more exchange on each.
    pub fn use_once(&mut self) -> Result<()> {
        for part in &mut self.0 {
            writeln!(part.orders)?;
            part.hear("round")?;
        }
        Ok(())
    }
}

impl Part {
    /// Starts a process and waits for its connections.
    fn open(program: &Path, kind: Kind, count: u32, per_second: u32) -> Result<Self> {
        let mut child = shell::command(program)
            .args([&count.to_string(), kind.word(), &per_second.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the crowd")?;
        let orders = child.stdin.take().context("no pipe")?;
        let said = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut part = Self {
            child,
            orders,
            said,
        };
        part.hear(&format!("open {count}"))?;
        Ok(part)
    }

    fn hear(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(
            line.trim_end() == expected,
            "the crowd says {line:?} instead of {expected:?}"
        );
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Its server goes with it. Where it is gone already both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The client, `tests/subjects/overflow_client.py`, told over its standard input what to ask; and how far the server has got.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    receiver,
    subjects::program::{Ground, Server, sources},
};

/// A running client.
pub struct Client {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
    service: String,
    connections: u64,
    asked: u64,
}

impl Client {
    /// Starts one that opens so many connections to `server`.
    pub fn start(
        ground: &Ground,
        name: &str,
        asks: &str,
        (server, secure): (&Server, bool),
        connections: u64,
    ) -> Result<Self> {
        let service = format!("overflow-{name}-{}", std::process::id());
        let mut command = Command::new(receiver::interpreter()?);
        command
            .arg("-B")
            .arg(sources().join("overflow_client.py"))
            .args([asks, &server.port.to_string(), &connections.to_string()])
            .env("OTEL_SERVICE_NAME", &service)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if secure {
            let certificate = ground.certificate.as_ref().context("no certificate")?;
            command.arg(&certificate.certificate);
        }
        let mut child = command.spawn().context("cannot start the client")?;
        let orders = child.stdin.take().context("no pipe")?;
        let said = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self {
            child,
            orders,
            said,
            service,
            connections,
            asked: 0,
        })
    }

    /// The name under which fathom knows it.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Requests that it was told to make, of which each was answered once [`Self::wait`] has returned.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Has it ask so often on each of its connections.
    pub fn ask(&mut self, requests: u64) -> Result<()> {
        self.asked += requests * self.connections;
        writeln!(self.orders, "{requests}").context("the client is gone")
    }

    /// Has it open so many connections, with one request on each.
    pub fn ask_on_new_connections(&mut self, requests: u64) -> Result<()> {
        self.asked += requests;
        writeln!(self.orders, "fresh {requests}").context("the client is gone")
    }

    /// Waits until it has heard the answers to what it was last told to ask.
    pub fn wait(&mut self) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let heard = line.trim().strip_prefix("done ").map(str::parse);
        ensure!(
            heard == Some(Ok(self.asked)),
            "the client was told to ask {} times and says {line:?}",
            self.asked
        );
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Gone already where it failed; then both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log that is read while it grows.
pub struct Progress {
    log: File,
    lines: u64,
}

impl Progress {
    /// Of the log at `path`, from its start.
    pub fn of(path: &Path) -> Result<Self> {
        let log = File::open(path).with_context(|| format!("no log {}", path.display()))?;
        Ok(Self { log, lines: 0 })
    }

    /// Waits until `count` lines were added since the last call returned, or since the start.
    pub fn wait(&mut self, count: u64, limit: Duration) -> Result<()> {
        let goal = self.lines + count;
        let deadline = Instant::now() + limit;
        let mut added = Vec::new();
        loop {
            added.clear();
            self.log.read_to_end(&mut added)?;
            self.lines += added.iter().filter(|&&byte| byte == b'\n').count() as u64;
            if self.lines >= goal {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {goal} answers within {} s",
                self.lines,
                limit.as_secs()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

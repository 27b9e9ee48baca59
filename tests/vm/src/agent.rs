//! An agent under test: started, waited for, scraped, ended.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    context::{Context, free_port},
    metrics::{self, Metrics},
};

/// For how long an agent may load and attach, before patience is applied.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// For how long an agent may take to end after SIGTERM, before patience is applied: as long as Kubernetes and systemd give it (deploy/). The kernel removes its
/// probes one after the other.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running `fathom agent`.
pub struct Agent {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    ready_after: Duration,
    patience: u32,
}

impl Agent {
    /// Starts an agent with the context's tap and waits until it is ready.
    pub fn start(context: &Context, arguments: &[&str]) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = context.dir().join("agent.log");
        let mut command = Command::new(&context.fathom);
        command.args(["agent", "--no-table", "--listen", &address.to_string()]);
        if let Some(tap) = &context.tap {
            command.args(["--tap", tap]);
        }
        // In a guest each program takes its time to verify. What watches TLS there says so.
        if context.patience > 1 && !arguments.contains(&"--capabilities") {
            command.args(["--capabilities", "net,profile,gpu"]);
        }
        command
            .args(arguments)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", context.fathom.display()))?;
        let mut agent = Self {
            child,
            address,
            log,
            ready_after: Duration::ZERO,
            patience: context.patience,
        };
        agent.wait_until_ready(started)?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self, started: Instant) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}: {}", self.log());
            }
            // Asked only then: an exchange that is under way while the taps are attached would be half seen.
            if self.log().contains("ready after") {
                self.ready_after = started.elapsed();
                let (status, _) = metrics::get(self.address, "/readyz")?;
                ensure!(
                    status == 200,
                    "it says that it is ready, and /readyz {status}"
                );
                return Ok(());
            }
            if started.elapsed() > READY_LIMIT * self.patience {
                bail!(
                    "the agent was not ready after {} s: {}",
                    started.elapsed().as_secs(),
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From its start to the first /readyz that says so.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A scrape of /metrics.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(self.address).with_context(|| format!("cannot scrape: {}", self.log()))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Scrapes until `holds` or until it has waited for what a quiet agent needs to hand everything on; then once more, with
    /// the reason as an error.
    pub fn settle(&self, mut holds: impl FnMut(&Metrics) -> Result<()>) -> Result<Metrics> {
        let deadline = Instant::now() + Duration::from_secs(5) * self.patience;
        loop {
            let metrics = Metrics::scrape_quietly(self.address)
                .with_context(|| format!("cannot scrape: {}", self.log()))?;
            match holds(&metrics) {
                Ok(()) => return Ok(metrics),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Ends it with SIGTERM; it must end with exit code 0 and in time.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait(STOP_LIMIT * self.patience)?;
        if !status.success() {
            bail!(
                "the agent ended with {status} after SIGTERM: {}",
                self.log()
            );
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).context("cannot signal the agent")
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the agent did not end within {} s of SIGTERM: {}",
                    limit.as_secs(),
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Already gone after `stop` and `kill`; then both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that stands still for as long as this lives.
pub struct Paused(Pid);

impl Paused {
    /// Stops `pid`.
    pub fn new(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.context("no process id")?;
        kill_process(pid, Signal::STOP).context("cannot stop the agent")?;
        Ok(Self(pid))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // Where it is gone, whoever waits for it will say so.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

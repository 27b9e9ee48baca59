//! The `fathom flows --json` under test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    line::{Ends, Line},
    note::Note,
};
use crate::context::Context;

/// For how long attaching or the last lines may take, before patience is applied.
const LIMIT: Duration = Duration::from_secs(15);

/// All that `fathom flows` showed.
pub struct Shown {
    /// Its lines.
    pub lines: Vec<Line>,
    /// What it says it may have missed.
    pub kept: Kept,
    /// What it says at its end of what it showed and lost.
    pub sum: String,
}

/// What the kernel kept from the programs.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Changes of state.
    pub changes: u64,
    /// Calls; one may have been the first to move a byte.
    pub calls: u64,
}

/// A running `fathom flows --json`.
pub struct Flows {
    child: Child,
    output: BufReader<File>,
    /// The beginning of a line that is not whole yet.
    begun: String,
    lines: Vec<Line>,
    log: PathBuf,
    patience: u32,
    /// Where the connections go that show whether it is attached. It is held until the end, or another connection of the scenario's may have its address, and these
    /// would be taken for one that nobody noted.
    probe: TcpListener,
}

impl Flows {
    /// Starts it and waits until it shows a connection made for the purpose: then its probes are attached. What stays open is to be reported every `interval`.
    pub fn start(context: &Context, interval: Duration) -> Result<Self> {
        let output = context.dir().join("flows.jsonl");
        let log = context.dir().join("flows.log");
        let mut command = Command::new(&context.fathom);
        command.args(["flows", "--json", "--interval"]);
        command.arg(interval.as_secs().to_string());
        if let Some(tap) = &context.tap {
            command.args(["--tap", tap]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", context.fathom.display()))?;
        let mut flows = Self {
            child,
            output: BufReader::new(File::open(&output)?),
            begun: String::new(),
            lines: Vec::new(),
            log,
            patience: context.patience,
            probe: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        flows.wait_until_attached()?;
        Ok(flows)
    }

    fn wait_until_attached(&mut self) -> Result<()> {
        let address = self.probe.local_addr()?;
        let deadline = Instant::now() + LIMIT * self.patience;
        loop {
            drop(TcpStream::connect(address)?);
            drop(self.probe.accept()?);
            thread::sleep(Duration::from_millis(20));
            self.read()?;
            if self.lines.iter().any(|line| line.remote == address) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("fathom flows ended with {status}: {}", self.log());
            }
            ensure!(
                Instant::now() < deadline,
                "fathom flows shows no connection: {}",
                self.log()
            );
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Reads the whole lines that were written since.
    fn read(&mut self) -> Result<()> {
        while self.output.read_line(&mut self.begun)? > 0 {
            if self.begun.ends_with('\n') {
                let line = serde_json::from_str(&self.begun)
                    .with_context(|| format!("not a flow: {}", self.begun))?;
                self.lines.push(line);
                self.begun.clear();
            }
        }
        Ok(())
    }

    /// Waits until the end of every connection in `notes` has been shown, or the time is up: what is then missing is found
    /// by the comparison.
    pub fn wait_for(&mut self, notes: &[Note]) -> Result<()> {
        let ends: BTreeSet<Ends> = notes
            .iter()
            .map(|note| (note.netns, note.local, note.remote))
            .collect();
        let deadline = Instant::now() + LIMIT * self.patience;
        let (mut over, mut seen) = (0, 0);
        while Instant::now() < deadline {
            self.read()?;
            over += self.lines[seen..]
                .iter()
                .filter(|line| line.what.is_last() && ends.contains(&line.ends()))
                .count();
            seen = self.lines.len();
            if over >= notes.len() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does, and gives back all that it showed.
    pub fn stop(&mut self) -> Result<Shown> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("cannot signal it")?;
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "fathom flows ended with {status}: {}",
            self.log()
        );
        self.read()?;
        let probe = self.probe.local_addr()?;
        self.lines
            .retain(|line| line.local != probe && line.remote != probe);
        let log = self.log();
        let kept = log.split_once("the kernel kept ").and_then(|(_, rest)| {
            let (changes, rest) = rest.split_once(" changes of state and ")?;
            Some(Kept {
                changes: changes.parse().ok()?,
                calls: rest.split(' ').next()?.parse().ok()?,
            })
        });
        Ok(Shown {
            sum: log.lines().last().unwrap_or_default().to_owned(),
            lines: std::mem::take(&mut self.lines),
            kept: kept.with_context(|| format!("no count of what the kernel kept: {log}"))?,
        })
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The `fathom flows --json` under test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
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
    /// Records that found the ring full.
    pub records: u64,
}

/// A running `fathom flows --json`.
pub struct Flows {
    child: Child,
    /// What a thread reads of its output.
    output: Receiver<Result<Line>>,
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
        let log = context.dir().join("flows.log");
        let mut command = Command::new(&context.fathom);
        command.args(["flows", "--json", "--interval"]);
        command.arg(format!("{}ms", interval.as_millis()));
        if let Some(tap) = &context.tap {
            command.args(["--tap", tap]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", context.fathom.display()))?;
        let output = read(child.stdout.take().context("no pipe")?);
        let mut flows = Self {
            child,
            output,
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

    /// Takes the lines that were read since.
    fn read(&mut self) -> Result<()> {
        for line in self.output.try_iter() {
            self.lines.push(line?);
        }
        Ok(())
    }

    /// The lines that came since this was last called, but for those of the connections made for the purpose.
    pub fn take(&mut self) -> Result<Vec<Line>> {
        self.read()?;
        let probe = self.probe.local_addr()?;
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|line| line.local != probe && line.remote != probe);
        Ok(lines)
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
        // Its end of the pipe is closed: the thread ends, too.
        for line in self.output.iter() {
            self.lines.push(line?);
        }
        let log = self.log();
        let sum = log.lines().last().unwrap_or_default().to_owned();
        Ok(Shown {
            lines: self.take()?,
            kept: kept(&sum).with_context(|| format!("no count of what was lost: {log}"))?,
            sum,
        })
    }
}

/// What the last line of its log says: `12 records; 0 more found the ring buffer full; the kernel kept 0 changes of state and 0 calls from the programs`.
fn kept(sum: &str) -> Option<Kept> {
    let (_, rest) = sum.split_once(" records; ")?;
    let (records, rest) = rest.split_once(" more found the ring buffer full; the kernel kept ")?;
    let (changes, rest) = rest.split_once(" changes of state and ")?;
    Some(Kept {
        changes: changes.parse().ok()?,
        calls: rest.split(' ').next()?.parse().ok()?,
        records: records.parse().ok()?,
    })
}

/// Reads lines as they come, so that nobody waits for who reads them.
fn read(output: impl Read + Send + 'static) -> Receiver<Result<Line>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what it shows").and_then(|text| {
                serde_json::from_str(&text).with_context(|| format!("not a flow: {text}"))
            });
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Flows {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Connections of known sizes between two programs: each seen once on each end, with its exact bytes.
//!
//! The truth is what the two programs themselves read and wrote, which each notes down for each of its connections.

pub mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    io::BufRead as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use self::peers::Note;
use crate::context::Context;

/// Connections natively.
const FULL: u64 = 1000;

/// For how long attaching, the connections or the last lines may take, before patience is applied.
const LIMIT: Duration = Duration::from_secs(15);

/// A line of `fathom flows --json`, as far as it is compared.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    what: String,
    role: String,
    local: SocketAddr,
    remote: SocketAddr,
    bytes_sent: u64,
    bytes_received: u64,
    error: Option<String>,
    pid: Option<u32>,
}

pub fn run(context: &mut Context) -> Result<()> {
    let mut flows = Flows::start(context)?;
    let count = context.scaled(FULL, 200);
    let limit = LIMIT * context.patience;

    let own = env::current_exe()?;
    let server_notes = context.dir().join("server.jsonl");
    let client_notes = context.dir().join("client.jsonl");
    let mut server = Peer::start(
        Command::new(&own).arg("flow-server").arg(&server_notes),
        true,
    )?;
    let ports = server.ports.clone();
    let mut client = Peer::start(
        Command::new(&own)
            .arg("flow-client")
            .arg(&client_notes)
            .arg(count.to_string())
            .args(ports.iter().map(ToString::to_string)),
        false,
    )?;
    client.wait(limit)?;
    // The server ends when its last connection has.
    server.end(limit)?;
    let truth: Vec<(u32, Note)> = [
        (client.child.id(), &client_notes),
        (server.child.id(), &server_notes),
    ]
    .into_iter()
    .map(|(pid, file)| Ok(notes(file)?.into_iter().map(move |note| (pid, note))))
    .collect::<Result<Vec<_>>>()?
    .into_iter()
    .flatten()
    .collect();
    let refused = truth.iter().filter(|(_, note)| note.is_refused()).count();
    let expected = count as usize * 2 - refused;
    ensure!(
        truth.len() == expected,
        "the programs noted {} ends of {count} connections, {refused} of them refused",
        truth.len()
    );

    flows.wait_for(&truth, limit)?;
    let Shown { lines, kept } = flows.stop()?;
    let wrong = compare(&truth, &lines);
    // Where the kernel keeps changes of state from the programs, as one that preempts them does, at most as many are wrong.
    let allowed = if context.patience > 1 { kept } else { 0 };
    ensure!(
        wrong.len() as u64 <= allowed,
        "{} pairs of ends are wrong ({kept} changes of state were kept from the programs), the first: {}",
        wrong.len(),
        wrong[0]
    );
    context.fact("connections", count);
    context.fact("kept_changes", kept);
    context.fact("wrong", wrong.len());
    context.fact("refused", refused);
    let bytes: u64 = truth.iter().map(|(_, note)| note.sent).sum();
    context.fact("bytes", bytes);
    Ok(())
}

/// The two addresses of a connection, as one of its ends names them. The kernel is free to give a pair again to the next
/// connect when the one before was refused or reset, so there may be several connections of one pair.
type Ends = (SocketAddr, SocketAddr);

/// What is to be said of one end when its connection is over.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Over<'a> {
    what: &'a str,
    role: &'a str,
    error: Option<&'a str>,
    sent: u64,
    received: u64,
    /// Not of a connection that was refused: it never belonged to anyone.
    pid: Option<u32>,
}

impl<'a> Over<'a> {
    fn noted(pid: u32, note: &'a Note) -> Self {
        Self {
            what: if note.is_refused() {
                "failed"
            } else {
                "closed"
            },
            role: &note.role,
            error: note.error.as_deref(),
            sent: note.sent,
            received: note.received,
            pid: (!note.is_refused()).then_some(pid),
        }
    }

    fn shown(line: &'a Line) -> Self {
        Self {
            what: &line.what,
            role: &line.role,
            error: line.error.as_deref(),
            sent: line.bytes_sent,
            received: line.bytes_received,
            pid: if line.what == "failed" {
                None
            } else {
                line.pid
            },
        }
    }
}

/// The ends in the programs' notes that don't have their lines, once, with their bytes and their process; what of each is wrong.
fn compare(truth: &[(u32, Note)], lines: &[Line]) -> Vec<String> {
    let mut shown: BTreeMap<Ends, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        shown
            .entry((line.local, line.remote))
            .or_default()
            .push(line);
    }
    let mut noted: BTreeMap<Ends, Vec<&(u32, Note)>> = BTreeMap::new();
    for end in truth {
        noted
            .entry((end.1.local, end.1.remote))
            .or_default()
            .push(end);
    }
    noted
        .iter()
        .filter_map(|(ends, notes)| {
            let lines = shown.get(ends).map_or(&[][..], Vec::as_slice);
            let error = compare_ends(notes, lines).err()?;
            Some(format!("{notes:?}: {error}; the lines: {lines:?}"))
        })
        .collect()
}

/// The notes and the lines of one pair of ends.
fn compare_ends(notes: &[&(u32, Note)], lines: &[&Line]) -> Result<()> {
    let (established, over): (Vec<&&Line>, Vec<&&Line>) =
        lines.iter().partition(|line| line.what == "established");
    let mut expected: Vec<Over> = notes
        .iter()
        .map(|(pid, note)| Over::noted(*pid, note))
        .collect();
    let mut over: Vec<Over> = over.into_iter().map(|line| Over::shown(line)).collect();
    expected.sort_unstable();
    over.sort_unstable();
    ensure!(over == expected, "not ended as noted");
    let answered = notes.iter().filter(|(_, note)| !note.is_refused()).count();
    ensure!(
        established.len() == answered,
        "{} times established, not {answered}",
        established.len()
    );
    Ok(())
}

/// All that `fathom flows` showed.
struct Shown {
    lines: Vec<Line>,
    /// Changes of state that it says it may have missed.
    kept: u64,
}

/// A running `fathom flows --json`.
struct Flows {
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Flows {
    /// Starts it and waits until it shows a connection made for the purpose: then its probes are attached.
    fn start(context: &Context) -> Result<Self> {
        let output = context.dir().join("flows.jsonl");
        let log = context.dir().join("flows.log");
        let mut command = Command::new(&context.fathom);
        command.args(["flows", "--json"]);
        if let Some(tap) = &context.tap {
            command.args(["--tap", tap]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", context.fathom.display()))?;
        let mut flows = Self { child, output, log };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let deadline = Instant::now() + LIMIT * context.patience;
        loop {
            drop(TcpStream::connect(address)?);
            drop(listener.accept()?);
            thread::sleep(Duration::from_millis(20));
            if flows.lines()?.iter().any(|line| line.remote == address) {
                return Ok(flows);
            }
            if let Some(status) = flows.child.try_wait()? {
                bail!("fathom flows ended with {status}: {}", flows.log());
            }
            ensure!(
                Instant::now() < deadline,
                "fathom flows shows no connection: {}",
                flows.log()
            );
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The whole lines so far.
    fn lines(&self) -> Result<Vec<Line>> {
        let text = fs::read_to_string(&self.output)?;
        text.split_inclusive('\n')
            // Of those that were there before, no bytes are known.
            .filter(|line| line.ends_with('\n') && !line.contains("\"what\":\"existing\""))
            .map(|line| serde_json::from_str(line).with_context(|| format!("not a flow: {line}")))
            .collect()
    }

    /// Waits until the end of every connection in `truth` has been shown, or the time is up: what is then missing is found
    /// by the comparison.
    fn wait_for(&self, truth: &[(u32, Note)], limit: Duration) -> Result<()> {
        let ends: BTreeSet<Ends> = truth
            .iter()
            .map(|(_, note)| (note.local, note.remote))
            .collect();
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let over = self
                .lines()?
                .iter()
                .filter(|line| {
                    line.what != "established" && ends.contains(&(line.local, line.remote))
                })
                .count();
            if over >= truth.len() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does, and gives back all that it showed.
    fn stop(&mut self) -> Result<Shown> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("cannot signal it")?;
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "fathom flows ended with {status}: {}",
            self.log()
        );
        let log = self.log();
        let kept = log
            .split_once("the kernel kept ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Ok(Shown {
            lines: self.lines()?,
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

/// One of the two programs.
struct Peer {
    child: Child,
    ports: Vec<u16>,
}

impl Peer {
    /// Starts it; a server first says its ports in one line.
    fn start(command: &mut Command, says_ports: bool) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ports = Vec::new();
        if says_ports {
            let stdout = child.stdout.take().context("no output")?;
            let mut line = String::new();
            std::io::BufReader::new(stdout).read_line(&mut line)?;
            for port in line.split_whitespace() {
                ports.push(port.parse()?);
            }
        }
        Ok(Self { child, ports })
    }

    /// Tells it that no more will come, and waits for its end.
    fn end(&mut self, limit: Duration) -> Result<()> {
        drop(self.child.stdin.take());
        self.wait(limit)
    }

    fn wait(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "one of the programs ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "one of the programs is stuck");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn notes(file: &Path) -> Result<Vec<Note>> {
    fs::read_to_string(file)?
        .lines()
        .map(|line| serde_json::from_str(line).context("not a note"))
        .collect()
}

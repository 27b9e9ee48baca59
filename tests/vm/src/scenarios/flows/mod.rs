//! Connections of known sizes, beginnings and ends: each seen once on each end, as its programs saw it.
//!
//! The truth is what the programs at the ends themselves did and read, which each notes down for each of its connections; for round-trip times and retransmits it
//! is `ss -ti`.

pub mod asked;
pub mod beside;
mod cases;
mod compare;
mod end;
pub mod line;
mod note;
pub mod overflow;
mod peers;
pub mod resting;
mod ss;
pub mod watcher;

use std::{
    collections::BTreeMap,
    env,
    io::BufRead as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::{
    end::{End, listener, listener_v6, pair, part},
    note::{Note, Notes},
    watcher::{Flows, Kept, Shown},
};
use crate::context::Context;

/// Short connections natively.
const SHORT: u64 = 10_000;

/// Connections natively that stay open across several reports.
const LONG: u64 = 1000;

/// How often what is open is reported.
const INTERVAL: Duration = Duration::from_secs(2);

/// For how long a long connection is open, in intervals, and how often it is reported at least. What is opened while a report is made may miss that one; an emulated
/// processor may miss its time.
const ROUNDS: u64 = 4;
const EMULATED_ROUNDS: u64 = 8;
const ALIVE: usize = 2;

/// For how long a program may take, before patience is applied.
const LIMIT: Duration = Duration::from_mins(1);

/// A program that is an end of connections; `scenario` starts itself as each of them.
#[derive(clap::Subcommand)]
pub enum Program {
    /// Serve, until standard input ends
    Server {
        /// Where it notes what it read and wrote
        notes: PathBuf,
    },
    /// Make short connections
    Short {
        /// Where it notes what it read and wrote
        notes: PathBuf,
        /// How many
        count: u64,
        /// The server's ports for IPv4 and IPv6, and one where nobody listens
        #[arg(num_args = 3)]
        ports: Vec<u16>,
    },
    /// Make long connections
    Long {
        /// Where it notes what it read and wrote
        notes: PathBuf,
        /// How many
        count: u64,
        /// The server's ports for IPv4 and IPv6, and one where nobody listens
        #[arg(num_args = 3)]
        ports: Vec<u16>,
        /// For how many reports they are open
        #[arg(long)]
        rounds: u64,
    },
    /// Make connections of every kind
    Cases {
        /// Where it notes what it read and wrote
        notes: PathBuf,
        /// How many times longer than natively things may take
        patience: u32,
        /// Only these kinds
        only: Vec<String>,
    },
    /// Be a part of a case
    Part {
        /// Which
        part: cases::parts::Part,
        /// An address to speak to
        address: std::net::SocketAddr,
    },
}

impl Program {
    /// Does what it is for.
    pub fn run(self) -> Result<()> {
        let three = |ports: Vec<u16>| {
            <[u16; 3]>::try_from(ports).map_err(|_| anyhow::anyhow!("not three ports"))
        };
        match self {
            Self::Server { notes } => peers::server(&notes, ALIVE),
            Self::Short {
                notes,
                count,
                ports,
            } => peers::client(&notes, count, three(ports)?),
            Self::Long {
                notes,
                count,
                ports,
                rounds,
            } => peers::long_client(&notes, count, rounds, INTERVAL, ALIVE, three(ports)?),
            Self::Cases {
                notes,
                patience,
                only,
            } => cases::run(&notes, patience, &only),
            Self::Part { part, address } => cases::parts::run(part, address),
        }
    }
}

pub fn run(context: &mut Context) -> Result<()> {
    let existing = Existing::open()?;
    let mut flows = Flows::start(context, INTERVAL)?;
    let (short, long) = (context.scaled(SHORT, 400), context.scaled(LONG, 50));
    let limit = LIMIT * context.patience;
    let mut notes = many(context, short, long)?;
    let (cases, absent) = every_kind(context.dir(), context.patience, limit)?;
    notes.extend(cases);
    notes.extend(existing.close(context.dir())?);

    flows.wait_for(&notes)?;
    let Shown { lines, kept, sum } = flows.stop()?;
    let wrong = compare::wrong(&notes, &lines);
    context.fact("short", short);
    context.fact("long", long);
    context.fact("ends", notes.len());
    context.fact("kinds", cases::COUNT - absent.len());
    for (case, why) in absent {
        context.fact(&format!("not_here_{case}"), why);
    }
    context.fact("bytes", notes.iter().map(|note| note.sent).sum::<u64>());
    context.fact("kept_changes", kept.changes);
    context.fact("kept_calls", kept.calls);
    context.fact("sum", sum);
    context.fact("wrong", wrong.len());
    judge(context, &wrong, notes.len(), kept)
}

/// Where the kernel keeps changes of state from the programs, as one that preempts them does, at most as many are wrong; and where it keeps calls, at most as many
/// lack what only calls tell.
fn judge(context: &Context, wrong: &[String], of: usize, kept: Kept) -> Result<()> {
    let is_emulated = context.patience > 1;
    let allowed = |kept| if is_emulated { kept } else { 0 };
    let of_calls = wrong
        .iter()
        .filter(|wrong| compare::is_of_calls(wrong))
        .count() as u64;
    let others = wrong.len() as u64 - of_calls;
    ensure!(
        others <= allowed(kept.changes) && of_calls <= allowed(kept.calls),
        "{} of {of} ends are wrong ({kept:?}): {}",
        wrong.len(),
        some(wrong)
    );
    Ok(())
}

/// The first of what is wrong.
fn some(wrong: &[String]) -> String {
    const SHOWN: usize = 12;
    wrong[..wrong.len().min(SHOWN)].join("\n")
}

/// The short and the long connections.
fn many(context: &Context, short: u64, long: u64) -> Result<Vec<Note>> {
    let limit = LIMIT * context.patience;
    let file = |name: &str| context.dir().join(format!("{name}.jsonl"));
    let (of_server, of_short, of_long) = (file("server"), file("short"), file("long"));
    let mut server = Peer::start(&["server"], &of_server, &[])?;
    let ports = server.hear()?;
    let ports: Vec<&str> = ports.split_whitespace().collect();
    let client = |words: &[&str], notes: &Path, count: u64| {
        Peer::start(words, notes, &[&[&*count.to_string()], &*ports].concat())
    };
    let rounds = if context.patience > 1 {
        EMULATED_ROUNDS
    } else {
        ROUNDS
    };
    let mut long_client = client(&["long", "--rounds", &rounds.to_string()], &of_long, long)?;
    client(&["short"], &of_short, short)?.wait(limit)?;
    long_client.wait(limit)?;
    // The server ends when its last connection has.
    server.end(limit)?;
    let clients = [Notes::read(&of_short)?, Notes::read(&of_long)?].concat();
    ensure!(
        clients.len() as u64 == short + long,
        "the programs noted {} of {} connections",
        clients.len(),
        short + long
    );
    let servers = Notes::read(&of_server)?;
    let began = clients.iter().filter(|note| note.began).count();
    ensure!(
        servers.len() == began,
        "the server noted {} of {began} connections",
        servers.len()
    );
    Ok([clients, servers].concat())
}

/// One of each kind, and the kinds that can't be here, with the reason.
fn every_kind(
    dir: &Path,
    patience: u32,
    limit: Duration,
) -> Result<(Vec<Note>, BTreeMap<String, String>)> {
    let notes = dir.join("cases.jsonl");
    let mut cases = Peer::start(&["cases"], &notes, &[&patience.to_string()])?;
    cases.wait(limit)?;
    let absent = serde_json::from_str(&cases.hear()?)?;
    Ok((Notes::read(&notes)?, absent))
}

/// Connections that are there before fathom is.
struct Existing {
    pairs: Vec<(End, End)>,
    /// They go on listening: which end is the server's can be known only by that.
    _listeners: [TcpListener; 2],
}

/// How one of them ends.
#[derive(Clone, Copy)]
enum Ending {
    /// In order, after some more words.
    InOrder,
    /// With a RST, after some more words.
    Reset,
    /// With a RST and without a word: no call on the server's end tells whose it is.
    ResetAtRest,
}

impl Ending {
    const ALL: [Self; 3] = [Self::InOrder, Self::Reset, Self::ResetAtRest];
}

impl Existing {
    fn open() -> Result<Self> {
        let mut pairs = Vec::new();
        let listeners = [listener()?, listener_v6()?];
        for listener in &listeners {
            for _ in Ending::ALL {
                let (mut client, mut server) = pair("existing", listener)?;
                client.write(1234)?;
                server.read(1234)?;
                server.write(567)?;
                client.read(567)?;
                for end in [&mut client, &mut server] {
                    end.note.existing = true;
                    end.note.alive = ALIVE;
                }
                pairs.push((client, server));
            }
        }
        Ok(Self {
            pairs,
            _listeners: listeners,
        })
    }

    /// Ends them, in each of the ways as many.
    fn close(self, dir: &Path) -> Result<Vec<Note>> {
        let path = dir.join("existing.jsonl");
        let notes = Notes::create(&path)?;
        let endings = Ending::ALL.into_iter().cycle();
        for ((mut client, mut server), ending) in self.pairs.into_iter().zip(endings) {
            if !matches!(ending, Ending::ResetAtRest) {
                server.write(89)?;
                client.read(89)?;
            }
            match ending {
                Ending::InOrder => part(client, server, &notes)?,
                Ending::Reset | Ending::ResetAtRest => {
                    client.abort(&notes)?;
                    server.read_reset()?;
                    server.close(&notes)?;
                }
            }
        }
        Notes::read(&path)
    }
}

/// One of the programs.
struct Peer {
    child: Child,
    said: std::io::BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(words: &[&str], notes: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("flow")
            .args(words)
            .arg(notes)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a program of the scenario's")?;
        let said = std::io::BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, said })
    }

    /// The next line that it says.
    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        Ok(line)
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

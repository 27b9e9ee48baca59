//! Connections that end while they are asked where they stand, as often as can be: each begins once and ends once, and nothing follows its end.
//!
//! Where they stand is read beside whatever happens to them, on another CPU or in the middle of it. What is compared is what the connections' own program counted.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::sockopt;

use super::{
    compare::Story,
    line::Line,
    some,
    watcher::{Flows, Kept, Shown},
};
use crate::context::Context;

/// Connections natively, and at least.
const CONNECTIONS: u64 = 200_000;
const LEAST: u64 = 1000;

/// One begins so long after another at least: `fathom flows` writes lines of all of them, on the same processors.
const APART: Duration = Duration::from_micros(100);

/// How many of them are open at a time.
const OPEN: usize = 300;

/// Ports of the accepting ends, taken in turn: the connecting ends have some 28,000 for each.
const PORTS: usize = 8;

/// As often as `fathom flows` asks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where nothing comes for so long, before patience is applied, nothing is to come.
const QUIET: Duration = Duration::from_secs(1);

pub fn run(context: &mut Context) -> Result<()> {
    let count = context.scaled(CONNECTIONS, LEAST);
    let mut flows = Flows::start(context, INTERVAL)?;
    let listeners = (0..PORTS)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect::<Result<HashSet<_>>>()?;
    let mut ends = Ends {
        ports,
        open: HashMap::new(),
        over: HashSet::new(),
        wrong: Vec::new(),
        asked: 0,
        headless: 0,
    };

    let program = thread::spawn(move || come_and_go(&listeners, count));
    while !program.is_finished() {
        ends.take(flows.take()?);
        thread::sleep(Duration::from_millis(20));
    }
    program
        .join()
        .map_err(|_| anyhow::anyhow!("the program that connects has panicked"))??;
    let mut heard = Instant::now();
    while (ends.over.len() as u64) < 2 * count && heard.elapsed() < QUIET * context.patience {
        thread::sleep(Duration::from_millis(20));
        let lines = flows.take()?;
        if !lines.is_empty() {
            heard = Instant::now();
        }
        ends.take(lines);
    }
    let Shown { lines, kept, sum } = flows.stop()?;
    ends.take(lines);

    let missing = (2 * count).abs_diff(ends.over.len() as u64) + ends.headless;
    context.fact("connections", count);
    context.fact("asked", ends.asked);
    context.fact("missing", missing);
    context.fact("wrong", ends.wrong.len());
    context.fact("sum", sum);
    judge(context.patience > 1, &ends.wrong, missing, kept)
}

/// What is wrong with an end can't come of a record that was lost, but of a change that the kernel kept from the programs, which it does where one preempts them.
fn judge(is_emulated: bool, wrong: &[String], missing: u64, kept: Kept) -> Result<()> {
    let changes = if is_emulated { kept.changes } else { 0 };
    ensure!(
        wrong.len() as u64 <= changes,
        "{} ends are wrong ({kept:?}): {}",
        wrong.len(),
        some(wrong)
    );
    ensure!(
        missing <= changes + kept.records,
        "{missing} ends did not begin and end once ({kept:?})"
    );
    Ok(())
}

/// What was shown of the connections' ends, by id.
struct Ends {
    /// Of the accepting ones.
    ports: HashSet<u16>,
    open: HashMap<String, Vec<Line>>,
    over: HashSet<String>,
    wrong: Vec<String>,
    /// How often it was told where one stands.
    asked: u64,
    /// How many ended that were not told to begin.
    headless: u64,
}

impl Ends {
    fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            let is_own = [line.local, line.remote]
                .iter()
                .any(|end| self.ports.contains(&end.port()));
            if !is_own {
                continue;
            }
            if self.over.contains(&line.id) {
                self.wrong
                    .push(format!("id {}: behind its end comes {line:?}", line.id));
                continue;
            }
            let is_last = line.what.is_last();
            let id = line.id.clone();
            let lines = self.open.entry(id.clone()).or_default();
            lines.push(line);
            if is_last {
                let lines = self.open.remove(&id).unwrap_or_default();
                self.ends(id, &lines);
            }
        }
    }

    fn ends(&mut self, id: String, lines: &[Line]) {
        match Story::read(&lines.iter().collect::<Vec<_>>()) {
            Ok(story) => {
                self.asked += story.alive as u64;
                self.headless += u64::from(!story.established);
            }
            Err(error) => self.wrong.push(format!("id {id}: {error:#}: {lines:?}")),
        }
        self.over.insert(id);
    }
}

/// Makes connections one after the other, a few bytes each way on each, and ends each when so many came behind it: in order, or with a RST.
fn come_and_go(listeners: &[TcpListener], count: u64) -> Result<()> {
    let mut open = VecDeque::new();
    let begun = Instant::now();
    for (number, listener) in (0..count).zip(listeners.iter().cycle()) {
        let due = APART * u32::try_from(number)?;
        if let Some(ahead) = due.checked_sub(begun.elapsed())
            && ahead > Duration::from_millis(2)
        {
            thread::sleep(ahead);
        }
        let mut client = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
        let (mut server, _) = listener.accept().context("cannot accept")?;
        say(&mut client, &mut server)?;
        open.push_back((client, server));
        if open.len() > OPEN
            && let Some((client, server)) = open.pop_front()
        {
            if number % 2 == 0 {
                sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
            }
            drop((client, server));
        }
        // What moves is told.
        if let Some((client, server)) = open.front_mut() {
            say(server, client)?;
        }
    }
    Ok(())
}

fn say(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(b"a word")?;
    Ok(to.read_exact(&mut [0; 6])?)
}

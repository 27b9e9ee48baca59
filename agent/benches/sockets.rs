//! What it costs to list the machine's connections, with `tcp_info` and without: `cargo bench -p fathom --bench sockets` makes 100,000 connections over loopback
//! and lists them. It takes some seconds and about a gigabyte of the kernel's memory.
//!
//! The time is that of the processor, for the thread that lists (user and kernel), as others may be busy beside it.

use std::{
    env,
    hint::black_box,
    io::{self, BufRead as _, BufReader, Read as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fathom::net::sockets::{
    diag::{Extensions, Family, States},
    dump::{Dump, Error},
    listeners::Listeners,
};
use rustix::time::{ClockId, clock_gettime};

/// Connections; each is two sockets.
const CONNECTIONS: u32 = 100_000;

/// The same where only the benchmark itself is tried, not the kernel.
const TRIED: u32 = 500;

/// Connections of one process, both ends: twice as many descriptors are less than what a process is commonly allowed.
const OF_ONE: u32 = 9_000;

/// Lists of each kind.
const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<_> = env::args().collect();
    if let Some(count) = arguments.iter().skip_while(|word| *word != "hold").nth(1) {
        if let Err(error) = hold(count.parse().expect("a number")) {
            eprintln!("holding {count} connections: {error}");
        }
        return;
    }
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let mut left = if measured { CONNECTIONS } else { TRIED };
    let mut holders = Vec::new();
    while left > 0 {
        let count = left.min(OF_ONE);
        left -= count;
        holders.push(Holder::start(count).expect("a process that holds connections"));
    }
    let mut plain = Vec::new();
    let mut informed = Vec::new();
    for _ in 0..ROUNDS {
        plain.push(list(Extensions::NONE).expect("a list"));
        informed.push(list(Extensions::TCP_INFO).expect("a list"));
    }
    show("without tcp_info", plain);
    show("with tcp_info", informed);
    sweeps();
}

/// Makes so many connections, says so, and keeps them until its input ends.
fn hold(count: u32) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        connections.push((client, server));
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A process that holds connections.
struct Holder(Child);

impl Holder {
    fn start(count: u32) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["hold", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().map(BufReader::new);
        let holder = Self(child);
        let mut line = String::new();
        if let Some(mut said) = said {
            said.read_line(&mut line)?;
        }
        match line.trim() {
            "ready" => Ok(holder),
            _ => Err(io::Error::other("it ended before it had them")),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// How many sockets a list had, what it took of the processor, and how long it took.
type Listed = (u64, Duration, Duration);

fn list(extensions: Extensions) -> Result<Listed, Error> {
    let mut sockets = 0;
    let started = Instant::now();
    let before = cpu(ClockId::ThreadCPUTime);
    Dump::open()?.each(
        Family::V4,
        States::OPEN,
        extensions,
        started + Duration::from_secs(60),
        &mut |socket, details| {
            sockets += 1;
            black_box((socket, details.tcp_info()));
        },
    )?;
    let taken = cpu(ClockId::ThreadCPUTime) - before;
    Ok((sockets, taken, started.elapsed()))
}

fn cpu(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(
        u64::try_from(now.tv_sec).expect("not before 1970"),
        u32::try_from(now.tv_nsec).expect("less than a second"),
    )
}

fn show(kind: &str, mut listed: Vec<Listed>) {
    listed.sort_by_key(|&(_, taken, _)| taken);
    let each = |&(sockets, taken, _): &Listed| taken.as_secs_f64() * 1e9 / sockets as f64;
    let (least, median) = (&listed[0], &listed[listed.len() / 2]);
    println!(
        "{kind:<17} {} sockets: {:.0} ns each (median of {ROUNDS}; least {:.0}), {:.0} ms in all",
        median.0,
        each(median),
        each(least),
        median.2.as_secs_f64() * 1e3,
    );
}

/// The sweep over those who listen, on the same machine: with the walk that finds owners, and without.
fn sweeps() {
    let mut listeners = Listeners::new(Path::new("/proc"));
    for kind in ["first sweep", "next sweep"] {
        // It works on a thread of its own.
        let before = cpu(ClockId::ProcessCPUTime);
        let sweep = listeners.sweep().expect("a sweep");
        let taken = cpu(ClockId::ProcessCPUTime) - before;
        println!(
            "{kind:<17} {} listeners in {} namespaces: {:.2} ms of the processor, {} descriptors looked at",
            sweep.listeners.len(),
            sweep.namespaces,
            taken.as_secs_f64() * 1e3,
            sweep.walked.map_or(0, |walked| walked.descriptors),
        );
    }
}

//! What it costs to look up where a connection's packets arrive: `cargo bench -p fathom --bench conntrack`, as root, makes a network namespace with a service in it
//! (`unshare`, `ip` and `nft` of the system) and 500 connections to that, and looks them up.
//!
//! The time is that of the processor, for the thread that asks (user and kernel), as others may be busy beside it; the longest is by the clock.

use std::{
    env,
    hint::black_box,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use fathom::net::conntrack::{Conntrack, Destination, Protocol, State, Tuple};
use rustix::time::{ClockId, clock_gettime};

/// Connections, both ends of which are in this process; so few that their look-ups have room in the share of a second that look-ups may take.
const CONNECTIONS: usize = 500;

/// The same where only the benchmark itself is tried.
const TRIED: usize = 50;

/// Times that all are looked up, each with a memory of its own.
const ROUNDS: usize = 7;

/// A service that leads to this very namespace.
const SETUP: &str = "
ip link set lo up
ip addr add 10.1.0.1/32 dev lo
ip route add 10.96.0.0/16 dev lo
nft -f - <<'END'
table ip services {
  chain output {
    type nat hook output priority -100;
    ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.0.1:8080
  }
}
END
";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    if arguments
        .get(1)
        .is_some_and(|argument| argument == "inside")
    {
        if let Err(error) = inside(if measured { CONNECTIONS } else { TRIED }) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let own = env::current_exe().expect("a path");
    let run = Command::new("unshare")
        .arg("--net")
        .arg(own)
        .arg("inside")
        .args(&arguments[1..])
        .status();
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // Tried without leave to make a namespace: that is no fault of what is measured.
        _ if !measured => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn inside(count: usize) -> io::Result<()> {
    if !Command::new("sh").args(["-ec", SETUP]).status()?.success() {
        return Err(io::Error::other("the namespace can't be set up"));
    }
    let listener = TcpListener::bind("10.1.0.1:8080")?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect("10.96.0.10:80")?;
        connections.push((client, listener.accept()?.0));
    }
    let mut tuples = Vec::new();
    for (client, _) in &connections {
        tuples.push(Tuple {
            protocol: Protocol::TCP,
            source: client.local_addr()?,
            destination: client.peer_addr()?,
        });
    }
    // Each to a destination of its own, so that nothing is remembered of it.
    let mut absent = tuples.clone();
    for (at, tuple) in (1..).zip(&mut absent) {
        tuple.destination = SocketAddr::new([10, 96, 1, 1].into(), at);
    }
    let pod = Destination::Translated(([10, 1, 0, 1], 8080).into());
    show("one at a time", &tuples, 1, pod)?;
    show("in batches", &tuples, 32, pod)?;
    show("no entry, one", &absent, 1, Destination::Unknown)?;
    show("no entry, batches", &absent, 32, Destination::Unknown)?;
    Ok(())
}

/// Looks all up, so many at a time.
fn show(kind: &str, tuples: &[Tuple], batch: usize, wanted: Destination) -> io::Result<()> {
    let mut taken = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let mut conntrack = Conntrack::new(Path::new("/proc"));
        if conntrack.state() != State::Works {
            return Err(io::Error::other(conntrack.state().to_string()));
        }
        let before = cpu();
        let mut good = 0;
        for some in tuples.chunks(batch) {
            let started = Instant::now();
            conntrack.destinations(some, started, &mut |_, found| {
                good += usize::from(black_box(found) == wanted);
            });
            longest = longest.max(started.elapsed());
        }
        taken.push((cpu() - before).as_secs_f64() * 1e6 / tuples.len() as f64);
        if good != tuples.len() {
            return Err(io::Error::other(format!(
                "{kind}: {good} of {} are right",
                tuples.len()
            )));
        }
    }
    taken.sort_by(f64::total_cmp);
    println!(
        "{kind:<18} {:.2} µs each (median of {ROUNDS} times {}; least {:.2}), the longest call {:.0} µs",
        taken[taken.len() / 2],
        tuples.len(),
        taken[0],
        longest.as_secs_f64() * 1e6,
    );
    Ok(())
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).expect("not before 1970"),
        u32::try_from(now.tv_nsec).expect("less than a second"),
    )
}

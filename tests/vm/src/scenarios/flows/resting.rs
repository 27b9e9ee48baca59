//! Connections on which nothing moves: the kernel programs forget them and the agent keeps them, and what they do next goes on where they stood.
//!
//! Both ends of each are this program's, which counts what it writes, reads and ends.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::net::sockopt;

use super::peers::raise_limit;
use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    scenarios::{accounting, own},
};

/// Connections natively that are never used, that carry bytes of no known protocol, and that speak HTTP; and of each at least: one of each address, ending and
/// [`Fate`].
const SILENT: u64 = 81;
const STRANGE: u64 = 81;
const SPOKEN: u64 = 27;
const LEAST: u64 = 27;

/// How often what is open is reported: the least that there is.
const INTERVAL: Duration = Duration::from_secs(1);

/// After so long without a byte connections rest, or are shown not to: they do after two intervals, as seen at the end of one.
const REST: Duration = INTERVAL.saturating_mul(3);

/// What no protocol starts with: the first message of each end, one that the server leaves unread, and those of connections that rested.
const FIRST: &[u8] = &[0; 50];
const UNREAD: &[u8] = &[0; 700];
const ASKED: &[u8] = &[0; 3000];
const ANSWERED: &[u8] = &[0; 1100];

/// The paths that are asked for on connections that were just opened, and on those that had rested.
const OPENED: &str = "/opened";
const ROUSED: &str = "/roused";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ROLES: [&str; 2] = ["client", "server"];

pub fn run(context: &mut Context) -> Result<()> {
    raise_limit()?;
    let config = context.dir().join("resting.yaml");
    let interval = INTERVAL.as_secs();
    fs::write(&config, format!("flows:\n  interval: {interval}s\n"))?;
    let config = config.to_string_lossy().into_owned();
    let mut scene = Scene {
        agent: Agent::start(context, &["--config", &config, "--capabilities", "net"])?,
        service: own::service()?,
        truth: Truth::default(),
        all: Vec::new(),
    };
    let listeners = Listeners::new()?;
    for group in Group::ALL {
        for number in 0..group.count(context) {
            let connection = listeners.open(group, number, &mut scene.truth)?;
            scene.all.push(connection);
        }
    }

    scene.go_to_rest()?;
    let recognized = recognized(&scene.agent.metrics()?);
    // Only the ends that write have to wake.
    scene.wake(&[Fate::IsLeftUnread], 1, |connection, truth| {
        connection.ask(UNREAD, truth)
    })?;
    scene.wake(
        &[Fate::IsLeftUnread, Fate::IsUsed],
        2,
        |connection, truth| {
            connection.ask(ASKED, truth)?;
            connection.answer(ANSWERED, truth)
        },
    )?;
    scene.wake(&[Fate::Speaks], 2, |connection, truth| {
        connection.speak(ROUSED, truth)
    })?;
    let metrics = scene.rest_again()?;
    context.fact("connections", scene.all.len());
    context.fact("rested", parts(&metrics, "rested"));
    context.fact("woken", parts(&metrics, "woken"));
    let from_before = self::recognized(&metrics);
    ensure!(
        from_before == recognized,
        "{} that woke are taken for connections from before",
        from_before - recognized
    );
    scene.end()
}

/// An agent, and connections that it watches.
struct Scene {
    agent: Agent,
    service: String,
    truth: Truth,
    all: Vec<Connection>,
}

impl Scene {
    /// All rest but those that speak HTTP, each once, and none wakes by itself.
    fn go_to_rest(&self) -> Result<()> {
        let ends = self.truth.at_rest();
        // Once when they do, once when they have for a while.
        for _ in 0..2 {
            thread::sleep(REST);
            self.agent.settle(|metrics| {
                self.truth.holds(metrics, &self.service)?;
                let [rested, woken] = [parts(metrics, "rested"), parts(metrics, "woken")];
                ensure!(
                    [rested, woken] == [ends, 0],
                    "{rested} ends went to rest and {woken} woke, not {ends} and none: {}",
                    accounting::all(metrics)
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    /// When all rest, does something with those of some fates, of each of which so many ends wake at least.
    fn wake(
        &mut self,
        fates: &[Fate],
        ends: u64,
        mut with: impl FnMut(&mut Connection, &mut Truth) -> Result<()>,
    ) -> Result<()> {
        let mut least = parts(&self.rest_again()?, "woken");
        let meant = |connection: &&mut Connection| fates.contains(&connection.fate());
        for connection in self.all.iter_mut().filter(meant) {
            with(connection, &mut self.truth)?;
            least += ends;
        }
        self.agent.settle(|metrics| {
            self.truth.holds(metrics, &self.service)?;
            let woken = parts(metrics, "woken");
            ensure!(woken >= least, "{woken} ends woke, not {least}");
            Ok(())
        })?;
        Ok(())
    }

    /// All rest that can.
    fn rest_again(&self) -> Result<Metrics> {
        thread::sleep(REST);
        self.agent.settle(|metrics| {
            self.truth.holds(metrics, &self.service)?;
            self.truth.rest(metrics)
        })
    }

    /// All end, and with them the agent.
    fn end(mut self) -> Result<()> {
        for connection in self.all.drain(..) {
            connection.end(&mut self.truth)?;
        }
        self.agent.settle(|metrics| {
            self.truth.holds(metrics, &self.service)?;
            // An end at rest that is over rests no more.
            self.truth.rest(metrics)?;
            lossless(metrics, &self.service)?;
            accounting::check(metrics)
        })?;
        self.agent.stop()
    }
}

/// How often ends of connections went to rest, or woke.
fn parts(metrics: &Metrics, outcome: &str) -> u64 {
    accounting::of(metrics, "aggregator", "connections", Some(outcome))
}

/// Connections from before the agent that speak what it reads: none of these is one.
fn recognized(metrics: &Metrics) -> u64 {
    metrics.count(
        "fathom_connections_recognized_total",
        &[("origin", "existing")],
    )
}

/// Whether nothing was lost, and nothing found no room.
fn lossless(metrics: &Metrics, service: &str) -> Result<()> {
    let full = metrics.count(
        "fathom_events_total",
        &[("stage", "tap"), ("outcome", "connections_full")],
    );
    let records = accounting::of(metrics, "tap", "flows", Some("ring_full"));
    let labels = [("service_name", service), ("fathom_tcp_outcome", "lost")];
    let ends = metrics.count("fathom_tcp_connections_ended_total", &labels);
    ensure!(
        [full, records, ends] == [0; 3],
        "{full} connections found no room, {records} records and {ends} ends were lost"
    );
    Ok(())
}

/// What a connection is used for when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Nothing.
    Silent,
    /// A message each way, of no known protocol.
    Strange,
    /// A request and its answer: it does not rest.
    Spoken,
}

impl Group {
    const ALL: [Self; 3] = [Self::Silent, Self::Strange, Self::Spoken];

    fn count(self, context: &Context) -> u64 {
        let full = match self {
            Self::Silent => SILENT,
            Self::Strange => STRANGE,
            Self::Spoken => SPOKEN,
        };
        context.scaled(full, LEAST)
    }
}

/// What becomes of a connection after its first rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing.
    Stays,
    /// Bytes come and are not read; later they are, and more go both ways.
    IsLeftUnread,
    /// Bytes go both ways.
    IsUsed,
    /// It speaks HTTP.
    Speaks,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    ClientCloses,
    ClientResets,
    ServerCloses,
}

impl Ending {
    const ALL: [Self; 3] = [Self::ClientCloses, Self::ClientResets, Self::ServerCloses];
}

/// Both ends of a connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    group: Group,
    number: usize,
    /// Bytes that the server has not read.
    unread: usize,
    /// Whether it has spoken HTTP.
    speaks: bool,
}

impl Connection {
    /// Each nine, which are of each address and ending, have the same.
    fn fate(&self) -> Fate {
        match (self.group, self.number / 9 % 3) {
            (Group::Spoken, _) | (_, 0) => Fate::Stays,
            (_, 1) => Fate::IsLeftUnread,
            (Group::Silent, _) => Fate::Speaks,
            (Group::Strange, _) => Fate::IsUsed,
        }
    }

    fn ending(&self) -> Ending {
        Ending::ALL[self.number / 3 % Ending::ALL.len()]
    }

    /// The client writes, and nobody reads.
    fn ask(&mut self, bytes: &[u8], truth: &mut Truth) -> Result<()> {
        self.client.write_all(bytes)?;
        self.unread += bytes.len();
        truth.asked += bytes.len() as u64;
        Ok(())
    }

    /// The server reads all that there is and writes, and the client reads that.
    fn answer(&mut self, bytes: &[u8], truth: &mut Truth) -> Result<()> {
        self.server.read_exact(&mut vec![0; self.unread])?;
        self.unread = 0;
        self.server.write_all(bytes)?;
        self.client.read_exact(&mut vec![0; bytes.len()])?;
        truth.answered += bytes.len() as u64;
        Ok(())
    }

    /// A request and its answer.
    fn speak(&mut self, path: &'static str, truth: &mut Truth) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: resting\r\n\r\n");
        self.ask(request.as_bytes(), truth)?;
        self.answer(ANSWER, truth)?;
        self.speaks = true;
        truth.speaking += 1;
        *truth.exchanges.entry(path).or_default() += 1;
        Ok(())
    }

    /// Ends it, with both ends' outcomes.
    fn end(self, truth: &mut Truth) -> Result<()> {
        let ending = self.ending();
        let Self {
            client,
            server,
            speaks,
            ..
        } = self;
        let outcomes = match ending {
            Ending::ClientCloses => {
                drop(client);
                drop(server);
                ["closed", "closed"]
            }
            Ending::ClientResets => {
                sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
                drop(client);
                drop(server);
                ["aborted", "reset"]
            }
            Ending::ServerCloses => {
                drop(server);
                drop(client);
                ["closed", "closed"]
            }
        };
        truth.open -= 1;
        truth.speaking -= usize::from(speaks);
        for end in ROLES.into_iter().zip(outcomes) {
            *truth.ended.entry(end).or_default() += 1;
        }
        Ok(())
    }
}

/// Who accepts: over IPv4, over IPv6, and over IPv4 on a socket of IPv6. All listen until the end.
struct Listeners([(TcpListener, IpAddr); 3]);

impl Listeners {
    fn new() -> Result<Self> {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        Ok(Self([
            (
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
                Ipv4Addr::LOCALHOST.into(),
            ),
            (
                TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?,
                Ipv6Addr::LOCALHOST.into(),
            ),
            (
                TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?,
                mapped.into(),
            ),
        ]))
    }

    /// Opens one and uses it as its group is.
    fn open(&self, group: Group, number: u64, truth: &mut Truth) -> Result<Connection> {
        let number = usize::try_from(number)?;
        let (listener, address) = &self.0[number % self.0.len()];
        let client = TcpStream::connect((*address, listener.local_addr()?.port()))?;
        let (server, from) = listener.accept()?;
        ensure!(client.local_addr()? == from, "somebody else connected");
        let mut connection = Connection {
            client,
            server,
            group,
            number,
            unread: 0,
            speaks: false,
        };
        truth.open += 1;
        match group {
            Group::Silent => {}
            Group::Strange => {
                connection.ask(FIRST, truth)?;
                connection.answer(FIRST, truth)?;
            }
            Group::Spoken => connection.speak(OPENED, truth)?,
        }
        Ok(connection)
    }
}

/// What the connections' program did.
#[derive(Default)]
struct Truth {
    open: usize,
    /// Those of them that have spoken HTTP.
    speaking: usize,
    /// Bytes from the clients, and from the servers.
    asked: u64,
    answered: u64,
    /// Requests with their answers, by path.
    exchanges: BTreeMap<&'static str, u64>,
    /// Ends that are over, by role and outcome.
    ended: BTreeMap<(&'static str, &'static str), u64>,
}

impl Truth {
    /// Ends that are to rest.
    fn at_rest(&self) -> u64 {
        2 * (self.open - self.speaking) as u64
    }

    /// Whether these rest by the metrics: one more rest has begun than has ended of each.
    fn rest(&self, metrics: &Metrics) -> Result<()> {
        let ends = self.at_rest();
        let [rested, woken] = [parts(metrics, "rested"), parts(metrics, "woken")];
        ensure!(
            rested == woken + ends,
            "{rested} ends went to rest and {woken} woke, and {ends} are to rest: {}",
            accounting::all(metrics)
        );
        Ok(())
    }

    /// Whether the metrics say the same, as each side sees it.
    fn holds(&self, metrics: &Metrics, service: &str) -> Result<()> {
        let over = self.ended.values().sum::<u64>() / ROLES.len() as u64;
        own::connections(metrics, service, self.open, usize::try_from(over)?)?;
        // As many as there are have ended: none with another outcome.
        for (&(role, outcome), &expected) in &self.ended {
            let seen = counted(
                metrics,
                "fathom_tcp_connections_ended_total",
                &own::labels(service, role),
                ("fathom_tcp_outcome", outcome),
            );
            ensure!(
                seen == expected,
                "{seen} connections have ended as {role} with {outcome}, not {expected}"
            );
        }
        let [asked, answered] = [self.asked, self.answered];
        for (role, direction, expected) in [
            ("client", "transmit", asked),
            ("server", "receive", asked),
            ("server", "transmit", answered),
            ("client", "receive", answered),
        ] {
            let seen = counted(
                metrics,
                "fathom_tcp_io_bytes_total",
                &own::labels(service, role),
                ("network_io_direction", direction),
            );
            ensure!(
                seen == expected,
                "{seen} bytes have moved as {role} ({direction}), not {expected}"
            );
        }
        for (&path, &expected) in &self.exchanges {
            for (role, label) in ROLES.into_iter().zip(["url_template", "http_route"]) {
                let seen = counted(
                    metrics,
                    &format!("http_{role}_request_duration_seconds_count"),
                    &[("service_name", service)],
                    (label, path),
                );
                ensure!(
                    seen == expected,
                    "{seen} requests for {path} were seen as {role}, not {expected}: {}",
                    accounting::all(metrics)
                );
            }
        }
        Ok(())
    }
}

/// A count with one label more.
fn counted(metrics: &Metrics, name: &str, labels: &[(&str, &str)], more: (&str, &str)) -> u64 {
    metrics.count(name, &[labels, &[more]].concat())
}

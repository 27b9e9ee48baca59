//! A reader that stands still while a small ring fills up, again and again: what is lost is counted, what is not is right, and afterwards everything is seen again.
//!
//! The agent is stopped (SIGSTOP) in the middle of a load, until the load has gone far beyond what the ring holds. What is asked for has another status each
//! time, so that an exchange that is made of two halves shows as one that never happened. The load comes in each of the gears, plain and over TLS:
//!
//! | gear | what must be equal |
//! |---|---|
//! | turns | exchanges seen + exchanges counted as lost = requests answered, on each end: the numbers of messages have no gaps |
//! | frames | the same: the ids of streams rise by two |
//! | stream | nothing in a hole of a pipeline tells how many requests lay in it: what was open is counted as lost, and what follows until the connection was silent for a second |
//!
//! In all of them records are accounted for exactly (tap = ring = decoder), and once the reader keeps up again, new connections are seen in full, and so are
//! those that were open all the time.

mod client;

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use self::client::{Client, Progress};
use super::{
    accounting,
    seen::compare::{self, Verdict},
};
use crate::{
    agent::{Agent, Paused},
    context::Context,
    metrics::Metrics,
    receiver,
    subjects::{
        Certificate, Protocol, Seen, Subject,
        program::{Ground, Program, Server},
        truth::{Answers, total},
    },
};

/// The least that an agent takes, and with it the smallest ring: 2 MiB.
const MEMORY: &str = "16MiB";

/// Connections that stay open.
const CONNECTIONS: u64 = 8;

/// Requests that are answered while the reader stands still. Each leaves about 2.5 KiB in the ring.
const PAUSED: u64 = 2000;

/// How often it stands still in a load.
const PAUSES: u64 = 3;

/// Requests that are answered between two pauses.
const BETWEEN: u64 = 400;

/// Requests beyond those that are waited for: each wait ends late, by what is answered until that is looked at.
const SPARE: u64 = 2000;

/// For how long the server may take to answer as many, before patience is applied.
const LIMIT: Duration = Duration::from_secs(30);

/// Longer than the agent takes to empty the ring when it stands still no more.
const DRAINED: Duration = Duration::from_secs(1);

/// Requests on each connection when the reader keeps up.
const QUIET: u64 = 40;

/// Behind an answer and so much time in which nothing comes, a connection has no request under way.
const SILENCE: Duration = Duration::from_millis(1500);

/// This program's name, which asks for the metrics.
const SCRAPER: &str = env!("CARGO_BIN_NAME");

/// A load.
struct Load {
    name: &'static str,
    /// How the client asks.
    asks: &'static str,
    protocol: Protocol,
    /// What a loss on a connection that stays open leaves behind.
    after: After,
}

/// What is known of a connection after a loss.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// How many exchanges were in it, and each exchange from then on.
    Exact,
    /// That there was one, and each exchange again once the connection was silent for a while.
    Silence,
}

const LOADS: [Load; 6] = {
    use Protocol::{Http1, Http1Tls, Http2, Http2Tls};
    const fn load(
        name: &'static str,
        asks: &'static str,
        protocol: Protocol,
        after: After,
    ) -> Load {
        Load {
            name,
            asks,
            protocol,
            after,
        }
    }
    [
        load("turns", "turns", Http1, After::Exact),
        load("turns_tls", "turns", Http1Tls, After::Exact),
        load("frames", "http2", Http2, After::Exact),
        load("frames_tls", "http2", Http2Tls, After::Exact),
        load("stream", "pipelines", Http1, After::Silence),
        load("stream_tls", "pipelines", Http1Tls, After::Silence),
    ]
};

/// Why it can't be run here.
pub fn missing() -> Option<String> {
    receiver::missing()
        .or_else(|| Program::Nginx.missing())
        .or_else(|| Certificate::missing().map(str::to_owned))
}

pub fn run(context: &mut Context) -> Result<()> {
    let ground = Ground {
        dir: context.dir().to_path_buf(),
        certificate: Some(Certificate::create(context.dir())?),
        programs: context.programs.clone(),
    };
    let servers = LOADS
        .iter()
        .enumerate()
        .map(|(number, load)| Program::Nginx.serve(&ground, &load.subject(), number))
        .collect::<Result<Vec<Server>>>()?;
    let agent = Agent::start(context, &["--memory-limit", MEMORY])?;
    for (load, server) in LOADS.iter().zip(&servers) {
        let secure = load.protocol.is_secure();
        let client = Client::start(&ground, load.name, load.asks, (server, secure), CONNECTIONS)?;
        let bench = Bench {
            context,
            agent: &agent,
            load,
            server,
            client,
        };
        bench
            .run()
            .with_context(|| format!("the load {}", load.name))?;
    }
    agent.settle(accounting::check)?;
    agent.stop()
}

impl Load {
    fn subject(&self) -> Subject {
        Subject {
            protocol: self.protocol,
            server: Program::Nginx,
            client: Program::Python,
            of_server: Seen::Fully,
            of_client: Seen::Fully,
        }
    }

    /// Whether the counts after an overflow are as they must be.
    fn judge(&self, before: Counted, counted: Counted, asked: u64) -> Result<()> {
        let (seen, lost) = (counted.seen, counted.lost - before.lost);
        ensure!(
            counted.refused > before.refused && seen < asked,
            "no overflow: {seen} of {asked} are seen"
        );
        match self.after {
            // More is lost where others were there to lose some.
            After::Exact => ensure!(
                seen + lost == asked || seen + lost > asked && counted.of_others > before.of_others,
                "{seen} are seen and {lost} lost, of {asked}"
            ),
            After::Silence => ensure!(lost > 0, "{seen} of {asked} are seen, and none is lost"),
        }
        Ok(())
    }
}

/// What is counted of both ends.
#[derive(Clone, Copy, Debug)]
struct Counted {
    /// Exchanges seen.
    seen: u64,
    /// Those of them that the server's end shows.
    of_server: u64,
    /// Exchanges counted as lost, of whomever.
    lost: u64,
    /// Records that the ring refused, of whomever.
    refused: u64,
    /// Exchanges seen of programs that have no part in this: who else speaks HTTP on this machine loses some of it, too.
    of_others: u64,
}

struct Bench<'a> {
    context: &'a mut Context,
    agent: &'a Agent,
    load: &'a Load,
    server: &'a Server,
    client: Client,
}

impl Bench<'_> {
    fn run(mut self) -> Result<()> {
        // Every connection is known before anything is lost.
        self.client.ask(QUIET)?;
        let before = self.counted(|counted, asked| {
            ensure!(
                counted.seen == asked,
                "{counted:?} of {asked} before any loss"
            );
            Ok(())
        })?;

        self.overflow()?;
        // Numbers and ids tell of a gap when the next record comes, which must find room. To ask the agent whether there is any would be an exchange
        // that is lost where there is none.
        thread::sleep(DRAINED * self.context.patience);
        self.client.ask(QUIET)?;
        let overflown = self.counted(|counted, asked| self.load.judge(before, counted, asked))?;
        self.fact("requests", self.client.asked());
        self.fact("seen", overflown.seen);
        self.fact("lost", overflown.lost - before.lost);
        self.fact("refused", overflown.refused - before.refused);

        let asked = self.client.asked();
        if self.load.after == After::Silence {
            thread::sleep(SILENCE);
        }
        self.client.ask(QUIET)?;
        let again = self.counted(|counted, all| {
            let seen = counted.seen - overflown.seen;
            ensure!(
                seen == all - 2 * asked,
                "{seen} of {} are seen on the connections of the loss, after it, {} by the server's end",
                all - 2 * asked,
                counted.of_server - overflown.of_server
            );
            Ok(())
        })?;
        let asked = 2 * (self.client.asked() - asked);
        self.fact("asked_again", asked);
        self.fact("seen_again", again.seen - overflown.seen);

        let asked = self.client.asked();
        self.client.ask_on_new_connections(QUIET)?;
        self.counted(|counted, all| {
            let seen = counted.seen - again.seen;
            ensure!(
                seen == all - 2 * asked,
                "{seen} of {} are seen on new connections after the loss",
                all - 2 * asked
            );
            Ok(())
        })?;
        Ok(())
    }

    /// Stops and wakes the agent in the middle of a load.
    fn overflow(&mut self) -> Result<()> {
        let limit = LIMIT * self.context.patience;
        let mut progress = Progress::of(&self.server.log)?;
        progress.wait(self.client.asked(), limit)?;
        let requests = PAUSES * (PAUSED + BETWEEN) + SPARE;
        self.client.ask(requests.div_ceil(CONNECTIONS))?;
        for _ in 0..PAUSES {
            progress.wait(BETWEEN, limit)?;
            let paused = Paused::new(self.agent.pid())?;
            progress.wait(PAUSED, limit)?;
            drop(paused);
        }
        self.client.wait()
    }

    /// Waits for what the client was told, and counts once `holds` is content with the counts and with how many exchanges there were on both ends.
    /// What was counted must have happened.
    fn counted(&mut self, holds: impl Fn(Counted, u64) -> Result<()>) -> Result<Counted> {
        self.client.wait()?;
        let log = self.server.answered(self.client.asked())?.answers;
        ensure!(
            total(&log) == self.client.asked(),
            "the server answered {}, the client heard {}",
            total(&log),
            self.client.asked()
        );
        let mut last = None;
        self.agent.settle(|metrics| {
            accounting::check(metrics)?;
            let counted = self.count(metrics, &log)?;
            last = Some(counted);
            holds(counted, 2 * total(&log)).with_context(|| accounting::all(metrics))
        })?;
        last.context("nothing was counted")
    }

    fn count(&self, metrics: &Metrics, log: &Answers) -> Result<Counted> {
        let (mut seen, mut of_server) = (0, 0);
        for (side, service) in [
            ("server", self.server.service.as_str()),
            ("client", self.client.service()),
        ] {
            let Verdict { counted, wrong, .. } =
                compare::compare(log, &compare::of_http(metrics, side, service));
            ensure!(
                wrong.is_empty(),
                "counted on the {side}'s end and never happened: {}",
                wrong.join(", ")
            );
            seen += counted;
            if side == "server" {
                of_server = counted;
            }
        }
        let labels = [
            ("stage", "tap"),
            ("signal", "messages"),
            ("outcome", "ring_full"),
        ];
        let refused = metrics.count("fathom_events_total", &labels);
        Ok(Counted {
            seen,
            of_others: self.of_others(metrics),
            of_server,
            lost: accounting::losses(metrics) - refused,
            refused,
        })
    }

    fn of_others(&self, metrics: &Metrics) -> u64 {
        let own = [self.server.service.as_str(), self.client.service(), SCRAPER];
        let all = |labels: &[(&str, &str)]| -> u64 {
            ["server", "client"]
                .iter()
                .map(|side| format!("http_{side}_request_duration_seconds_count"))
                .map(|name| metrics.count(&name, labels))
                .sum()
        };
        let of_own: u64 = own
            .iter()
            .map(|service| all(&[("service_name", service)]))
            .sum();
        all(&[]) - of_own
    }

    fn fact(&mut self, what: &str, value: u64) {
        self.context
            .fact(&format!("{}_{what}", self.load.name), value);
    }
}

//! Lookups of names, against the log of the server that answered them.

pub mod peers;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::peers::{AGAIN, Asked, PAYLOAD, UNHEARD, UNHEARD_NAME};
use super::{
    accounting,
    flows::{line::Line, watcher::Flows},
};
use crate::{agent::Agent, context::Context, metrics::Metrics};

/// How often each client asks natively.
const ROUNDS: u64 = 20;

/// The name under which the clients are to be seen.
const SERVICE: &str = "dns-clients";

/// Longer than a question without an answer is waited for, and than what went by is read after.
const OVER: Duration = Duration::from_secs(14);

/// What a datagram may take between the server and a client, before patience is applied.
const ON_THE_WAY: f64 = 0.025;

pub fn run(context: &mut Context) -> Result<()> {
    let agent = Agent::start(context, &["--capabilities", "net"])?;
    let mut flows = Flows::start(context, OVER)?;
    let notes = context.dir().join("server.json");
    let rounds = context.scaled(ROUNDS, 4);
    let peers = Peers::start(
        Command::new(env::current_exe()?)
            .arg("dns-peers")
            .arg(&notes)
            .arg(rounds.to_string())
            .env("OTEL_SERVICE_NAME", SERVICE),
    )?;
    let truth: Vec<Asked> = serde_json::from_str(&fs::read_to_string(&notes)?)?;
    let deadline = Instant::now() + OVER * context.patience;
    let metrics = loop {
        let metrics = agent.metrics()?;
        let judged = judge(&truth, &metrics, context.patience).and_then(|()| accounted(&metrics));
        match judged {
            Ok(()) => break metrics,
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("the server noted {truth:?}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(300)),
        }
    };
    drop(peers);
    named(&flows.stop()?.lines)?;
    let lookups: u64 = truth.iter().map(|asked| asked.lookups).sum();
    context.fact("lookups", lookups);
    let counts = |signal, outcome| events(&metrics, "decoder", signal, outcome);
    context.fact("datagrams", counts("udp", "delivered"));
    context.fact("missed_calls", accounting::missed_calls(&metrics));
    agent.stop()
}

/// Where the kernel keeps calls from the tap, as one that preempts its programs does, a call is missing from what is said of its question, of all questions, and
/// of the bytes to its server.
fn judge(truth: &[Asked], metrics: &Metrics, patience: u32) -> Result<()> {
    const PER_CALL: u64 = 3;
    let missed = if patience > 1 {
        accounting::missed_calls(metrics)
    } else {
        0
    };
    let differences = differences(truth, metrics, patience);
    ensure!(
        differences.len() as u64 <= missed * PER_CALL,
        "{missed} calls were kept from the tap, and {}",
        differences.join("\n")
    );
    Ok(())
}

/// Where what the agent says differs from what the server noted.
fn differences(truth: &[Asked], metrics: &Metrics, patience: u32) -> Vec<String> {
    let mut differences = Vec::new();
    let mut holds = |holds: bool, difference: String| {
        if !holds {
            differences.push(difference);
        }
    };
    for asked in truth {
        let error = match asked.code {
            Some(0) => None,
            Some(2) => Some("servfail"),
            Some(3) => Some("nxdomain"),
            Some(5) => Some("refused"),
            _ => Some("timeout"),
        };
        let kind = if asked.kind == 1 { "A" } else { "AAAA" };
        let mut labels = vec![
            ("service_name", SERVICE),
            ("dns_question_name", &*asked.name),
            ("fathom_dns_question_type", kind),
        ];
        labels.extend(error.map(|error| ("error_type", error)));
        let counted = metrics.count("dns_lookup_duration_seconds_count", &labels);
        holds(
            counted == asked.lookups,
            format!("{counted} lookups with {labels:?}, not {}", asked.lookups),
        );
        if asked.code.is_some() {
            let seconds = metrics.sum("dns_lookup_duration_seconds_sum", &labels);
            // A query is seen when its call returns, which may be after the server has it.
            let tolerance = asked.lookups as f64 * ON_THE_WAY * f64::from(patience);
            holds(
                (seconds - asked.seconds).abs() < tolerance,
                format!(
                    "lookups with {labels:?} took {seconds} s, the server {} s",
                    asked.seconds
                ),
            );
        }
        if asked.name.starts_with("again") {
            let seconds = metrics.sum("dns_lookup_duration_seconds_sum", &labels);
            let least = AGAIN.as_secs_f64() * asked.lookups as f64;
            holds(
                seconds >= least,
                format!("{seconds} s since the second time"),
            );
        }
    }
    let lookups: u64 = truth.iter().map(|asked| asked.lookups).sum();
    let all = metrics.count(
        "dns_lookup_duration_seconds_count",
        &[("service_name", SERVICE)],
    );
    holds(
        all == lookups,
        format!("{all} lookups in all, not {lookups}"),
    );
    let again: u64 = truth.iter().map(|asked| asked.again).sum();
    let counted = events(metrics, "decoder", "dns", "query_again");
    // Programs beside the test may send again, too.
    holds(
        counted >= again,
        format!("{counted} sent again, not {again}"),
    );
    for (name, sent) in [
        ("www.fathom.test", PAYLOAD),
        // The name that was asked for, and not the one that it stands for.
        ("alias.fathom.test", PAYLOAD),
        ("edge.elsewhere.test", 0),
    ] {
        let labels = [
            ("service_name", SERVICE),
            ("server_address", name),
            ("network_io_direction", "transmit"),
        ];
        let bytes = metrics.count("fathom_udp_io_bytes_total", &labels);
        holds(
            bytes == sent as u64,
            format!("{bytes} bytes to {name}, not {sent}"),
        );
    }
    let labels = [
        ("service_name", SERVICE),
        ("server_address", UNHEARD_NAME),
        ("error_type", "ECONNREFUSED"),
    ];
    let refused = metrics.count("fathom_tcp_connections_total", &labels);
    holds(
        refused == 1,
        format!("{refused} connects to {UNHEARD_NAME} were refused, not 1"),
    );
    differences
}

/// `fathom flows` says by what name the process knew the address that it connected to.
fn named(lines: &[Line]) -> Result<()> {
    let line = lines.iter().find(|line| line.remote == UNHEARD);
    let line = line.with_context(|| format!("no connection to {UNHEARD} was shown"))?;
    let peer = line.rest.get("peer").context("no peer")?;
    ensure!(
        peer["name"] == UNHEARD_NAME,
        "{UNHEARD} is {peer}, not {UNHEARD_NAME}"
    );
    Ok(())
}

/// The stages agree.
fn accounted(metrics: &Metrics) -> Result<()> {
    let tap = events(metrics, "tap", "dns", "delivered");
    let ring = events(metrics, "ring", "dns", "delivered");
    let decoded: u64 = [
        "query",
        "query_again",
        "answer",
        "unasked",
        "served",
        "malformed",
    ]
    .map(|outcome| events(metrics, "decoder", "dns", outcome))
    .iter()
    .sum();
    // The tap goes on between the counts' being read.
    ensure!(
        ring == decoded && ring <= tap,
        "the tap made {tap} records, {ring} came out of the ring, {decoded} are accounted for"
    );
    let lookups = events(metrics, "correlator", "lookups", "delivered");
    let aggregated: u64 = ["delivered", "overflow_series"]
        .map(|outcome| events(metrics, "aggregator", "lookups", outcome))
        .iter()
        .sum();
    ensure!(
        lookups == aggregated,
        "{lookups} lookups were handed on, {aggregated} are accounted for"
    );
    Ok(())
}

pub(super) fn events(metrics: &Metrics, stage: &str, signal: &str, outcome: &str) -> u64 {
    metrics.count(
        "fathom_events_total",
        &[("stage", stage), ("signal", signal), ("outcome", outcome)],
    )
}

/// A process of this program that says a line when it is done, and stays until it is let go.
pub(super) struct Peers(Child);

impl Peers {
    /// Starts it and waits for its line.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut peers = Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let stdout = peers.0.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the clients ended without a word");
        Ok(peers)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

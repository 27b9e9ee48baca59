//! Connections that end while the agent stands still, more than their ring has room for: none of them stays open in its metrics.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};

use super::peers::raise_limit;
use crate::{
    agent::{Agent, Paused},
    context::Context,
    metrics::Metrics,
    scenarios::{accounting, own},
};

/// The least that an agent takes. Its ring of flows has room for some 2,600 records.
const MEMORY: &str = "16MiB";

/// Connections, of which each has two ends here: those from before the agent, which rest, those that have gone to rest since, all others, and those of each that stay
/// open.
const BEFORE: usize = 500;
const RESTING: usize = 500;
const LATER: usize = 1000;
const ALL: usize = BEFORE + RESTING + LATER;
const KEPT: usize = 10;

/// What the kernel frees of a connection's two ends it has freed by then.
const ENDED: Duration = Duration::from_millis(500);

pub fn run(context: &mut Context) -> Result<()> {
    raise_limit()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut before = open(&listener, BEFORE)?;
    let config = context.dir().join("overflow.yaml");
    fs::write(&config, "flows:\n  interval: 1s\n")?;
    let config = config.to_string_lossy().into_owned();
    let agent = Agent::start(
        context,
        &[
            "--config",
            &config,
            "--memory-limit",
            MEMORY,
            "--capabilities",
            "net",
        ],
    )?;
    let service = &own::service()?;
    let mut resting = open(&listener, RESTING)?;
    agent.settle(|metrics| {
        let rested = accounting::of(metrics, "aggregator", "connections", Some("rested"));
        ensure!(
            rested == 2 * RESTING as u64,
            "{rested} ends have gone to rest"
        );
        Ok(())
    })?;
    let mut later = open(&listener, LATER)?;
    agent.settle(|metrics| holds(metrics, service, ALL))?;

    // Those from before end last, when there is no room for a word of them, nor for most of those that went to rest.
    let paused = Paused::new(agent.pid())?;
    later.truncate(KEPT);
    resting.truncate(KEPT);
    before.truncate(KEPT);
    thread::sleep(ENDED);
    drop(paused);

    let metrics = agent.settle(|metrics| {
        holds(metrics, service, 3 * KEPT)?;
        accounting::check(metrics)
    })?;
    let records = accounting::of(&metrics, "tap", "flows", Some("ring_full"));
    let ends = lost(&metrics, service);
    context.fact("connections", ALL as u64);
    context.fact("lost_records", records);
    context.fact("lost_ends", ends);
    // Of one that rests two records come at its end: that it is there, and that it is not.
    let least = 2 * (BEFORE - KEPT) + RESTING / 2;
    ensure!(
        least as u64 <= ends && ends <= records,
        "of {ends} connections the end was lost, and {records} records"
    );
    // These are there still.
    drop((before, resting, later));
    agent.settle(|metrics| {
        holds(metrics, service, 0)?;
        let now = lost(metrics, service);
        ensure!(now == ends, "{now} ends were lost, not {ends}");
        Ok(())
    })?;
    agent.stop()
}

/// Both ends of so many connections.
fn open(listener: &TcpListener, count: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let pair = |_| {
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok((client, listener.accept()?.0))
    };
    (0..count).map(pair).collect()
}

/// Whether so many are open, and all others have ended.
fn holds(metrics: &Metrics, service: &str, open: usize) -> Result<()> {
    own::connections(metrics, service, open, ALL - open)
}

/// Those whose end nobody saw.
fn lost(metrics: &Metrics, service: &str) -> u64 {
    let labels = [("service_name", service), ("fathom_tcp_outcome", "lost")];
    metrics.count("fathom_tcp_connections_ended_total", &labels)
}

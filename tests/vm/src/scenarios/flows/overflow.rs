//! Connections that end while the agent stands still, more than their ring has room for: none of them stays open in its metrics.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::peers::raise_limit;
use crate::{
    agent::{Agent, Paused},
    context::Context,
    metrics::Metrics,
    scenarios::accounting,
};

/// The least that an agent takes. Its ring of flows has room for some 2,600 records.
const MEMORY: &str = "16MiB";

/// Connections, of which each has two ends here, and those of them that stay open.
const CONNECTIONS: usize = 2000;
const KEPT: usize = 10;

/// What the kernel frees of a connection's two ends it has freed by then.
const ENDED: Duration = Duration::from_millis(500);

pub fn run(context: &mut Context) -> Result<()> {
    raise_limit()?;
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
    let service = env::current_exe()?;
    let service = service.file_name().and_then(|name| name.to_str());
    let service = service.context("a program without a name")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut pairs = (0..CONNECTIONS)
        .map(|_| {
            let client = TcpStream::connect(listener.local_addr()?)?;
            Ok((client, listener.accept()?.0))
        })
        .collect::<Result<Vec<_>>>()?;
    agent.settle(|metrics| holds(metrics, service, CONNECTIONS, 0))?;

    let paused = Paused::new(agent.pid())?;
    pairs.truncate(KEPT);
    thread::sleep(ENDED);
    drop(paused);

    let metrics = agent.settle(|metrics| {
        let lost = accounting::of(metrics, "tap", "flows", Some("ring_full"));
        ensure!(lost > 0, "the ring had room for all");
        holds(metrics, service, KEPT, lost)?;
        accounting::check(metrics)
    })?;
    context.fact("connections", CONNECTIONS as u64);
    context.fact(
        "lost",
        accounting::of(&metrics, "tap", "flows", Some("ring_full")),
    );
    // They are there still.
    drop(pairs);
    agent.settle(|metrics| holds(metrics, service, 0, lost(metrics, service)))?;
    agent.stop()
}

/// Whether so many are open on each side, and all others have ended: so many otherwise than anyone saw.
fn holds(metrics: &Metrics, service: &str, open: usize, unseen: u64) -> Result<()> {
    for role in ["client", "server"] {
        let labels = [
            ("service_name", service),
            ("service_peer_name", service),
            ("fathom_tcp_role", role),
        ];
        let active = metrics.count("fathom_tcp_connections_active", &labels);
        ensure!(
            active == open as u64,
            "{active} connections are active as {role}, not {open}"
        );
        let ended = metrics.count("fathom_tcp_connections_ended_total", &labels);
        ensure!(
            ended == (CONNECTIONS - open) as u64,
            "{ended} connections have ended as {role}, not {}",
            CONNECTIONS - open
        );
    }
    let lost = lost(metrics, service);
    ensure!(
        lost == unseen,
        "of {lost} connections the end was lost, not of {unseen}"
    );
    Ok(())
}

/// Those whose end nobody saw.
fn lost(metrics: &Metrics, service: &str) -> u64 {
    let labels = [("service_name", service), ("fathom_tcp_outcome", "lost")];
    metrics.count("fathom_tcp_connections_ended_total", &labels)
}

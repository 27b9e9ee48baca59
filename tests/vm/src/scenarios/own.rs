//! What the agent's metrics say of the connections that a scenario itself has with itself.

use std::env;

use anyhow::{Context as _, Result, ensure};

use crate::metrics::Metrics;

/// The name under which fathom knows this program.
pub fn service() -> Result<String> {
    let program = env::current_exe()?;
    let name = program.file_name().and_then(|name| name.to_str());
    Ok(name.context("a program without a name")?.to_owned())
}

/// The labels of its connections to itself, as one side sees them.
pub fn labels<'a>(service: &'a str, role: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("service_name", service),
        ("service_peer_name", service),
        ("fathom_tcp_role", role),
    ]
}

/// Whether so many are open and so many have ended, as each side sees it.
pub fn connections(metrics: &Metrics, service: &str, open: usize, over: usize) -> Result<()> {
    for role in ["client", "server"] {
        let labels = labels(service, role);
        let active = metrics.count("fathom_tcp_connections_active", &labels);
        ensure!(
            active == open as u64,
            "{active} connections are active as {role}, not {open}"
        );
        let ended = metrics.count("fathom_tcp_connections_ended_total", &labels);
        ensure!(
            ended == over as u64,
            "{ended} connections have ended as {role}, not {over}"
        );
    }
    Ok(())
}

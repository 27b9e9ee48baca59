//! Connections that were open before the agent and are at rest: they count as active until they end, and their bytes from then on.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::sockopt;

use super::own;
use crate::{agent::Agent, context::Context, metrics::Metrics};

/// Connections that are there.
const OPEN: usize = 20;
/// Those of them that end meanwhile, without a byte more.
const ENDED: usize = 5;
/// Those of these that end by a RST.
const RESET: usize = 3;
/// What went by on each before: it is not the agent's to count.
const BEFORE: &[u8] = b"a few bytes of long ago";
/// What goes by on one that goes on.
const LATER: &[u8] = b"and some of now";

pub fn run(context: &mut Context) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut pairs = (0..OPEN)
        .map(|_| pair(&listener))
        .collect::<Result<Vec<_>>>()?;
    let agent = Agent::start(context, &["--capabilities", "net"])?;
    let service = own::service()?;
    agent.settle(|metrics| holds(metrics, &service, OPEN, 0))?;
    for (client, server) in pairs.drain(..RESET) {
        sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
        drop(client);
        drop(server);
    }
    pairs.truncate(OPEN - ENDED);
    let (client, server) = pairs.last_mut().context("none is left")?;
    client.write_all(LATER)?;
    server.read_exact(&mut [0; LATER.len()])?;
    agent.settle(|metrics| holds(metrics, &service, OPEN - ENDED, LATER.len()))?;
    // Ends without a byte, and after some.
    pairs.clear();
    agent.settle(|metrics| holds(metrics, &service, 0, LATER.len()))?;
    context.fact("connections", OPEN as u64);
    agent.stop()
}

/// A connection that was used.
fn pair(listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(BEFORE)?;
    server.read_exact(&mut [0; BEFORE.len()])?;
    Ok((client, server))
}

/// Whether so many are open and so many bytes went by, as both ends see it.
fn holds(metrics: &Metrics, service: &str, open: usize, bytes: usize) -> Result<()> {
    own::connections(metrics, service, open, OPEN - open)?;
    for (role, direction) in [("client", "transmit"), ("server", "receive")] {
        let [one, two, three] = own::labels(service, role);
        let of_direction = [one, two, three, ("network_io_direction", direction)];
        let moved = metrics.count("fathom_tcp_io_bytes_total", &of_direction);
        ensure!(
            moved == bytes as u64,
            "{moved} bytes have moved as {role}, not {bytes}"
        );
    }
    Ok(())
}

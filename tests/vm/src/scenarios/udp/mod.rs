//! Datagrams of known numbers and sizes, against what the two programs that sent them noted.

pub mod peers;

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use self::peers::{INITIAL, Note};
use super::{
    accounting,
    dns::{Peers, events},
};
use crate::{
    agent::Agent,
    context::{Context, free_port},
    metrics::Metrics,
};

/// Datagrams each way and kind of socket natively.
const ROUNDS: u64 = 300;

/// How long it may take until everything was read, before patience is applied.
const LIMIT: Duration = Duration::from_secs(6);

const CLIENT: &str = "udp-client";
const SERVER: &str = "udp-server";

pub fn run(context: &mut Context) -> Result<()> {
    let agent = Agent::start(context, &["--capabilities", "net"])?;
    let rounds = context.scaled(ROUNDS, 20);
    let ports = [free_port()?, free_port()?, free_port()?].map(|port| port.to_string());
    let own = env::current_exe()?;
    let (server_notes, client_notes) = (
        context.dir().join("server.json"),
        context.dir().join("client.json"),
    );
    let server = Peers::start(
        Command::new(&own)
            .arg("udp-server")
            .arg(&server_notes)
            .args(&ports)
            .env("OTEL_SERVICE_NAME", SERVER),
    )?;
    let client = Peers::start(
        Command::new(&own)
            .arg("udp-client")
            .arg(&client_notes)
            .arg(rounds.to_string())
            .args(&ports)
            .env("OTEL_SERVICE_NAME", CLIENT),
    )?;
    let sent = note(&client_notes, Instant::now() + LIMIT)?;
    let answered = note(&server_notes, Instant::now() + LIMIT)?;
    let deadline = Instant::now() + LIMIT * context.patience;
    loop {
        let metrics = agent.metrics()?;
        let missed = accounting::missed_calls(&metrics);
        let compared = compare(CLIENT, &sent, missed, &metrics)
            .and_then(|()| compare(SERVER, &answered, missed, &metrics))
            .and_then(|()| quic(missed, &metrics))
            .and_then(|()| handed_on(&metrics));
        match compared {
            Ok(()) => break,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
    drop((client, server));
    context.fact("datagrams", sent.packets_sent + answered.packets_sent);
    context.fact("bytes", sent.sent + answered.sent);
    agent.stop()
}

/// What a program noted, once it has.
fn note(file: &Path, deadline: Instant) -> Result<Note> {
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        match serde_json::from_str(&text) {
            Ok(note) => return Ok(note),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Calls that the kernel kept from the tap by its own count (`missed`) are not seen, and no others: a server that sleeps in recvfrom(2) holds a return probe, of
/// which there are few before Linux 6.0.
fn compare(service: &str, note: &Note, missed: u64, metrics: &Metrics) -> Result<()> {
    let of = |name: &str, direction| {
        metrics.count(
            name,
            &[
                ("service_name", service),
                ("network_io_direction", direction),
            ],
        )
    };
    let counted = Note {
        sent: of("fathom_udp_io_bytes_total", "transmit"),
        packets_sent: of("fathom_udp_packets_total", "transmit"),
        received: of("fathom_udp_io_bytes_total", "receive"),
        packets_received: of("fathom_udp_packets_total", "receive"),
    };
    let lost = |noted: u64, counted: u64| noted.checked_sub(counted);
    let packets = lost(note.packets_sent, counted.packets_sent)
        .zip(lost(note.packets_received, counted.packets_received));
    let is_right = match packets {
        Some((0, 0)) => counted == *note,
        Some((sent, received)) => {
            sent + received <= missed
                && counted.sent <= note.sent
                && counted.received <= note.received
        }
        None => false,
    };
    ensure!(
        is_right,
        "{service} is seen with {counted:?}, and noted {note:?}; the kernel kept {missed} calls"
    );
    let role = service.trim_start_matches("udp-");
    let in_role = metrics.count(
        "fathom_udp_packets_total",
        &[("service_name", service), ("fathom_udp_role", role)],
    );
    let all = counted.packets_sent + counted.packets_received;
    ensure!(in_role == all, "{in_role} of {all} datagrams of a {role}");
    // What is sent goes to an end that is known.
    let to_loopback = metrics.count(
        "fathom_udp_packets_total",
        &[
            ("service_name", service),
            ("network_io_direction", "transmit"),
            ("fathom_peer_class", "loopback"),
        ],
    );
    ensure!(
        to_loopback == counted.packets_sent,
        "{to_loopback} of {} datagrams went to this host",
        counted.packets_sent
    );
    Ok(())
}

/// What was handed on is in the metrics. The two are read one after the other, so that this holds once all was read.
fn handed_on(metrics: &Metrics) -> Result<()> {
    let seen = events(metrics, "decoder", "udp", "delivered");
    let counted = metrics.count("fathom_udp_packets_total", &[]);
    ensure!(
        seen == counted,
        "{seen} datagrams were handed on, the metrics hold {counted}"
    );
    Ok(())
}

/// The datagrams of the socket that started a QUIC connection are QUIC's, and no others: the first one and the one that ends the server, and
/// the answer to the first.
fn quic(missed: u64, metrics: &Metrics) -> Result<()> {
    for (direction, bytes) in [("transmit", INITIAL + 1), ("receive", INITIAL / 2)] {
        let counted = metrics.count(
            "fathom_udp_io_bytes_total",
            &[
                ("service_name", CLIENT),
                ("network_io_direction", direction),
                ("network_protocol_name", "quic"),
            ],
        );
        ensure!(
            counted == bytes as u64 || missed > 0 && counted < bytes as u64,
            "{counted} bytes of QUIC ({direction}), not {bytes}"
        );
    }
    Ok(())
}

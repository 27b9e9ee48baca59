//! Records of flows: those of connections that this program makes itself, and of no others.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{attribute, items, until_it_holds};
use crate::{agent::Agent, receiver::Receiver};

/// The address that the rule in the agent's configuration is about. Nothing else here uses it.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// Connections that move bytes, and as many that are refused.
const EACH: usize = 20;

/// What a record is to say: role, state, outcome, error, and bytes sent and received.
type Said = (String, String, String, Option<String>, usize, usize);

/// Makes connections and compares their records with what they did.
pub(super) fn compare(receiver: &Receiver, agent: &Agent) -> Result<()> {
    let truth = connect()?;
    until_it_holds(|| {
        let requests = receiver.requests("logs")?;
        let seen = records(&requests)?;
        ensure!(truth == seen, "made {truth:?}, received {seen:?}");
        Ok(())
    })?;
    let metrics = agent.metrics()?;
    let made = metrics.count(
        "fathom_events_total",
        &[
            ("stage", "sampler"),
            ("signal", "flow_logs"),
            ("outcome", "delivered"),
        ],
    );
    let sent = metrics.count(
        "fathom_events_total",
        &[
            ("stage", "exporter"),
            ("signal", "logs"),
            ("outcome", "delivered"),
        ],
    );
    let expected: u64 = truth.values().sum();
    ensure!(
        made == expected && sent == expected,
        "{expected} records, {made} made, {sent} sent"
    );
    Ok(())
}

/// Connects, and is refused, and says of both ends what they did.
fn connect() -> Result<BTreeMap<Said, u64>> {
    let mut truth = BTreeMap::new();
    let mut note = |role: &str, what: &str, outcome: &str, error: Option<&str>, sent, received| {
        let error = error.map(str::to_owned);
        let said = (
            role.into(),
            what.into(),
            outcome.into(),
            error,
            sent,
            received,
        );
        *truth.entry(said).or_insert(0) += 1;
    };
    let listener = TcpListener::bind((ADDRESS, 0))?;
    let address = listener.local_addr()?;
    for number in 0..EACH {
        let (asked, answered) = (100 + number, 5000 + number);
        let mut client = TcpStream::connect(address)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(&vec![1; asked])?;
        server.read_exact(&mut vec![0; asked])?;
        server.write_all(&vec![2; answered])?;
        client.read_exact(&mut vec![0; answered])?;
        drop(client);
        // The other end's FIN: the two close in order.
        ensure!(server.read(&mut [0])? == 0, "more than was written");
        drop(server);
        note("client", "closed", "closed", None, asked, answered);
        note("server", "closed", "closed", None, answered, asked);
    }
    drop(listener);
    for _ in 0..EACH {
        let refused = TcpStream::connect(address);
        ensure!(
            refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused),
            "somebody listens on {address}"
        );
        note("client", "failed", "refused", Some("ECONNREFUSED"), 0, 0);
    }
    Ok(truth)
}

/// What the records say.
fn records(requests: &[Value]) -> Result<BTreeMap<Said, u64>> {
    let mut seen = BTreeMap::new();
    let own = std::env::current_exe()?;
    let own = own.file_name().context("a name")?.to_string_lossy();
    let resources = requests
        .iter()
        .flat_map(|request| items(request, "resource_logs"));
    for of_resource in resources {
        let records =
            items(of_resource, "scope_logs").flat_map(|scope| items(scope, "log_records"));
        for record in records {
            let get = |key: &str| {
                attribute(record, key).with_context(|| format!("a record without {key}: {record}"))
            };
            ensure!(
                record["event_name"] == "fathom.tcp.flow" && record["time_unix_nano"] != "0",
                "no event with a time: {record}"
            );
            let what = get("fathom.tcp.what")?;
            let severity = if what == "failed" { "ERROR" } else { "INFO" };
            ensure!(
                record["severity_text"] == severity,
                "not as grave as it is: {record}"
            );
            let (role, server) = (get("fathom.tcp.role")?, get("server.address")?);
            ensure!(
                server == ADDRESS.to_string(),
                "a connection that no rule is about: {record}"
            );
            let end: SocketAddr = format!(
                "{}:{}",
                get("network.local.address")?,
                get("network.local.port")?
            )
            .parse()?;
            ensure!(
                (end.ip() == ADDRESS) == (role == "server"),
                "the ends are the wrong way round: {record}"
            );
            ensure!(
                attribute(&of_resource["resource"], "service.name").as_deref() == Some(&*own),
                "not of this program: {of_resource}"
            );
            let said = (
                role,
                what,
                get("fathom.tcp.outcome")?,
                attribute(record, "error.type"),
                get("fathom.tcp.bytes_sent")?.parse()?,
                get("fathom.tcp.bytes_received")?.parse()?,
            );
            *seen.entry(said).or_insert(0) += 1;
        }
    }
    Ok(seen)
}

//! What a record says: OpenTelemetry's attributes for networks (`network.*`, `client.*`, `server.*`, `error.type`), and under `fathom.tcp.` what `fathom flows
//! --json` says under the same names.

use std::borrow::Cow;

use fathom_abi::Role;

use super::FlowLog;
use crate::{
    identity::Peer,
    net::{
        Flow,
        filter::has_failed,
        flows::{Change, Side},
    },
    telemetry::{
        metric::{Attributes, Value},
        tcp::error_type,
    },
};

/// All that is known; what is not known has no attribute.
pub(super) fn of(log: &FlowLog) -> Attributes {
    let flow = &log.flow;
    let mut all = Attributes::with_capacity(40);
    ends(log, &mut all);
    let mut put = |name: &'static str, value: Value| all.push((name.into(), value));
    put("fathom.tcp.id", text(format!("{:016x}", log.connection)));
    put("fathom.tcp.what", Value::Str(flow.change.name().into()));
    let role = match flow.role {
        Role::CLIENT => "client",
        Role::SERVER => "server",
        _ => "unknown",
    };
    put("fathom.tcp.role", Value::Str(role.into()));
    if let Some(outcome) = flow.outcome {
        put("fathom.tcp.outcome", Value::Str(outcome.name().into()));
    }
    if let Some(error) = error(flow) {
        put("error.type", Value::Str(error));
    }
    if flow.change != Change::Lost {
        put("fathom.tcp.bytes_sent", int(flow.bytes_sent));
        put("fathom.tcp.bytes_received", int(flow.bytes_received));
        put("fathom.tcp.segments_sent", int(flow.segments_sent));
        put("fathom.tcp.segments_received", int(flow.segments_received));
        put("fathom.tcp.retransmits", int(flow.retransmits));
        put("fathom.tcp.resets_sent", int(u8::from(flow.reset_sent)));
        put(
            "fathom.tcp.resets_received",
            int(u8::from(flow.reset_received)),
        );
    }
    let begun = flow.established_ns.or(flow.connect_ns);
    let since = |time: Option<u64>| time?.checked_sub(begun?);
    for (name, number) in [
        ("fathom.tcp.srtt_us", flow.srtt_us.map(u64::from)),
        ("fathom.tcp.min_rtt_us", flow.min_rtt_us.map(u64::from)),
        ("fathom.tcp.connect_ns", flow.connect_duration_ns()),
        ("fathom.tcp.accept_wait_ns", flow.accept_wait_ns()),
        ("fathom.tcp.first_sent_ns", since(flow.first_sent_ns)),
        (
            "fathom.tcp.first_received_ns",
            since(flow.first_received_ns),
        ),
        (
            "fathom.tcp.lasted_ns",
            flow.established_ns
                .and_then(|since| flow.at_ns.checked_sub(since)),
        ),
        ("fathom.tcp.signal", flow.signal.map(u64::from)),
        ("fathom.tcp.cgroup", flow.cgroup),
        (
            "fathom.tcp.netns",
            Some(u64::from(flow.netns)).filter(|&netns| netns != 0),
        ),
    ] {
        if let Some(number) = number {
            put(name, int(number));
        }
    }
    if let Some(side) = flow.closed_by {
        let side = match side {
            Side::Local => "local",
            Side::Remote => "remote",
        };
        put("fathom.tcp.closed_by", Value::Str(side.into()));
    }
    all
}

/// The two ends: as the socket has them, and by who opened the connection; and where it goes, where the address that the process sees is translated.
fn ends(log: &FlowLog, all: &mut Attributes) {
    let (local, remote) = (log.flow.local, log.flow.remote);
    let mut put = |name: &'static str, value: Value| all.push((name.into(), value));
    let family = if remote.is_ipv4() { "ipv4" } else { "ipv6" };
    put("network.transport", Value::Str("tcp".into()));
    put("network.type", Value::Str(family.into()));
    put("network.local.address", text(local.ip().to_string()));
    put("network.local.port", int(local.port()));
    put("network.peer.address", text(remote.ip().to_string()));
    put("network.peer.port", int(remote.port()));
    if let Some(destination) = log.destination {
        put(
            "fathom.destination.address",
            text(destination.ip().to_string()),
        );
        put("fathom.destination.port", int(destination.port()));
    }
    let (client, server) = match log.flow.role {
        Role::CLIENT => (Some(local), Some(remote)),
        Role::SERVER => (Some(remote), Some(local)),
        _ => (None, None),
    };
    if let Some(client) = client {
        put("client.address", text(client.ip().to_string()));
        put("client.port", int(client.port()));
    }
    if let Some(server) = server {
        let address = match &log.peer {
            // The name by which the client knows it is preferred to an address.
            Peer::Name(name) if log.flow.role == Role::CLIENT => name.to_string(),
            _ => server.ip().to_string(),
        };
        put("server.address", text(address));
        put("server.port", int(server.port()));
    }
    match &log.peer {
        Peer::Service(name) => put("service.peer.name", text(name.to_string())),
        Peer::Name(_) => {}
        Peer::Class(class) => put("fathom.peer.class", Value::Str(class.name().into())),
    }
}

fn error(flow: &Flow) -> Option<Cow<'static, str>> {
    let outcome = flow.outcome.filter(|_| has_failed(flow))?;
    Some(error_type(outcome, flow.error))
}

fn text(text: String) -> Value {
    Value::Str(text.into())
}

/// OTLP's numbers have a sign.
fn int(number: impl Into<u64>) -> Value {
    Value::Int(i64::try_from(number.into()).unwrap_or(i64::MAX))
}

//! A flow as a line for people, and as a JSON object.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
};

use fathom_abi::{ConnectionId, Role};
use serde_json::json;

use super::Seen;
use crate::cli::text::{clip, printable};
use crate::{
    cli::live::{duration, time_of_day},
    identity::{Peer, Process},
    net::{
        before::is_bare,
        flows::{Change, Flow, Side},
    },
    telemetry::tcp::errno_name,
};

/// How connections are named: by a keyed hash, as the kernel's own name for one is an address of its memory.
#[derive(Default)]
pub(super) struct Show(RandomState);

impl Show {
    fn id(&self, id: ConnectionId) -> String {
        format!("{:016x}", self.0.hash_one(id))
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::CLIENT => "client",
        Role::SERVER => "server",
        _ => "unknown",
    }
}

/// What lines have room for at most, of the other end.
const REMOTE: usize = 47;

/// The line above all others.
pub(super) fn header() -> String {
    format!(
        "{:<12}  {:<11} {:<7} {:>21} {:<30} {:>10} {:>10} {:>9} {:>4} {:>9} {:<11}  PROCESS",
        "TIME (UTC)",
        "WHAT",
        "ROLE",
        "LOCAL",
        "REMOTE",
        "SENT",
        "RECEIVED",
        "RTT",
        "RETR",
        "LASTED",
        "HOW"
    )
}

/// A line for people.
pub(super) fn line(seen: &Seen) -> String {
    let flow = seen.flow;
    let dash = || "-".to_owned();
    let how = flow.outcome.map_or("-", |outcome| outcome.name());
    let count = |count: u64| {
        if is_counted(flow) {
            count.to_string()
        } else {
            dash()
        }
    };
    format!(
        "{:<12}  {:<11} {:<7} {:>21} {:<30} {:>10} {:>10} {:>9} {:>4} {:>9} {how:<11}  {}{}",
        time_of_day(seen.at_unix_ns),
        flow.change.name(),
        role(flow.role),
        flow.local,
        remote(flow, seen.peer, seen.destination, REMOTE),
        count(flow.bytes_sent),
        count(flow.bytes_received),
        flow.srtt_us
            .map_or_else(dash, |us| duration(u64::from(us) * 1000)),
        count(flow.retransmits.into()),
        lasted_ns(flow).map_or_else(dash, duration),
        owner(seen.process.map(|process| &**process)),
        why(flow).map_or_else(String::new, |why| format!(" {why}")),
    )
}

/// The other end, with all that is known of it for which there is room: its address, where that leads where it is translated on the way, and its name. Where
/// there is less room, its name goes before its address.
pub(super) fn remote(
    flow: &Flow,
    peer: &Peer,
    destination: Option<SocketAddr>,
    room: usize,
) -> String {
    let name = match peer {
        Peer::Service(name) | Peer::Name(name) => Some(printable(name)),
        Peer::Class(_) => None,
    };
    let address = flow.remote.to_string();
    let whole = match destination {
        Some(destination) => format!("{address} > {destination}"),
        None => address.clone(),
    };
    let shortest = match &name {
        Some(name) => format!("{name}:{}", flow.remote.port()),
        None => address.clone(),
    };
    let named = |text: String| match &name {
        Some(name) => format!("{text} {name}"),
        None => text,
    };
    [named(whole), named(address)]
        .into_iter()
        .find(|text| text.chars().count() <= room)
        .unwrap_or_else(|| clip(&shortest, room))
}

/// A process, or a dash.
pub(super) fn owner(process: Option<&Process>) -> String {
    process.map_or_else(
        || "-".to_owned(),
        |process| format!("{}[{}]", printable(&process.service), process.pid),
    )
}

/// Whether its bytes and segments are known: not those of one that is only listed, nor those of one whose end was not seen.
pub(super) fn is_counted(flow: &Flow) -> bool {
    !is_bare(flow) && flow.change != Change::Lost
}

/// The error or the signal that ended it.
pub(super) fn why(flow: &Flow) -> Option<String> {
    match (flow.error, flow.signal) {
        (0, None) => None,
        (0, Some(signal)) => Some(format!("signal {signal}")),
        (errno, _) => Some(errno_name(errno).into_owned()),
    }
}

/// Whose the other end is.
pub(super) fn peer(peer: &Peer) -> serde_json::Value {
    match peer {
        Peer::Service(name) => json!({ "service": &**name }),
        Peer::Name(name) => json!({ "name": &**name }),
        Peer::Class(class) => json!({ "class": class.name() }),
    }
}

/// How long it is, or was, established.
pub(super) fn lasted_ns(flow: &Flow) -> Option<u64> {
    flow.at_ns.checked_sub(flow.established_ns?)
}

/// A JSON object. Times are in nanoseconds where their names don't say otherwise; `null` is for what is not known.
pub(super) fn document(show: &Show, seen: &Seen) -> serde_json::Value {
    let (flow, process) = (seen.flow, seen.process);
    let since = |time: Option<u64>| time?.checked_sub(flow.established_ns.or(flow.connect_ns)?);
    let side = |side: Side| match side {
        Side::Local => "local",
        Side::Remote => "remote",
    };
    let count = |count: u64| is_counted(flow).then_some(count);
    json!({
        "at_unix_ns": seen.at_unix_ns,
        "id": show.id(flow.id),
        "what": flow.change.name(),
        "role": role(flow.role),
        "local": flow.local,
        "remote": flow.remote,
        "destination": seen.destination,
        "peer": peer(seen.peer),
        "bytes_sent": count(flow.bytes_sent),
        "bytes_received": count(flow.bytes_received),
        "segments_sent": count(flow.segments_sent.into()),
        "segments_received": count(flow.segments_received.into()),
        "retransmits": count(flow.retransmits.into()),
        "srtt_us": flow.srtt_us,
        "min_rtt_us": flow.min_rtt_us,
        "connect_ns": flow.connect_duration_ns(),
        "accept_wait_ns": flow.accept_wait_ns(),
        "first_sent_ns": since(flow.first_sent_ns),
        "first_received_ns": since(flow.first_received_ns),
        "lasted_ns": lasted_ns(flow),
        "resets_sent": u8::from(flow.reset_sent),
        "resets_received": u8::from(flow.reset_received),
        "outcome": flow.outcome.map(|outcome| outcome.name()),
        "closed_by": flow.closed_by.map(side),
        "signal": flow.signal,
        "error": (flow.error != 0).then(|| errno_name(flow.error)),
        "service": process.map(|process| &*process.service),
        "pid": process.map(|process| process.pid),
        "comm": process.map(|process| &*process.comm),
        "container": process.and_then(|process| process.container.as_deref()),
        "cgroup": flow.cgroup,
        "netns": (flow.netns != 0).then_some(flow.netns),
    })
}

#[cfg(test)]
mod tests;

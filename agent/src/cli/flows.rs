//! `fathom flows`: each TCP connection of the node, a line when it begins, when it ends, and when it fails to begin.

use fathom_abi::{Role, counters::NetCounter};
use serde_json::json;

use super::live::{self, Live, Ring, duration, time_of_day};
use crate::{
    cli::Outcome,
    identity::Process,
    net::flows::{Change, Flow, Flows},
    telemetry::tcp::errno_name,
};

/// Flags of `fathom flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: live::Args,
}

/// Shows flows until the time is up.
///
/// # Errors
/// When the probes do not work here, or a flag is wrong.
pub fn run(args: &Args) -> Outcome {
    let args = &args.live;
    let mut live = Live::start(args, false)?;
    let mut decoder = Flows::default();
    if !args.json {
        live.line(format_args!(
            "{:<12}  {:<11} {:<7} {:>21} {:<21} {:>10} {:>10} {:>9} {:>9}  PROCESS",
            "TIME (UTC)", "WHAT", "ROLE", "LOCAL", "REMOTE", "SENT", "RECEIVED", "RTT", "LASTED"
        ))?;
    }
    let mut flows = Vec::new();
    let mut shown = 0_u64;
    let mut go_on = true;
    while go_on {
        go_on = live.tick()?;
        live.drain(Ring::Flows, |record| {
            decoder.record(record, &mut |flow| flows.push(flow))
        });
        // The other ring is not shown here, and must not fill up.
        live.drain(Ring::Messages, |_| {});
        for flow in flows.drain(..) {
            if args.pid.is_some_and(|pid| pid != flow.tgid) {
                continue;
            }
            live.identity.name(flow.tgid, flow.comm);
            let process = (flow.tgid != 0).then(|| live.identity.process(flow.tgid, flow.at_ns));
            let at_ns = live.clock.unix_ns(flow.at_ns);
            shown += 1;
            if args.json {
                live.line(document(&flow, process.as_deref(), at_ns))?;
            } else {
                live.line(line(&flow, process.as_deref(), at_ns))?;
            }
        }
    }
    live.tick()?;
    let refused = live.counter(NetCounter::FlowRingFull);
    let kept = live.net.misses.flows();
    // Standard error holds no data, so that this disturbs no reader of JSON.
    eprintln!(
        "{shown} records; {refused} more found the ring buffer full; the kernel kept {kept} changes of state from the programs"
    );
    Ok(())
}

fn what(change: Change) -> &'static str {
    match change {
        Change::Established => "established",
        Change::Closed => "closed",
        Change::ConnectFailed => "failed",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::CLIENT => "client",
        Role::SERVER => "server",
        _ => "unknown",
    }
}

fn line(flow: &Flow, process: Option<&Process>, at_unix_ns: u64) -> String {
    let is_open = flow.change == Change::Established;
    let bytes = |bytes: u64| {
        if is_open {
            "-".to_owned()
        } else {
            bytes.to_string()
        }
    };
    let lasted = flow
        .established_ns
        .filter(|_| !is_open)
        .and_then(|since| flow.at_ns.checked_sub(since));
    let dash = || "-".to_owned();
    let error = if flow.error == 0 {
        String::new()
    } else {
        format!(" {}", errno_name(flow.error))
    };
    format!(
        "{:<12}  {:<11} {:<7} {:>21} {:<21} {:>10} {:>10} {:>9} {:>9}  {}{error}",
        time_of_day(at_unix_ns),
        what(flow.change),
        role(flow.role),
        flow.local,
        flow.remote,
        bytes(flow.bytes_sent),
        bytes(flow.bytes_received),
        flow.srtt_us
            .map_or_else(dash, |us| duration(u64::from(us) * 1000)),
        lasted.map_or_else(dash, duration),
        process.map_or_else(dash, |process| format!(
            "{}[{}]",
            process.service, process.pid
        )),
    )
}

fn document(flow: &Flow, process: Option<&Process>, at_unix_ns: u64) -> serde_json::Value {
    json!({
        "at_unix_ns": at_unix_ns,
        "what": what(flow.change),
        "role": role(flow.role),
        "local": flow.local,
        "remote": flow.remote,
        "bytes_sent": flow.bytes_sent,
        "bytes_received": flow.bytes_received,
        "srtt_us": flow.srtt_us,
        "retransmits": flow.retransmits,
        "connect_ns": flow.connect_duration_ns(),
        "lasted_ns": flow.established_ns.and_then(|since| flow.at_ns.checked_sub(since)),
        "error": (flow.error != 0).then(|| errno_name(flow.error)),
        "service": process.map(|process| &*process.service),
        "pid": process.map(|process| process.pid),
        "container": process.and_then(|process| process.container.as_deref()),
    })
}

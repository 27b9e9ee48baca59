//! `fathom requests`: each HTTP request and gRPC call of the node, a line when it is over.

use fathom_abi::counters::NetCounter;
use serde_json::json;

use super::live::{self, Live, Ring, Subject, duration, time_of_day};
use crate::{
    cli::Outcome,
    identity::Process,
    l7::{
        Decoder, ExchangeOutcome, Limits, RecordOutcome,
        exchange::{Exchange, Side},
        grpc::Messages,
    },
    net::Flow,
    telemetry::{
        failure::{Cut, Failure},
        route,
        rpc::Code,
    },
};

/// Flags of `fathom requests`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: live::Args,
    /// Only this process
    #[arg(short, long)]
    pid: Option<u32>,
}

/// Shows requests until the time is up.
///
/// # Errors
/// When no tap works here, or a flag is wrong.
pub fn run(args: &Args) -> Outcome {
    let pid = args.pid;
    let args = &args.live;
    let mut live = Live::start(args, Subject::Exchanges)?;
    let mut decoder = Decoder::new(Limits::default());
    let counts = decoder.counts();
    if !args.json {
        live.line(format_args!(
            "{:<12}  {:<6} {:>6} {:>9} {:>9}  {:<20} {:<7} PATH",
            "TIME (UTC)", "SIDE", "STATUS", "DURATION", "BYTES", "PROCESS", "METHOD"
        ))?;
    }
    let mut names = Vec::new();
    let mut exchanges = Vec::new();
    let mut shown = 0_u64;
    let mut go_on = true;
    while go_on {
        go_on = live.tick()?;
        live.probes
            .exchanges(&mut decoder, &mut |exchange| exchanges.push(exchange));
        // After the messages: a connection's flow is told before them, with the name of a process that may be gone by now.
        live.drain(Ring::Flows, |record| names.extend(Flow::decode(record)));
        for flow in names.drain(..) {
            live.identity.name(flow.tgid, flow.comm);
        }
        for exchange in exchanges.drain(..) {
            if pid.is_some_and(|pid| pid != exchange.thread.tgid) {
                continue;
            }
            let process = live.identity.process(exchange.thread.tgid, exchange.end_ns);
            let start_ns = live.clock.unix_ns(exchange.start_ns);
            shown += 1;
            if args.json {
                live.line(document(&exchange, &process, start_ns))?;
            } else {
                live.line(line(&exchange, &process, start_ns))?;
            }
        }
    }
    live.tick()?;
    let refused = live.counter(NetCounter::MessageRingFull);
    for &outcome in ExchangeOutcome::ALL {
        tracing::debug!(
            "exchanges {}: {}",
            outcome.name(),
            counts.exchanges(outcome)
        );
    }
    for &outcome in RecordOutcome::ALL {
        tracing::debug!("records {}: {}", outcome.name(), counts.records(outcome));
    }
    for (counter, count) in live.probes.net.counters.read() {
        tracing::debug!("tap {}: {count}", counter.name());
    }
    // Standard error holds no data, so that this disturbs no reader of JSON.
    eprintln!(
        "{shown} requests; {} more are known and could not be shown; {refused} records found the ring buffer full; the kernel kept {} calls from the programs",
        counts.lost(),
        live.kept_calls(),
    );
    Ok(())
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

fn line(exchange: &Exchange, process: &Process, start_unix_ns: u64) -> String {
    let status = exchange
        .status
        .map_or_else(|_| "-".to_owned(), |status| status.to_string());
    let mut line = format!(
        "{:<12}  {:<6} {status:>6} {:>9} {:>9}  {:<20} {:<7} {}",
        time_of_day(start_unix_ns),
        side(exchange.side),
        duration(exchange.end_ns.saturating_sub(exchange.start_ns)),
        exchange.response_bytes,
        format!("{}[{}]", process.service, exchange.thread.tgid),
        exchange.method,
        exchange.path,
    );
    // What the HTTP status does not say.
    let cut = exchange.cut.or(exchange.status.err()).map(Cut::from);
    let notes = [
        code(exchange).map(Code::name),
        cut.map(|cut| cut.name().into()),
    ];
    for note in notes.iter().flatten() {
        line.extend(["  ", note]);
    }
    line
}

fn code(exchange: &Exchange) -> Option<Code> {
    Code::of(exchange, exchange.rpc.as_deref()?)
}

fn document(exchange: &Exchange, process: &Process, start_unix_ns: u64) -> serde_json::Value {
    let rpc = exchange.rpc.as_deref().map(|call| {
        let messages =
            |messages: Messages| json!({ "messages": messages.count, "bytes": messages.bytes });
        json!({
            "service": call.service,
            "method": call.method,
            "status": code(exchange).map(Code::name),
            "request": messages(call.request),
            "response": messages(call.response),
        })
    });
    json!({
        "start_unix_ns": start_unix_ns,
        "duration_ns": exchange.end_ns.saturating_sub(exchange.start_ns),
        "side": side(exchange.side),
        "method": exchange.method,
        "path": exchange.path,
        "route": exchange.rpc.is_none().then(|| route::template(&exchange.path)),
        "status": exchange.status.ok(),
        "cut": exchange.cut.or(exchange.status.err()).map(|why| Cut::from(why).name()),
        "error": Failure::of(exchange).map(Failure::name),
        "rpc": rpc,
        "version": exchange.version,
        "tls": exchange.tls,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
        "local": exchange.local,
        "remote": exchange.remote,
        "service": &*process.service,
        "pid": exchange.thread.tgid,
        "tid": exchange.thread.tid,
        "container": process.container,
    })
}

#[cfg(test)]
mod tests;

//! `fathom flows`: each TCP connection of the node: when it begins, where it stands while it lives, how it ends, and why it failed to begin.

mod show;

use std::time::{Duration, Instant};

use fathom_abi::{Role, counters::NetCounter};

use self::show::{Show, document, header, line};
use super::live::{self, Live, Ring};
use crate::{
    cli::{Failure, Outcome},
    net::{Flows, Open, Reports, existing::Search},
};

/// How long the search for connections from before may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Open connections that are reported while they live; of more, only their beginning and end.
const OPEN: usize = 1 << 17;

/// Flags of `fathom flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: live::Args,
    /// How often open connections are shown
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    interval: f64,
}

/// Shows flows until the time is up.
///
/// # Errors
/// When the probes do not work here, or a flag is wrong.
pub fn run(args: &Args) -> Outcome {
    let interval = Duration::try_from_secs_f64(args.interval)
        .ok()
        .filter(|interval| *interval >= SHORTEST_INTERVAL)
        .ok_or_else(|| {
            let interval = args.interval;
            Failure::Usage(anyhow::anyhow!(
                "--interval {interval}: give a number of seconds of at least 0.1"
            ))
        })?;
    let args = &args.live;
    let mut live = Live::start(args, false)?;
    // What was opened before the taps were there is in the kernel's list.
    let existing = Search::start(SEARCH_LIMIT)
        .map_err(|error| {
            Failure::Cannot(anyhow::Error::new(error).context("listing connections from before"))
        })?
        .finish();
    let mut decoder = Flows::default();
    let mut open = Open::new(OPEN);
    let mut reports = Reports::new(interval);
    if !args.json {
        live.line(header())?;
    }
    let mut flows = Vec::new();
    let mut shown = 0_u64;
    let mut go_on = true;
    let show = Show::default();
    while go_on {
        go_on = live.tick()?;
        let mut drain = |live: &mut Live| {
            live.drain(Ring::Flows, |record| {
                decoder.record(record, &mut |flow| flows.push(flow));
            });
        };
        drain(&mut live);
        let mut refused = None;
        reports.turn(
            Instant::now(),
            || open.ids().collect(),
            |ids| {
                refused = live.net.report(ids).err().or(refused.take());
                drain(&mut live);
            },
        );
        if let Some(error) = refused {
            tracing::warn!("open connections are not shown until their end: {error}");
        }
        // The other ring is not shown here, and must not fill up.
        live.drain(Ring::Messages, |_| {});
        for mut flow in flows.drain(..) {
            if flow.role == Role::UNKNOWN {
                flow.role = existing.role(flow.local, flow.remote);
            }
            open.take(&flow, 0);
            if args.pid.is_some_and(|pid| pid != flow.tgid) {
                continue;
            }
            live.identity.name(flow.tgid, flow.comm);
            let process = (flow.tgid != 0).then(|| live.identity.process(flow.tgid, flow.at_ns));
            let at_ns = live.clock.unix_ns(flow.at_ns);
            shown += 1;
            if args.json {
                live.line(document(&show, &flow, process.as_deref(), at_ns))?;
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

/// More often the records of all connections would not find their way.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

//! `fathom flows`: each TCP connection of the node: when it begins, where it stands while it lives, how it ends, and why it failed to begin.

mod choice;
mod edges;
mod limits;
mod remembered;
mod resolved;
mod show;
mod table;
mod view;

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use fathom_abi::{ConnectionId, Role, counters::NetCounter};

use self::{limits::Unshown, remembered::Remembered, resolved::Resolved, view::View};
use super::live::{self, Live, Ring, Subject};
use crate::{
    cli::{Failure, Outcome},
    identity::{FarEnd, FarEnds, Peer, Process},
    net::{
        AT_A_TIME, Before, Existing, Filter, Flow, Flows, Gone, Open, Reports, existing::Search,
        filter::parse, flows::FlowCounts, open::Progress,
    },
    probes::net::Wanted,
    telemetry::Clock,
};

/// How long the search for connections from before may take.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);

/// Open connections that are reported while they live; of more, only their beginning and end.
const OPEN: usize = 1 << 17;

/// How often open connections are read for lines, and for what is drawn.
const LINES_INTERVAL: Duration = Duration::from_secs(10);
const DRAWN_INTERVAL: Duration = Duration::from_secs(1);

/// More often the records of all connections would not find their way.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Flags of `fathom flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: live::Args,
    /// How often open connections are read, such as 500ms, 2s or 1m: by default 1s for the table, else 10s
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Lines also on a terminal, where else a table is shown that updates
    #[arg(long)]
    lines: bool,
    /// Who speaks with whom, in place of each connection: service, role, other end, connections, failures, bytes, retransmits, worst times
    #[arg(long)]
    edges: bool,
    #[command(flatten)]
    choice: choice::Args,
}

/// What `fathom flows --help` ends with.
pub const EXAMPLES: &str = "Examples:
  fathom flows                                  what moves now, as a table; q or Ctrl-C ends it
  fathom flows --failed --lines                 each connection that fails, as it does, and why
  fathom flows --process nginx --slower-than 50ms
  fathom flows --address 10.0.0.0/8 --port 5432 --json -d 60 > postgres.jsonl
  fathom flows --edges -d 30 --lines            a service map of half a minute";

/// One thing to show.
struct Seen<'a> {
    flow: &'a Flow,
    /// What is new with it.
    progress: Progress,
    process: Option<&'a Arc<Process>>,
    peer: &'a Peer,
    /// Where it goes, where its destination is translated on the way.
    destination: Option<SocketAddr>,
    at_unix_ns: u64,
}

/// Shows flows until the time is up.
///
/// # Errors
/// When the probes do not work here, or a flag is wrong.
pub fn run(args: &Args) -> Outcome {
    let filter = args.choice.filter()?;
    if args.edges
        && let Some(flag) = args.choice.of_a_moment()
    {
        return Err(Failure::Usage(anyhow::anyhow!(
            "{flag} can't be used with --edges, which counts whole connections; choose by --pid, --process, --port or --address"
        )));
    }
    let is_drawn = !args.lines && !args.live.json && io::stdout().is_terminal();
    let interval = interval(args.interval.as_deref(), is_drawn)?;
    let live = Live::start(&args.live, Subject::Connections)?;
    let cannot = |error: io::Error| {
        Failure::Cannot(anyhow::Error::new(error).context("listing connections from before"))
    };
    // What was opened before the taps were there is in the kernel's list.
    let search = Search::start(SEARCH_LIMIT).map_err(cannot)?;
    let (existing, listed) = search.finish();
    let before = Before::start(listed).map_err(cannot)?;
    let view = View::new(args.edges, args.live.json, is_drawn, interval)?;
    let flows = Flows::default();
    let resolved = Resolved::new();
    let mut watch = Watch {
        counts: flows.counts(),
        live,
        flows,
        open: Open::new(OPEN),
        reports: Reports::new(interval),
        gone: Gone::default(),
        interval,
        unshown: Unshown::of(&existing.counts()),
        existing,
        before,
        remembered: Remembered::default(),
        far: FarEnds::new(resolved.names(), "/proc".as_ref()),
        resolved,
        filter,
        view,
        unread: None,
        shown: 0,
    };
    let ran = watch.run();
    // The terminal is given back before anything else is written.
    let finished = watch.view.finish(&mut watch.live);
    ran.and(finished)?;
    let refused = watch.live.counter(NetCounter::FlowRingFull);
    let kept = watch.live.probes.net.misses.flows();
    let calls = watch.live.kept_calls();
    let shown = watch.shown;
    let unshown: String = watch
        .unshown
        .texts()
        .map(|text| format!("; {text}"))
        .collect();
    // Standard error holds no data, so that this disturbs no reader of JSON.
    eprintln!(
        "{shown} records; {refused} more found the ring buffer full; the kernel kept {kept} changes of state and {calls} calls from the programs{unshown}"
    );
    Ok(())
}

fn interval(given: Option<&str>, is_drawn: bool) -> Result<Duration, Failure> {
    let Some(text) = given else {
        return Ok(if is_drawn {
            DRAWN_INTERVAL
        } else {
            LINES_INTERVAL
        });
    };
    let interval = choice::value("--interval", text, parse::time)?;
    if interval < SHORTEST_INTERVAL {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--interval: {text:?} is too short; accepted is 100ms or longer"
        )));
    }
    Ok(interval)
}

/// All that it takes from the ring to the reader.
struct Watch {
    live: Live,
    flows: Flows,
    counts: Arc<FlowCounts>,
    open: Open,
    reports: Reports,
    gone: Gone,
    interval: Duration,
    existing: Existing,
    before: Before,
    resolved: Resolved,
    far: FarEnds,
    remembered: Remembered,
    filter: Filter,
    view: View,
    /// Why open connections can't be read, where they can't.
    unread: Option<String>,
    unshown: Unshown,
    shown: u64,
}

impl Watch {
    fn run(&mut self) -> Outcome {
        let mut taken = Vec::new();
        let mut go_on = true;
        while go_on {
            go_on = self.live.tick()? && !self.view.is_left();
            // What the ring holds of these is taken out before they are told.
            let gone = self.gone.take();
            self.drain(&mut taken);
            let now_ns = Clock::monotonic_ns();
            self.far
                .learn_begun(&taken, &mut self.live.identity, now_ns);
            for flow in taken.drain(..) {
                self.record(flow)?;
            }
            self.lost(gone, now_ns);
            // After the records: what they told of is not listed.
            for listed in self.before.take() {
                let flow = listed.flow(Clock::monotonic_ns());
                self.before.remember(&flow);
                self.tell(&flow)?;
            }
            let now_ns = Clock::monotonic_ns();
            for flow in self.before.resting(self.interval, SEARCH_LIMIT, now_ns) {
                self.tell(&flow)?;
            }
            if self.view.is_due() {
                let losses = self.losses();
                self.view.draw(&self.live.clock, &losses)?;
            }
        }
        self.live.tick()?;
        Ok(())
    }

    /// Takes what the rings hold, and has the kernel say where some of the open connections stand.
    fn drain(&mut self, taken: &mut Vec<Flow>) {
        self.resolved.drain(&mut self.live);
        let (live, flows) = (&mut self.live, &mut self.flows);
        let (open, before, gone) = (&self.open, &self.before, &mut self.gone);
        let mut drain = |live: &mut Live| {
            live.drain(Ring::Flows, |record| {
                flows.record(record, &mut |flow| taken.push(flow));
            });
        };
        drain(live);
        let mut refused = None;
        let turn = self.reports.turn(Instant::now(), false, || {
            gone.begin(live.counter(NetCounter::FlowRingFull));
            open.ids().chain(before.ids()).collect()
        });
        for ids in turn.chunks(AT_A_TIME) {
            refused = live.probes.net.report(ids, Wanted::All).err().or(refused);
            gone.look(ids, |id| live.probes.net.connections.has(id));
            drain(live);
        }
        if let Some(error) = refused
            && self.unread.is_none()
        {
            if !self.view.is_drawn() {
                tracing::warn!("open connections are not shown until their end: {error}");
            }
            self.unread = Some(error.to_string());
        }
        // The other ring is not shown here, and must not fill up.
        live.drain(Ring::Messages, |_| {});
    }

    /// Connections whose end was lost, but for those that are known to be over.
    fn lost(&mut self, ids: Vec<ConnectionId>, now_ns: u64) {
        for id in ids {
            let mut flow = Flow::lost(id, now_ns);
            self.before.resume(&mut flow);
            if let Some(progress) = self.open.take_known(&flow) {
                self.view.lost(flow.id, &progress);
            }
        }
    }

    /// One record.
    fn record(&mut self, mut flow: Flow) -> Outcome {
        self.before.resume(&mut flow);
        if flow.role == Role::UNKNOWN {
            flow.role = self.existing.role(flow.local, flow.remote);
        }
        self.live
            .identity
            .name_alive(flow.tgid, flow.comm, flow.id.born_ns);
        self.tell(&flow)
    }

    /// What is new of a connection.
    fn tell(&mut self, flow: &Flow) -> Outcome {
        let process = self.process(flow);
        let service = process.as_ref().map(|process| &process.service);
        let far = self.far.of(flow, service);
        let far = self.remembered.best(flow, far);
        let number = self.view.number(process.as_ref(), flow.role, &far.peer);
        let followed = self.open.len();
        let progress = self.open.take(flow, number);
        let is_beyond = progress.begins && !progress.ends && self.open.len() == followed;
        self.unshown.beyond += u64::from(is_beyond);
        self.give(flow, progress, process.as_ref(), &far, number)
    }

    fn process(&mut self, flow: &Flow) -> Option<Arc<Process>> {
        (flow.tgid != 0).then(|| self.live.identity.process(flow.tgid, flow.at_ns))
    }

    fn give(
        &mut self,
        flow: &Flow,
        progress: Progress,
        process: Option<&Arc<Process>>,
        far: &FarEnd,
        number: u32,
    ) -> Outcome {
        let names = process.map(|process| [&*process.service, process.comm.as_str()]);
        let names: &[&str] = names.as_ref().map_or(&[], |names| &names[..]);
        if !self.filter.fits(flow, far.destination, names) {
            self.view.forget(flow.id);
            return Ok(());
        }
        self.shown += 1;
        let seen = Seen {
            flow,
            progress,
            process,
            peer: &far.peer,
            destination: far.destination,
            at_unix_ns: self.live.clock.unix_ns(flow.at_ns),
        };
        self.view.take(&mut self.live, &seen, number)
    }

    /// What can't be shown, for people.
    fn losses(&self) -> String {
        let counts = [
            (
                self.live.counter(NetCounter::FlowRingFull),
                "records found the ring buffer full",
            ),
            (
                self.live.probes.net.misses.flows(),
                "changes of state were kept from the programs",
            ),
            (
                self.live.kept_calls(),
                "calls were kept from the programs, so that first bytes have no time, or accepted ends no process",
            ),
            (self.counts.malformed(), "records were malformed"),
        ];
        let unread = self.unread.iter();
        let unread = unread.map(|why| format!("where open connections stand ({why})"));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let lost: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .chain(unread)
            .chain(self.unshown.texts())
            .collect();
        if lost.is_empty() {
            "nothing".to_owned()
        } else {
            lost.join(", ")
        }
    }
}

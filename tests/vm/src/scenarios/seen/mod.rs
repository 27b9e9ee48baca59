//! Every subject under a known load: what fathom counted of it, against what each program says of itself.
//!
//! All servers start before the agent and all clients after it, as it is on a node where fathom comes last.

pub(super) mod compare;
mod latency;
mod load;
mod table;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::{
    compare::Verdict,
    latency::{Latency, Spans},
    load::{Load, Timing},
    table::{Bears, Row},
};
use super::accounting;
use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    receiver::Receiver,
    subjects::{
        Certificate, SUBJECTS, Seen, Subject,
        program::{Ground, Library},
        truth::Answers,
    },
};

/// Clients at a time, and the rounds that each goes through.
const WORKERS: usize = 3;
const ROUNDS: u64 = 4;

/// Rounds of the one client whose times are measured.
const TIMED_ROUNDS: u64 = 12;

/// How often an end's medians are compared, at most, until they agree.
const TRIES: usize = 5;

/// For how long counts may still grow after the last answer.
const SETTLED: Duration = Duration::from_secs(15);

/// How much each subject does.
#[derive(Clone, Copy)]
struct Amount {
    rounds: usize,
    /// None where no clock says much.
    timed_rounds: usize,
}

/// One end of a subject, after its load.
#[derive(Clone)]
struct End {
    number: usize,
    of: Subject,
    role: Role,
    library: Library,
    service: String,
    answers: Answers,
    /// What its requests took, where that was measured.
    timing: Option<Timing>,
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    fn floor(self, of: &Subject) -> Seen {
        match self {
            Self::Server => of.of_server,
            Self::Client => of.of_client,
        }
    }
}

pub fn run(context: &mut Context) -> Result<()> {
    let certificate = match Certificate::missing() {
        Some(_) => None,
        None => Some(Certificate::create(context.dir())?),
    };
    let ground = Ground {
        dir: context.dir().to_path_buf(),
        certificate,
        programs: context.programs.clone(),
    };
    let mut rows = Vec::new();
    let mut servers = Vec::new();
    for (number, subject) in SUBJECTS.iter().enumerate() {
        if let Some(why) = missing(subject) {
            for role in [Role::Server, Role::Client] {
                rows.push(Row::not_tested(number, subject, role, &why));
            }
        } else {
            let server = subject.server.serve(&ground, subject, number)?;
            servers.push((number, subject, server));
        }
    }

    // On an emulated processor a uprobe takes longer than a request should, and nobody's clock says much.
    let receiver = match context.patience {
        1 => Some(Receiver::start(context.dir())?),
        _ => None,
    };
    let config = context.dir().join("seen.yaml");
    fs::write(&config, "otlp:\n  interval: 1s\n")?;
    let config = config.to_string_lossy().into_owned();
    let endpoint = receiver.as_ref().map(Receiver::endpoint);
    let mut arguments = vec!["--config", &config];
    match &endpoint {
        Some(endpoint) => arguments.extend(["--otlp-endpoint", endpoint]),
        None => arguments.extend(["--capabilities", "net,tls"]),
    }
    let agent = Agent::start(context, &arguments)?;
    context.fact("ready_s", agent.ready_after().as_secs_f64());

    let amount = Amount {
        rounds: usize::try_from(context.scaled(ROUNDS, 2))?,
        timed_rounds: usize::try_from(context.scaled(TIMED_ROUNDS, 0))?,
    };
    let loads: Vec<Load<'_>> = servers
        .iter()
        .map(|(number, subject, server)| Load {
            ground: &ground,
            number: *number,
            subject,
            server,
            amount,
        })
        .collect();
    let mut ends = Vec::new();
    for load in &loads {
        ends.extend(load.run()?);
    }
    let metrics = settled(&agent, &ends)?;
    let verdicts: Vec<Verdict> = ends
        .iter()
        .map(|end| compare::judge(end, &metrics))
        .collect();
    let counted = verdicts.iter().map(|verdict| verdict.counted).sum();
    let spans = receiver
        .as_ref()
        .map(|receiver| Spans::of(receiver, counted))
        .transpose()?;
    for (at, verdict) in verdicts.into_iter().enumerate() {
        let end = &mut ends[at];
        // Two ends a load.
        let latency = match (&receiver, &spans) {
            (Some(receiver), Some(spans)) => {
                let found = spans.compare(end);
                match verdict.seen {
                    Seen::Fully => again(receiver, &loads[at / 2], end, found)?,
                    // Half of its requests may have another median.
                    Seen::Partly | Seen::Not => found,
                }
            }
            _ => None,
        };
        rows.push(Row::tested(end, verdict, latency));
    }
    rows.sort_by_key(|row| row.number);
    let lost = accounting::losses(&metrics) + accounting::missed_calls(&metrics);
    report(context, &rows, lost).with_context(|| {
        format!(
            "under other names: {}; {}",
            compare::others(&ends, &metrics).join(", "),
            accounting::all(&metrics)
        )
    })?;
    agent.settle(accounting::check)?;
    agent.stop()?;
    // Whatever fathom attached to them, and took away again.
    for (_, _, server) in servers {
        server.end()?;
    }
    Ok(())
}

/// Why a subject can't be tried here.
fn missing(subject: &Subject) -> Option<String> {
    let certificate = || {
        let needed = subject.protocol.is_secure();
        Certificate::missing().filter(|_| needed).map(str::to_owned)
    };
    subject
        .server
        .missing()
        .or_else(|| subject.client.missing())
        .or_else(certificate)
}

/// Where an end's medians are too far apart, what it does is measured again: on a busy machine a median of a few dozen requests can be off by itself.
fn again(
    receiver: &Receiver,
    load: &Load<'_>,
    end: &mut End,
    mut found: Option<Latency>,
) -> Result<Option<Latency>> {
    for _ in 1..TRIES {
        if found.is_some_and(Latency::is_close) {
            break;
        }
        end.timing = Some(load.again(end.role)?);
        found = Spans::of_end(receiver, end)?.compare(end);
    }
    Ok(found)
}

/// A scrape at which everything is counted that the floors ask for, and after which nothing more comes.
fn settled(agent: &Agent, ends: &[End]) -> Result<Metrics> {
    let deadline = Instant::now() + SETTLED;
    let mut before = None;
    loop {
        let metrics = agent.metrics()?;
        let verdicts: Vec<Verdict> = ends
            .iter()
            .map(|end| compare::judge(end, &metrics))
            .collect();
        let reached = ends
            .iter()
            .zip(&verdicts)
            .all(|(end, verdict)| verdict.seen >= end.role.floor(&end.of));
        let counted: Vec<u64> = verdicts.iter().map(|verdict| verdict.counted).collect();
        if (reached && before.as_ref() == Some(&counted)) || Instant::now() >= deadline {
            return Ok(metrics);
        }
        before = Some(counted);
        thread::sleep(Duration::from_millis(1500));
    }
}

/// Notes what was found, writes the table where it is asked for, and fails where less is seen than must be.
fn report(context: &mut Context, rows: &[Row], lost: u64) -> Result<()> {
    for seen in [Seen::Fully, Seen::Partly, Seen::Not] {
        let count = rows.iter().filter(|row| row.seen() == Some(seen)).count();
        context.fact(&seen.to_string(), count);
    }
    let mut note = |name, fact: fn(&Row) -> Option<String>| {
        let found: Vec<String> = rows.iter().filter_map(fact).collect();
        if !found.is_empty() {
            context.fact(name, found);
        }
    };
    note("not_tested", Row::why_not_tested);
    note("above_the_floor", Row::above_the_floor);
    let table = table::markdown(rows);
    if context.write_docs {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/seen.md");
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
    } else {
        eprintln!("{table}");
    }
    // In a guest, tasks preempt each other within the taps' programs of newer kernels, for as long as an emulated processor takes. What comes of that is lost and counted, as an
    // exchange or as a call that was missed, and is never a wrong exchange.
    let missing: u64 = rows.iter().map(Row::missing).sum();
    let logged: u64 = rows.iter().map(Row::logged).sum();
    let in_guest = context.patience > 1;
    let bears = if in_guest && lost > 0 && missing * 100 <= logged {
        Bears::SomeLost
    } else {
        Bears::Nothing
    };
    if missing > 0 {
        context.fact("missing", missing);
        context.fact("counted_losses", lost);
    }
    let problems: Vec<String> = rows.iter().filter_map(|row| row.problem(bears)).collect();
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

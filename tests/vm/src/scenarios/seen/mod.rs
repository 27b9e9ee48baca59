//! Every subject under a known load: what fathom counted of it, against what each program says of itself.
//!
//! All servers start before the agent and all clients after it, as it is on a node where fathom comes last.

pub(super) mod compare;
mod latency;
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
    latency::{Moment, Spans},
    table::Row,
};
use super::accounting;
use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    receiver::Receiver,
    subjects::{
        Certificate, SUBJECTS, Seen, Subject,
        plan::{self, Plan},
        program::{Done, Ground, Library, Server, service},
        truth::{self, Answers, Timed},
    },
};

/// Clients at a time, and the rounds that each goes through.
const WORKERS: usize = 3;
const ROUNDS: usize = 4;

/// Rounds of the one client whose times are measured.
const TIMED_ROUNDS: usize = 12;

/// For how long counts may still grow after the last answer.
const SETTLED: Duration = Duration::from_secs(15);

/// One end of a subject, after its load.
#[derive(Clone)]
struct End {
    number: usize,
    of: Subject,
    role: Role,
    library: Library,
    service: String,
    answers: Answers,
    /// What its requests took in the timed part, by a clock that is not fathom's.
    times: Vec<Timed>,
    /// When that part began.
    since: Moment,
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

    let receiver = Receiver::start(context.dir())?;
    let config = context.dir().join("seen.yaml");
    fs::write(&config, "otlp:\n  interval: 1s\n")?;
    let config = config.to_string_lossy().into_owned();
    let endpoint = receiver.endpoint();
    let agent = Agent::start(
        context,
        &["--config", &config, "--otlp-endpoint", &endpoint],
    )?;

    let mut ends = Vec::new();
    for (number, subject, server) in &servers {
        ends.extend(load(&ground, *number, subject, server)?);
    }
    let metrics = settled(&agent, &ends)?;
    let verdicts: Vec<Verdict> = ends
        .iter()
        .map(|end| compare::judge(end, &metrics))
        .collect();
    let counted = verdicts.iter().map(|verdict| verdict.counted).sum();
    let spans = Spans::of(&receiver, counted)?;
    for (end, verdict) in ends.iter().zip(verdicts) {
        // Half of the requests may have another median.
        let latency = match verdict.seen {
            Seen::Fully => spans.compare(end),
            Seen::Partly | Seen::Not => None,
        };
        rows.push(Row::tested(end, verdict, latency));
    }
    rows.sort_by_key(|row| row.number);
    report(context, &rows).with_context(|| {
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

/// Has a subject's client do its plans, and hears both ends.
fn load(ground: &Ground, number: usize, subject: &Subject, server: &Server) -> Result<[End; 2]> {
    let plan = |workers, rounds| -> Plan {
        if subject.protocol.is_grpc() {
            plan::grpc(workers, rounds)
        } else {
            plan::http(workers, rounds, subject.client.methods())
        }
    };
    let ask = |plan| {
        subject
            .client
            .ask(ground, subject, number, server, &plan)
            .with_context(|| format!("subject {number}"))
    };
    let mut log = ask(plan(WORKERS, ROUNDS))?.log;
    let since = Moment::now();
    let Done {
        library,
        log: timed,
    } = ask(plan(1, TIMED_ROUNDS))?;
    let times = timed.times.clone();
    log.append(timed);
    let answered = server.answered(truth::total(&log.answers))?;
    ensure!(
        answered.answers == log.answers,
        "subject {number}: the server answered {:?}, the client heard {:?}",
        answered.answers,
        log.answers
    );
    let of_server: Vec<Timed> = answered
        .times
        .into_iter()
        .filter(|time| time.start >= since.monotonic)
        .collect();
    let client = End {
        number,
        of: *subject,
        role: Role::Client,
        library,
        service: service(number, subject.client, "c"),
        answers: log.answers,
        times,
        since,
    };
    let server = End {
        role: Role::Server,
        library: server.library.clone(),
        service: server.service.clone(),
        answers: answered.answers,
        times: of_server,
        ..client.clone()
    };
    Ok([server, client])
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
fn report(context: &mut Context, rows: &[Row]) -> Result<()> {
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
    note("off_in_time", Row::off_in_time);
    let table = table::markdown(rows);
    if context.write_docs {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/seen.md");
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
    } else {
        eprintln!("{table}");
    }
    let problems: Vec<String> = rows.iter().filter_map(Row::problem).collect();
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

//! HTTP/1.1 as real programs speak it and as hostile ones do: `tests/subjects/torture_client.py` has the cases.
//!
//! No exchange may be counted that never happened. Each that happened is counted, but where a ring was full or the kernel kept calls from the tap, which is
//! counted in its place; and but for what is not decoded ([`NOT_DECODED`]), some of which must show in the losses.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::accounting;
use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    receiver,
    subjects::{
        process::{self, Running},
        program::sources,
    },
};

/// How often each case is gone through.
const ROUNDS: u64 = 12;

/// For how long the server may take to listen.
const LISTENING: Duration = Duration::from_secs(10);

/// The name under which fathom knows one of the two, in this run.
fn service(role: &str) -> String {
    format!("torture-{role}-{}", std::process::id())
}

/// Cases of which requests go missing, for what they do is not decoded: floors like those of `seen`, and to be taken away one by one.
const NOT_DECODED: [&str; 6] = [
    "/pipeline/",
    "/after-pipeline/",
    "/parts/",
    "/early/",
    "/after-early/",
    "/unusual/",
];

/// A method, a route and a status.
type Answer = (String, String, u16);

/// What one end says that it did.
#[derive(Default)]
struct Truth {
    /// Answered to the end.
    whole: BTreeMap<Answer, u64>,
    /// Broken off; without a status where no answer began.
    aborted: BTreeMap<Answer, u64>,
}

/// A line of a log.
#[derive(Deserialize)]
struct Line {
    method: String,
    path: String,
    status: u16,
    aborted: bool,
}

/// How what fathom counted differs from the truth.
#[derive(Default)]
struct Difference {
    missing: BTreeMap<Answer, u64>,
    never_happened: BTreeMap<Answer, u64>,
}

pub fn run(context: &mut Context) -> Result<()> {
    let (server_log, client_log) = (context.dir().join("server"), context.dir().join("client"));
    let said = context.dir().join("said");
    let mut server = script("torture_server.py", &service("server"))?;
    server
        .arg(&server_log)
        .stdin(Stdio::piped())
        .stdout(File::create(&said)?);
    let mut server = Running::start(server)?;
    let ports = first_line(&said, &mut server)?;

    let agent = Agent::start(context, &[])?;
    let mut client = script("torture_client.py", &service("client"))?;
    client
        .arg(&client_log)
        .arg(&ports)
        .arg(context.scaled(ROUNDS, 2).to_string())
        .stdin(Stdio::null());
    process::run(client)?;

    let of_server = Truth::read(&server_log)?;
    let of_client = Truth::read(&client_log)?;
    let happened: u64 = of_server
        .whole
        .values()
        .chain(of_client.whole.values())
        .sum();
    // What is open is looked at after some time; until then it is neither counted nor lost.
    let mut found = (0, 0);
    let mut whole: Vec<&str> = Vec::new();
    let metrics = agent.settle(|metrics| {
        accounting::check(metrics)?;
        let [server, client] = [
            of_server.compare(&counted(metrics, "server", &service("server"))),
            of_client.compare(&counted(metrics, "client", &service("client"))),
        ];
        ensure!(
            server.never_happened.is_empty() && client.never_happened.is_empty(),
            "counted and never happened: {:?} of the server, {:?} of the client; missing: {:?} and {:?} ({})",
            server.never_happened,
            client.never_happened,
            server.missing,
            client.missing,
            accounting::all(metrics)
        );
        let refused = accounting::missed_calls(metrics) + ring_full(metrics);
        let unexplained = server.missing(true) + client.missing(true);
        ensure!(
            unexplained <= refused,
            "{unexplained} exchanges are missing, with {refused} losses: {:?} of the server, {:?} of the client ({})",
            server.missing,
            client.missing,
            accounting::all(metrics)
        );
        found = (unexplained, server.missing(false) + client.missing(false));
        whole = NOT_DECODED
            .into_iter()
            .filter(|case| !server.lacks(case) && !client.lacks(case))
            .collect();
        ensure!(
            found.1 == 0 || accounting::losses(metrics) > refused,
            "{} exchanges are not decoded, and none is counted as lost",
            found.1
        );
        Ok(())
    })?;
    context.fact("exchanges", happened);
    context.fact("missing", found.0);
    context.fact("not_decoded", found.1);
    if !whole.is_empty() {
        context.fact("decoded_by_now", whole);
    }
    context.fact("counted_losses", accounting::losses(&metrics));
    ensure!(server.ended()?.is_none(), "the server ended by itself");
    agent.stop()
}

/// A program in Python, known to fathom as `service`.
fn script(name: &str, service: &str) -> Result<Command> {
    let mut command = Command::new(receiver::interpreter()?);
    command
        .arg("-B")
        .arg(sources().join(name))
        .env("OTEL_SERVICE_NAME", service);
    Ok(command)
}

fn first_line(said: &Path, server: &mut Running) -> Result<String> {
    let deadline = Instant::now() + LISTENING;
    loop {
        if let Some((line, _)) = fs::read_to_string(said)?.split_once('\n') {
            return Ok(line.to_owned());
        }
        if server.ended()?.is_some() || Instant::now() >= deadline {
            bail!("the server does not say where it listens");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

impl Truth {
    fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("no log {}", path.display()))?;
        let mut truth = Self::default();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line)
                .with_context(|| format!("{} has the line {line}", path.display()))?;
            let of = if line.aborted {
                &mut truth.aborted
            } else {
                &mut truth.whole
            };
            let answer = (line.method, route(&line.path), line.status);
            *of.entry(answer).or_insert(0) += 1;
        }
        Ok(truth)
    }

    /// An exchange that was broken off may be counted with the status that it had begun with, without one, or not at all.
    fn compare(&self, counted: &BTreeMap<Answer, u64>) -> Difference {
        let mut difference = Difference::default();
        let mut aborted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((method, route, _), count) in &self.aborted {
            *aborted.entry((method, route)).or_insert(0) += count;
        }
        for (answer, &count) in &self.whole {
            let seen = counted.get(answer).copied().unwrap_or(0);
            if seen < count {
                difference.missing.insert(answer.clone(), count - seen);
            }
        }
        for (answer, &count) in counted {
            let whole = self.whole.get(answer).copied().unwrap_or(0);
            let (method, route, status) = answer;
            let began = *status == 0 || self.aborted.contains_key(answer);
            let allowed = aborted
                .get_mut(&(method.as_str(), route.as_str()))
                .filter(|_| began);
            let mut more = count.saturating_sub(whole);
            if let Some(allowed) = allowed {
                let used = more.min(*allowed);
                *allowed -= used;
                more -= used;
            }
            if more > 0 {
                difference.never_happened.insert(answer.clone(), more);
            }
        }
        difference
    }
}

impl Difference {
    /// Whether a request of this case is missing.
    fn lacks(&self, case: &str) -> bool {
        self.missing
            .keys()
            .any(|(_, route, _)| route.starts_with(case))
    }

    /// How many are missing of what is decoded, or of what is not.
    fn missing(&self, decoded: bool) -> u64 {
        let is_decoded = |route: &str| !NOT_DECODED.iter().any(|case| route.starts_with(case));
        let missing = self.missing.iter();
        missing
            .filter(|((_, route, _), _)| is_decoded(route) == decoded)
            .map(|(_, count)| count)
            .sum()
    }
}

/// Cases count their rounds in the last part of the path.
fn route(path: &str) -> String {
    path.rsplit_once('/')
        .map_or_else(|| path.to_owned(), |(case, _)| format!("{case}/{{id}}"))
}

/// Records that found the tap's ring full.
fn ring_full(metrics: &Metrics) -> u64 {
    let labels = [
        ("stage", "tap"),
        ("signal", "messages"),
        ("outcome", "ring_full"),
    ];
    metrics.count("fathom_events_total", &labels)
}

/// The requests of `service` on one side; without an answer the status is 0.
fn counted(metrics: &Metrics, side: &str, service: &str) -> BTreeMap<Answer, u64> {
    let name = format!("http_{side}_request_duration_seconds_count");
    let route = match side {
        "server" => "http_route",
        _ => "url_template",
    };
    let mut counted = BTreeMap::new();
    for sample in metrics.select(&name, &[("service_name", service)]) {
        let label = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
        let status = label("http_response_status_code").parse().unwrap_or(0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, far below 2^53"
        )]
        let count = sample.value as u64;
        let answer = (label("http_request_method"), label(route), status);
        *counted.entry(answer).or_insert(0) += count;
    }
    counted.retain(|_, count| *count > 0);
    counted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Answer, Truth, route};

    fn answers(of: &[(&str, u16, u64)]) -> BTreeMap<Answer, u64> {
        of.iter()
            .map(|&(route, status, count)| (("GET".to_owned(), route.to_owned(), status), count))
            .collect()
    }

    #[test]
    fn what_never_happened_and_what_is_missing_are_found() {
        let truth = Truth {
            whole: answers(&[("/a", 200, 3), ("/b", 200, 1)]),
            aborted: BTreeMap::new(),
        };
        let difference = truth.compare(&answers(&[("/a", 200, 2), ("/b", 500, 1)]));
        assert_eq!(
            difference.missing,
            answers(&[("/a", 200, 1), ("/b", 200, 1)])
        );
        assert_eq!(difference.never_happened, answers(&[("/b", 500, 1)]));
    }

    #[test]
    fn what_was_broken_off_may_be_counted_once_with_its_status_or_none() {
        let truth = Truth {
            whole: BTreeMap::new(),
            aborted: answers(&[("/a", 200, 1), ("/b", 0, 1)]),
        };
        let strange =
            |counted: &[(&str, u16, u64)]| truth.compare(&answers(counted)).never_happened;
        assert!(strange(&[]).is_empty());
        assert!(strange(&[("/a", 200, 1), ("/b", 0, 1)]).is_empty());
        assert!(strange(&[("/a", 0, 1)]).is_empty());
        assert_eq!(strange(&[("/b", 200, 1)]), answers(&[("/b", 200, 1)]));
        assert_eq!(strange(&[("/a", 0, 1), ("/a", 200, 1)]).len(), 1);
    }

    #[test]
    fn a_case_is_a_route() {
        assert_eq!(route("/aborted/7"), "/aborted/{id}");
    }
}

//! wrk as a client. It logs nothing but counts and the median; what was asked for is known from the server's log.

use std::{
    fmt::Write as _,
    fs::{self, File},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use super::{
    Certificate,
    process::{self, Running},
    program::{Asking, Done, Library},
    truth::{Log, total},
};

/// What its script prints at the end.
#[derive(Debug, Deserialize)]
struct Summary {
    requests: u64,
    connect: u64,
    read: u64,
    write: u64,
    timeout: u64,
    median_us: f64,
}

/// Asks for the whole plan, in turn, on a connection for each of its workers; none is closed before all is done.
pub fn ask(asking: &Asking<'_>) -> Result<Done> {
    let (script, output) = (asking.file("mix.lua"), asking.file("output"));
    fs::write(&script, lua(asking))?;
    let before = asking.server.answered(0)?.answers;
    let mut command = asking.command("wrk")?;
    command
        .args(["--threads", "1", "--duration", "3600"])
        .args(["--connections", &asking.plan.len().to_string(), "--script"])
        .arg(&script)
        .arg(asking.url())
        .stdout(File::create(&output)?);
    let mut running = Running::start(command)?;
    let asked = u64::try_from(asking.requests())?;
    let after = asking.server.answered(total(&before) + asked)?.answers;
    running.signal(Signal::INT)?;
    running.wait(Duration::from_secs(60))?;
    let said = fs::read_to_string(&output)?;
    let line = said.lines().find(|line| line.starts_with('{'));
    let summary: Summary = serde_json::from_str(line.context("wrk printed no summary")?)?;
    ensure!(
        summary.requests == asked
            && summary.connect + summary.read + summary.write + summary.timeout == 0,
        "wrk was told to ask {asked} times: {summary:?}"
    );
    let mut log = Log::default();
    for (answer, count) in after {
        let count = count - before.get(&answer).copied().unwrap_or(0);
        if count > 0 {
            log.answers.insert(answer, count);
        }
    }
    log.times.push(summary.median_us / 1e6);
    Ok(Done {
        library: library(asking)?,
        log,
    })
}

/// wrk asks `delay` before each request; one that is over the quota waits for longer than wrk runs.
fn lua(asking: &Asking<'_>) -> String {
    let mut script =
        String::from("local requests = {}\nlocal at = 0\nlocal sent = 0\nfunction init(args)\n");
    for ask in asking.plan.iter().flatten() {
        let body = if ask.body == 0 {
            "nil".to_owned()
        } else {
            format!("string.rep(\"x\", {})", ask.body)
        };
        let _ = writeln!(
            script,
            "  requests[#requests + 1] = wrk.format(\"{}\", \"{}\", nil, {body})",
            ask.method, ask.path
        );
    }
    let _ = write!(
        script,
        "end
function request() at = at % #requests + 1; return requests[at] end
function delay() if sent == {} then return 36000000 end; sent = sent + 1; return 0 end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{\"requests\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d,\"median_us\":%f}}\\n',
    summary.requests, e.connect, e.read, e.write, e.timeout, latency:percentile(50)))
end
",
        asking.requests()
    );
    script
}

fn library(asking: &Asking<'_>) -> Result<Library> {
    let mut command = process::command("wrk")?;
    command.arg("--version");
    // It ends with 1 after that.
    let (_, said, _) = process::finish(command)?;
    let version = said
        .strip_prefix("wrk ")
        .and_then(|rest| rest.split_whitespace().next())
        .context("no version in `wrk --version`")?;
    Ok(Library {
        name: format!("wrk {}", version.trim_start_matches("debian/")),
        tls: asking
            .certificate
            .map(|_| Certificate::openssl())
            .transpose()?,
    })
}

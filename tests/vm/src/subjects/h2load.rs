//! h2load as a client. It logs statuses and times; what was asked for is known from the server's log, which must agree in the statuses.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};

use super::{
    Certificate, process,
    program::{Asking, Done, Library},
    truth::{Log, total},
};

/// Asks for all paths of the plan in turn, with a connection for each of its workers.
pub fn ask(asking: &Asking<'_>) -> Result<Done> {
    let log = asking.file("log");
    let _ = fs::remove_file(&log);
    let before = asking.server.answered(0)?;
    let workers = asking.plan.len();
    let mut command = asking.command("h2load")?;
    command
        .args(["--requests", &asking.requests().to_string()])
        .args(["--clients", &workers.to_string()])
        .arg(format!("--log-file={}", log.display()));
    if asking.http2 {
        let streams = asking.streams.to_string();
        command.args(["--max-concurrent-streams", &streams]);
    } else {
        command.arg("--h1");
    }
    // It knows no other host than the first one's.
    let paths = asking.plan.first().context("an empty plan")?;
    command.args(
        paths
            .iter()
            .map(|ask| format!("{}{}", asking.url(), ask.path)),
    );
    let said = process::run(command)?;
    let mut own: BTreeMap<String, u64> = BTreeMap::new();
    let mut done = Log::default();
    for line in fs::read_to_string(&log)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, status, microseconds] = fields[..] else {
            anyhow::bail!("not a line of h2load's log: {line}");
        };
        *own.entry(status.to_owned()).or_insert(0) += 1;
        done.times.push(microseconds.parse::<f64>()? / 1e6);
    }
    let asked = u64::try_from(asking.requests())?;
    let after = asking
        .server
        .answered(total(&before.answers) + asked)?
        .answers;
    for (answer, count) in after {
        let count = count - before.answers.get(&answer).copied().unwrap_or(0);
        if count > 0 {
            let left = own.entry(answer.status.clone()).or_insert(0);
            ensure!(
                *left >= count,
                "h2load did not get what was answered: {said}"
            );
            *left -= count;
            done.answers.insert(answer, count);
        }
    }
    ensure!(
        own.values().all(|&left| left == 0),
        "h2load got what was not answered: {own:?}"
    );
    Ok(Done {
        library: library(asking)?,
        log: done,
    })
}

fn library(asking: &Asking<'_>) -> Result<Library> {
    let mut command = process::command("h2load")?;
    command.arg("--version");
    let said = process::run(command)?;
    let version = said
        .trim()
        .strip_prefix("h2load nghttp2/")
        .context("no version in `h2load --version`")?;
    Ok(Library {
        name: format!("h2load {version}"),
        tls: asking
            .certificate
            .map(|_| Certificate::openssl())
            .transpose()?,
    })
}

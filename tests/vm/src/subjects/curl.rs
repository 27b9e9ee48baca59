//! curl as a client: a process for each connection.

use std::{fmt::Write as _, fs, thread};

use anyhow::{Context as _, Result, ensure};

use super::{
    plan::{Ask, connections},
    process,
    program::{Asking, Done, Library},
    truth::Log,
};

/// What curl prints of each request.
///
/// `time_pretransfer` is taken when the call that sends the request has returned (seen with a send(2) that sleeps behind its work). The server may have answered
/// by then, on a machine that gives it the processor meanwhile. So the request took at least what is left from there, and at most what is left
/// from when the connection stood.
const TOLD: &str = "%{method} %{url} %{http_version} %{http_code} %{time_connect} %{time_appconnect} %{time_pretransfer} %{time_total}\\n";

/// Does the plan.
pub fn ask(asking: &Asking<'_>) -> Result<Done> {
    for ask in asking.plan.iter().flatten() {
        fs::write(asking.file(&ask.body.to_string()), vec![b'x'; ask.body])?;
    }
    // Made before there are threads.
    asking.command("curl")?;
    let logs: Vec<Result<Log>> = thread::scope(|scope| {
        let workers: Vec<_> = asking
            .plan
            .iter()
            .enumerate()
            .map(|(number, plan)| scope.spawn(move || work(asking, number, plan)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Ok(Log::default())))
            .collect()
    });
    let mut all = Log::default();
    for log in logs {
        all.append(log?);
    }
    Ok(Done {
        library: library(asking)?,
        log: all,
    })
}

fn work(asking: &Asking<'_>, worker: usize, plan: &[Ask]) -> Result<Log> {
    let mut log = Log::default();
    for (number, part) in connections(plan).enumerate() {
        let config = asking.file(&format!("{worker}-{number}.conf"));
        fs::write(&config, configuration(asking, part)?)?;
        let mut command = asking.command("curl")?;
        command
            .args(["--disable", "--silent", "--show-error", "--config"])
            .arg(&config);
        let told = process::run(command)?;
        for line in told.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [method, url, version, status, times @ ..] = &fields[..] else {
                anyhow::bail!("not what curl was told to print: {line}");
            };
            ensure!(
                version.starts_with('2') == asking.http2,
                "the server speaks HTTP/{version}"
            );
            let path = url
                .strip_prefix(&asking.url())
                .with_context(|| format!("a strange address: {url}"))?;
            log.add(method, path, status);
            let times: Vec<f64> = times
                .iter()
                .map(|time| time.parse())
                .collect::<Result<_, _>>()?;
            let [connected, secured, sent, total] = times[..] else {
                anyhow::bail!("not what curl was told to print: {line}");
            };
            log.times.push(total - sent);
            log.at_most.push(total - connected.max(secured));
        }
    }
    Ok(log)
}

fn configuration(asking: &Asking<'_>, part: &[Ask]) -> Result<String> {
    let mut text = String::new();
    for (number, ask) in part.iter().enumerate() {
        if number > 0 {
            writeln!(text, "next")?;
        }
        writeln!(text, "url = \"{}{}\"", asking.url(), ask.path)?;
        writeln!(text, "output = \"/dev/null\"\nnoproxy = \"*\"")?;
        writeln!(text, "write-out = \"{TOLD}\"")?;
        if let Some(certificate) = asking.certificate {
            writeln!(text, "cacert = \"{}\"", certificate.certificate.display())?;
        }
        let version = match (asking.http2, asking.certificate) {
            (false, _) => "http1.1",
            (true, Some(_)) => "http2",
            (true, None) => "http2-prior-knowledge",
        };
        writeln!(text, "{version}")?;
        match ask.method {
            "HEAD" => writeln!(text, "head")?,
            "POST" => {
                let body = asking.file(&ask.body.to_string());
                writeln!(text, "data-binary = \"@{}\"", body.display())?;
            }
            _ => {}
        }
    }
    Ok(text)
}

/// The first line of `curl --version` names each library that it is linked with.
fn library(asking: &Asking<'_>) -> Result<Library> {
    let mut command = process::command("curl")?;
    command.arg("--version");
    let said = process::run(command)?;
    let mut words = said.lines().next().unwrap_or_default().split(' ');
    let version = words.nth(1).context("no version in `curl --version`")?;
    let tls = words
        .find(|word| word.contains("SSL/") || word.contains("TLS/"))
        .map(|word| word.replace('/', " "));
    Ok(Library {
        name: format!("curl {version}"),
        tls: tls.filter(|_| asking.certificate.is_some()),
    })
}

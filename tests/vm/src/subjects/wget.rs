//! wget as a client: a process for each connection, GET only.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    plan::{Ask, connections},
    process,
    program::{Asking, Done, Library},
    truth::Log,
};

/// Does the plan, one worker after the other.
pub fn ask(asking: &Asking<'_>) -> Result<Done> {
    let mut log = Log::default();
    for part in asking.plan.iter().flat_map(|plan| connections(plan)) {
        log.append(connection(asking, part)?);
    }
    let mut command = process::command("wget")?;
    command.arg("--version");
    let said = process::run(command)?;
    let version = said.split(' ').nth(2).context("no version of wget")?;
    Ok(Done {
        library: Library {
            name: format!("wget {version}"),
            tls: asking.certificate.map(|_| tls(&said).to_owned()),
        },
        log,
    })
}

/// What `wget --version` says that it is built with.
fn tls(said: &str) -> &'static str {
    if said.contains("+ssl/gnutls") {
        "GnuTLS (shared)"
    } else {
        "OpenSSL (shared)"
    }
}

fn connection(asking: &Asking<'_>, part: &[Ask]) -> Result<Log> {
    let list = asking.file("urls");
    let urls: String = part
        .iter()
        .map(|ask| format!("{}{}\n", asking.url(), ask.path))
        .collect();
    fs::write(&list, urls)?;
    let mut command = asking.command("wget")?;
    command
        .args([
            "--no-config",
            "--no-proxy",
            "--server-response",
            "--tries=1",
        ])
        .args(["--max-redirect=0", "--output-document=/dev/null"])
        .arg("--input-file")
        .arg(&list)
        .env("LC_ALL", "C");
    if let Some(certificate) = asking.certificate {
        command
            .arg("--ca-certificate")
            .arg(&certificate.certificate);
    }
    // It ends with 8 where one of the answers was an error.
    let (_, _, said) = process::finish(command)?;
    let mut log = Log::default();
    let mut path = None;
    for line in said.lines() {
        // `--2026-01-02 03:04:05--  URL`, and then `  HTTP/1.1 200 OK`
        if let Some((_, url)) = line.split_once("--  ") {
            path = url.strip_prefix(&asking.url());
        } else if let Some(status) = line.strip_prefix("  HTTP/1.1 ") {
            let path = path.take().context("an answer to nothing")?;
            let status = status.split(' ').next().unwrap_or_default();
            log.add("GET", path, status);
        }
    }
    Ok(log)
}

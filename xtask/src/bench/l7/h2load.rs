//! Load over HTTP/2: h2load, as fast as it can or at a pace.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::wrk::{Load, Pace};
use crate::shell;

/// Connections, and streams that are open on each at a time.
const CONNECTIONS: u32 = 16;
const STREAMS: u32 = 10;

/// Requests a second on each of the connections, of which there are [`PACED_CONNECTIONS`]: 10,000 in all.
const PACED_RATE: u32 = 500;
const PACED_CONNECTIONS: u32 = 20;

/// Bytes of a message.
const MESSAGE: u8 = 100;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A GET.
    Get,
    /// A unary call of gRPC.
    Call,
}

/// Loads `url` for `seconds`.
pub fn run(url: &str, kind: Kind, pace: Pace, seconds: u32) -> Result<Load> {
    let h2load = shell::find("h2load").context("no h2load: run `cargo xtask setup`")?;
    let mut command = shell::command(h2load);
    let streams = STREAMS.to_string();
    let seconds = seconds.to_string();
    command.args(["--threads", "1", "--duration", &seconds]);
    command.args(["--max-concurrent-streams", &streams]);
    match pace {
        Pace::Saturated => command.args(["--clients", &CONNECTIONS.to_string()]),
        Pace::TenThousand => command
            .args(["--clients", &PACED_CONNECTIONS.to_string()])
            .args(["--rps", &PACED_RATE.to_string()]),
    };
    if let Kind::Call = kind {
        command
            .args(["--header", "content-type: application/grpc"])
            .args(["--header", "te: trailers"])
            .arg("--data")
            .arg(message()?);
    }
    let text = shell::output(command.arg(url))?;
    let load =
        parse(&text).with_context(|| format!("h2load said something unexpected:\n{text}"))?;
    ensure!(load.requests > 0.0, "nothing was answered:\n{text}");
    Ok(load)
}

/// A file that holds one message behind its prefix.
fn message() -> Result<PathBuf> {
    let path = shell::target().join("bench/message");
    let mut message = vec![0, 0, 0, 0, MESSAGE];
    message.extend([b'x'; MESSAGE as usize]);
    fs::write(&path, message)?;
    Ok(path)
}

/// None where any request failed.
fn parse(text: &str) -> Option<Load> {
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let per_second = after("finished in ")?
        .split(", ")
        .find_map(|part| part.strip_suffix(" req/s"))?;
    let counts: Vec<&str> = after("requests: ")?.split(", ").collect();
    let count = |what: &str| {
        let part = counts.iter().find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<f64>().ok()
    };
    let failed = count("failed")? + count("errored")? + count("timeout")?;
    (failed == 0.0).then_some(Load {
        requests: count("succeeded")?,
        per_second: per_second.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Load, parse};

    #[test]
    fn h2loads_summary_is_read_and_failures_are_none() {
        let text = "starting benchmark...\nfinished in 2.00s, 61012.50 req/s, 2.10MB/s\n\
                    requests: 122025 total, 122185 started, 122025 done, 122025 succeeded, 0 failed, 0 errored, 0 timeout\n";
        assert_eq!(
            parse(text),
            Some(Load {
                requests: 122_025.0,
                per_second: 61_012.5
            })
        );
        assert_eq!(parse(&text.replace("0 errored", "3 errored")), None);
        assert_eq!(parse("unable to connect"), None);
    }
}

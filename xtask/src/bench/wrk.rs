//! The load: wrk, as fast as it can or at a pace.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// What one run of wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    pub requests: f64,
    pub per_second: f64,
}

/// How to load the server.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// 16 keep-alive connections, each asking again as soon as it is answered.
    Saturated,
    /// About 10,000 requests a second: 117 connections that each wait 10 ms between requests.
    TenThousand,
}

/// Loads `url` for `seconds`.
pub fn run(url: &str, pace: Pace, seconds: u32) -> Result<Load> {
    let wrk = shell::find("wrk").context("no wrk: run `cargo xtask setup`")?;
    let mut command = shell::command(wrk);
    command.args(["--threads", "1", "--duration", &format!("{seconds}s")]);
    match pace {
        Pace::Saturated => command.args(["--connections", "16"]),
        Pace::TenThousand => {
            let script = shell::target().join("bench/pace.lua");
            fs::write(&script, "function delay() return 10 end\n")?;
            command
                .args(["--connections", "117", "--script"])
                .arg(script)
        }
    };
    let text = shell::output(command.arg(url))?;
    ensure!(
        !text.contains("Socket errors") && !text.contains("Non-2xx"),
        "the application erred under load:\n{text}"
    );
    parse(&text).with_context(|| format!("wrk said something unexpected:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let lines = || text.lines().map(str::trim);
    Some(Load {
        requests: lines().find_map(|line| line.split_once(" requests in ")?.0.parse().ok())?,
        per_second: lines()
            .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Load, parse};

    #[test]
    fn wrks_summary_is_read() {
        let text = "  1 threads and 16 connections\n  260173 requests in 3.01s, 37.22MB read\nRequests/sec:  86395.88\n";
        assert_eq!(
            parse(text),
            Some(Load {
                requests: 260_173.0,
                per_second: 86_395.88
            })
        );
        assert_eq!(parse("unable to connect"), None);
    }
}

//! The agent under measurement: the release binary, started anew for each run.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fathom_scenarios::{pairs::AgentSample, process};

use super::process::Running;
use crate::shell;

/// A running agent.
pub struct Agent {
    process: Running,
    port: u16,
    /// From the start of the process to the first ready answer.
    pub ready_after: Duration,
}

impl Agent {
    /// Starts `fathom agent` with `arguments` and waits until it says that every probe is attached.
    pub fn start(binary: &PathBuf, port: u16, arguments: &[&str]) -> Result<Self> {
        let folder = shell::target().join("bench");
        fs::create_dir_all(&folder)?;
        let path = folder.join("agent.log");
        let log =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let start = Instant::now();
        let mut process = Running::start(
            shell::command(binary)
                .args([
                    "agent",
                    "--no-table",
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                ])
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(log),
        )?;
        loop {
            if get(port, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(Self {
                    process,
                    port,
                    ready_after: start.elapsed(),
                });
            }
            if let Some(status) = process.ended()? {
                let said = fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "{status}: {}",
                    said.trim().lines().last().unwrap_or("and said nothing")
                );
            }
            if start.elapsed() > Duration::from_secs(20) {
                bail!("not ready after 20 s: see {}", path.display());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.process.pid())
    }

    /// What it took for a run, beside `cpu` seconds.
    pub fn sample(&self, cpu: f64) -> Result<AgentSample> {
        let metrics = Metrics(get(self.port, "/metrics")?);
        Ok(AgentSample {
            cpu,
            resident: process::resident_bytes(self.process.pid())?,
            maps: metrics.map_bytes(),
            lost: metrics.lost(),
            seen: metrics.seen(),
            ready: self.ready_after.as_secs_f64(),
        })
    }

    /// Connections that it had no room for.
    pub fn untracked(&self) -> Result<Option<f64>> {
        self.events("connections_full")
    }

    /// How often ends of connections went to rest.
    pub fn rested(&self) -> Result<Option<f64>> {
        self.events("rested")
    }

    /// Events that some stage told of with this outcome.
    fn events(&self, outcome: &str) -> Result<Option<f64>> {
        let metrics = Metrics(get(self.port, "/metrics")?);
        let outcome = format!("outcome=\"{outcome}\"");
        Ok(metrics.sum("fathom_events_total", |labels| labels.contains(&outcome)))
    }

    /// Ends of connections that it saw come to be.
    pub fn connections(&self) -> Result<Option<f64>> {
        Ok(Metrics(get(self.port, "/metrics")?).connections())
    }

    /// CPU samples that it lost on their way to it or in it.
    pub fn lost_samples(&self) -> Result<Option<f64>> {
        let metrics = Metrics(get(self.port, "/metrics")?);
        Ok(metrics.sum("fathom_events_total", |labels| {
            labels.contains("signal=\"samples\"") && !labels.contains("outcome=\"delivered\"")
        }))
    }

    /// Ends it as a service manager would.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop("TERM")?;
        Ok(())
    }
}

/// A page of /metrics.
struct Metrics(String);

/// Stages' signals whose outcomes say of what kind something is, and not that it was lost: a file that holds no TLS functions, a reset that is no connection's,
/// a query beside an answer, a destination on this node, a span without a parent, a connection at rest.
const SORTED: [[&str; 2]; 7] = [
    ["tap", "tls_files"],
    ["tap", "resets"],
    ["tap", "existing"],
    ["decoder", "dns"],
    ["correlator", "destinations"],
    ["correlator", "client_parents"],
    ["aggregator", "connections"],
];

impl Metrics {
    /// Bytes of BPF maps.
    fn map_bytes(&self) -> Option<f64> {
        self.sum("fathom_memory_usage_bytes", |labels| {
            labels.contains("\"maps\"")
        })
    }

    /// Events that some stage lost, for whatever reason.
    fn lost(&self) -> Option<f64> {
        self.sum("fathom_events_total", |labels| {
            let has = |name: &str, value: &str| labels.contains(&format!("{name}=\"{value}\""));
            let is_sorted =
                |&[stage, signal]: &[&str; 2]| has("stage", stage) && has("signal", signal);
            !has("outcome", "delivered") && !SORTED.iter().any(is_sorted)
        })
    }

    /// Requests and calls that it saw being served.
    fn seen(&self) -> Option<f64> {
        let http = self.sum("http_server_request_duration_seconds_count", |_| true);
        let calls = self.sum("rpc_server_call_duration_seconds_count", |_| true);
        match (http, calls) {
            (None, None) => None,
            (http, calls) => Some(http.unwrap_or(0.0) + calls.unwrap_or(0.0)),
        }
    }

    /// Ends of connections that came to be.
    fn connections(&self) -> Option<f64> {
        self.sum("fathom_tcp_connections_total", |labels| {
            labels.contains("fathom_tcp_outcome=\"established\"")
        })
    }

    /// The sum of the series of `name` whose labels `wanted` accepts; `None` when the page lacks the name.
    fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
        let mut series = self
            .0
            .lines()
            .filter_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix('{')?
                    .rsplit_once("} ")
            })
            .peekable();
        series.peek()?;
        Some(
            series
                .filter(|(labels, _)| wanted(labels))
                .filter_map(|(_, value)| value.split_whitespace().next()?.parse::<f64>().ok())
                .sum(),
        )
    }
}

/// One HTTP answer, head and body.
fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn series_are_summed_by_label_and_a_missing_name_is_no_zero() {
        let page = Metrics(
            "# TYPE fathom_memory_usage_bytes gauge\n\
             fathom_memory_usage_bytes{kind=\"resident\"} 100\n\
             fathom_memory_usage_bytes{kind=\"maps\"} 25\n\
             fathom_events_total{stage=\"tap\",signal=\"messages\",outcome=\"delivered\"} 90\n\
             fathom_events_total{stage=\"ring\",signal=\"messages\",outcome=\"full\"} 2\n\
             fathom_events_total{stage=\"decoder\",signal=\"flows\",outcome=\"late\"} 3 1700000000.0\n\
             fathom_events_total{stage=\"tap\",signal=\"tls_files\",outcome=\"not_tls\"} 40\n\
             rpc_server_call_duration_seconds_count{service_name=\"a\"} 6\n\
             fathom_tcp_connections_total{fathom_tcp_role=\"client\",fathom_tcp_outcome=\"established\"} 12\n\
             fathom_tcp_connections_total{fathom_tcp_role=\"client\",fathom_tcp_outcome=\"refused\"} 5\n"
                .to_owned(),
        );
        assert_eq!(page.map_bytes(), Some(25.0));
        assert_eq!(page.lost(), Some(5.0));
        assert_eq!(page.seen(), Some(6.0));
        assert_eq!(page.connections(), Some(12.0));
        assert_eq!(Metrics(String::new()).lost(), None);
        assert_eq!(Metrics(String::new()).seen(), None);
    }
}

//! Connections that were open before the agent: `tests/subjects/late_join.py` has them, an nginx of its own answers.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use super::{
    ROUNDS, script, service,
    truth::{self, End, Truth},
};
use crate::{
    agent::Agent,
    context::{Context, free_port},
    metrics::Metrics,
    nginx::named_copy,
    path::find,
    receiver,
    subjects::{Certificate, process::Running},
};

/// What began before the agent or refers to what was said before it, and what is sent on a pipeline that was not silent since.
const NOT_DECODED: [&str; 3] = ["/inflight/", "/unknown/", "/behind/"];

/// Requests of which the path is in the header table of before, on each connection of HTTP/2 and seen from both ends.
const UNKNOWN_PATHS: u64 = 5;

/// More than the buffers of both ends hold, in bytes.
const LARGE: usize = 12 << 20;

/// For how long the client may take to have everything open, and to go on from there.
const LIMIT: Duration = Duration::from_secs(60);

/// What the client says at its end.
#[derive(Deserialize)]
struct Said {
    http1: u64,
    http2: u64,
    other: u64,
    calls: u64,
}

/// Why it can't be run here.
pub fn missing() -> Option<String> {
    receiver::missing()
        .or_else(|| Certificate::missing().map(str::to_owned))
        .or_else(|| find("nginx").is_none().then(|| "no nginx".to_owned()))
}

pub fn run(context: &mut Context) -> Result<()> {
    let server = Server::start(context.dir())?;
    let (log, said) = (context.dir().join("client"), context.dir().join("said"));
    let mut client = script("late_join.py", &service("client"))?;
    client
        .arg(&log)
        .arg(context.scaled(ROUNDS, 2).to_string())
        .args(server.ports.map(|port| port.to_string()))
        .stdin(Stdio::piped())
        .stdout(File::create(&said)?);
    let mut client = Running::start(client)?;
    wait_for_line(&said, &mut client, 1)?;
    let before = server.logged()?;

    let agent = Agent::start(context, &[])?;
    client.tell("go\n")?;
    let status = client.wait(LIMIT * context.patience)?;
    ensure!(status.success(), "the client ended with {status}");
    let last = fs::read_to_string(&said)?;
    let said: Said = serde_json::from_str(last.lines().last().unwrap_or_default())
        .with_context(|| format!("not what the client is to say: {last}"))?;

    let ends = [
        End {
            side: "server",
            service: server.name.clone(),
            truth: Truth::read(&server.since(before)?)?,
        },
        End {
            side: "client",
            service: service("client"),
            truth: Truth::read(&log)?,
        },
    ];
    truth::judge(context, &agent, &ends, &NOT_DECODED)?;
    let metrics = agent.settle(|metrics| known(metrics, &said))?;
    for reason in ["no_request", "header_unknown", "pipelined", "bad_response"] {
        context.fact(reason, lost(&metrics, reason));
    }
    agent.stop()
}

/// What is known of the connections themselves, each of which has both its ends on this machine.
fn known(metrics: &Metrics, said: &Said) -> Result<()> {
    let existing = metrics.count("fathom_connections", &[("origin", "existing")]);
    let open = 2 * (said.http1 + said.http2 + said.other);
    ensure!(
        existing >= open,
        "{open} connections were open before, and {existing} are known"
    );
    for (protocol, open) in [("http/1", 2 * said.http1), ("http/2", 2 * said.http2)] {
        let recognized = metrics.count(
            "fathom_connections_recognized_total",
            &[("protocol", protocol)],
        );
        ensure!(
            recognized >= open,
            "{open} connections from before spoke {protocol}, and {recognized} were recognized"
        );
    }
    for side in ["server", "client"] {
        let name = format!("rpc_{side}_call_duration_seconds_count");
        let service = service("client");
        let calls = metrics.count(&name, &[("service_name", &service)]);
        // The first may come before it is found where the answers' frames start, and is counted as lost then.
        ensure!(
            (said.calls - 1..=said.calls).contains(&calls),
            "{} calls were made behind the stream from before, and {calls} are counted on the {side}'s side",
            said.calls
        );
    }
    // With and without TLS, from both ends. The first of them may be lost for another reason, as above, and so may an answer's end.
    let connections = 4;
    for (reason, least) in [
        ("header_unknown", connections * (UNKNOWN_PATHS - 1)),
        ("no_request", connections),
        ("pipelined", connections),
    ] {
        let lost = lost(metrics, reason);
        ensure!(
            lost >= least,
            "{lost} exchanges are counted as {reason}, where there were {least}"
        );
    }
    Ok(())
}

fn lost(metrics: &Metrics, reason: &str) -> u64 {
    metrics.count(
        "fathom_events_total",
        &[
            ("stage", "correlator"),
            ("signal", "exchanges"),
            ("outcome", reason),
        ],
    )
}

/// Waits until a program has written so many lines.
fn wait_for_line(file: &Path, program: &mut Running, lines: usize) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while fs::read_to_string(file)?.lines().count() < lines {
        if program.ended()?.is_some() || Instant::now() >= deadline {
            bail!("the client does not get its connections open");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// An nginx with four ports: plain, TLS, HTTP/2, HTTP/2 over TLS.
struct Server {
    running: Running,
    name: String,
    ports: [u16; 4],
    log: PathBuf,
}

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        let name = service("server");
        let dir = dir.join(&name);
        fs::create_dir(&dir)?;
        fs::write(dir.join("file"), vec![b'x'; LARGE])?;
        let certificate = Certificate::create(&dir)?;
        let ports = [free_port()?, free_port()?, free_port()?, free_port()?];
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(&dir, ports, &certificate))?;
        let mut command = Command::new(named_copy("nginx", &name, &dir)?);
        command
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(dir.join("error.log"))
            .stdin(Stdio::null());
        let mut running = Running::start(command)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let said = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
            if said.contains("start worker process") {
                break;
            }
            if running.ended()?.is_some() || Instant::now() >= deadline {
                bail!("nginx does not listen: {said}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            running,
            name,
            ports,
            log: dir.join("access.log"),
        })
    }

    /// Bytes in its log.
    fn logged(&self) -> Result<usize> {
        Ok(fs::read(&self.log)?.len())
    }

    /// What it logged behind so many bytes, as a file. It is ended for that: it logs an answer only once it has sent all of it.
    fn since(&self, before: usize) -> Result<PathBuf> {
        self.running.signal(Signal::QUIT)?;
        thread::sleep(Duration::from_millis(300));
        let after = self.log.with_extension("after");
        fs::write(
            &after,
            fs::read(&self.log)?.get(before..).unwrap_or_default(),
        )?;
        Ok(after)
    }
}

fn configuration(dir: &Path, ports: [u16; 4], pair: &Certificate) -> String {
    let [plain, tls, http2, http2_tls] = ports;
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let dir = dir.display();
    let statuses: String = [
        ("ok", 200),
        ("created", 201),
        ("accepted", 202),
        ("missing", 404),
        ("conflict", 409),
    ]
    .iter()
    .map(|(word, status)| format!("        location ~ /{word}/ {{ return {status} 'x'; }}\n"))
    .collect();
    format!(
        "daemon off;
user root root;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 512; }}
http {{
    log_format lines escape=json '{{\"method\":\"$request_method\",\"path\":\"$request_uri\",\"status\":$status}}';
    access_log {dir}/access.log lines;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 1m;
    sendfile on;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{http2} http2;
        listen 127.0.0.1:{http2_tls} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location ^~ /inflight/upload/ {{ proxy_pass http://unix:{dir}/inner; }}
        location ^~ /inflight/large/ {{ root {dir}; try_files /file =500; }}
        location ^~ /inflight/chunked/ {{ ssi on; ssi_types *; root {dir}; try_files /file =500; }}
{statuses}    }}
    server {{ listen unix:{dir}/inner; access_log off; location / {{ return 201; }} }}
}}
"
    )
}

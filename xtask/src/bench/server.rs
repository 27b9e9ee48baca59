//! The application that pays: Debian's nginx with two workers, and what is spoken at its ports.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fathom_scenarios::process::cpu_seconds;

use super::process::{self, Running};
use crate::shell;

/// How many workers nginx runs.
const WORKERS: usize = 2;

/// What is spoken at one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/2 over TLS.
    Http2Tls,
}

impl Door {
    /// Its port, behind the server's first. The one between is the agent's.
    fn offset(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Tls => 2,
            Self::Http2 => 3,
            Self::Http2Tls => 4,
        }
    }

    fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Http2Tls)
    }

    fn listen(self, first: u16) -> String {
        let tls = if self.is_secure() { " ssl" } else { "" };
        let http2 = if matches!(self, Self::Http2 | Self::Http2Tls) {
            " http2"
        } else {
            ""
        };
        format!(
            "listen 127.0.0.1:{}{tls}{http2} reuseport;",
            first + self.offset()
        )
    }
}

/// A certificate and its key, PEM.
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes one for this run.
    pub fn create() -> Result<Self> {
        let folder = shell::target().join("bench");
        fs::create_dir_all(&folder)?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let output = shell::command("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", "/CN=localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .context("no openssl: run `cargo xtask setup`")?;
        ensure!(
            output.status.success(),
            "openssl made no certificate: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { certificate, key })
    }

    fn configuration(&self) -> String {
        format!(
            "ssl_certificate {};\n    ssl_certificate_key {};",
            self.certificate.display(),
            self.key.display()
        )
    }
}

/// A running nginx.
pub struct Server {
    process: Running,
    workers: Vec<u32>,
    port: u16,
}

impl Server {
    /// Starts one on a loopback port, and with a certificate behind all doors.
    pub fn start(port: u16, certificate: Option<&Certificate>) -> Result<Self> {
        let nginx = shell::find("nginx").context("no nginx: run `cargo xtask setup`")?;
        let folder = shell::target().join("bench/nginx");
        fs::create_dir_all(&folder)?;
        let at = folder.display();
        let configuration = folder.join("nginx.conf");
        let doors: &[Door] = match certificate {
            Some(_) => &[Door::Plain, Door::Tls, Door::Http2, Door::Http2Tls],
            None => &[Door::Plain],
        };
        let doors: Vec<String> = doors.iter().map(|door| door.listen(port)).collect();
        let doors = doors.join("\n    ");
        let pair = certificate.map_or_else(String::new, Certificate::configuration);
        fs::write(
            &configuration,
            format!(
                "daemon off;\nworker_processes {WORKERS};\npid {at}/pid;\nerror_log {at}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  server {{\n    \
                 {doors}\n    {pair}\n    location / {{ return 200 \"hello\\n\"; }}\n  }}\n}}\n"
            ),
        )?;
        let mut process = Running::start(
            shell::command(nginx)
                .arg("-e")
                .arg(folder.join("error.log"))
                .arg("-c")
                .arg(&configuration),
        )?;
        let start = Instant::now();
        loop {
            ensure!(
                process.ended()?.is_none(),
                "nginx ended at once: see {at}/error.log"
            );
            let workers = process::children(process.pid())?;
            if workers.len() == WORKERS && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self {
                    process,
                    workers,
                    port,
                });
            }
            ensure!(
                start.elapsed() < Duration::from_secs(5),
                "nginx does not serve after 5 s: see {at}/error.log"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self, door: Door) -> String {
        let scheme = if door.is_secure() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.port + door.offset())
    }

    /// CPU seconds of all workers.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.workers.iter().map(|worker| cpu_seconds(*worker)).sum()
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop("QUIT")?;
        Ok(())
    }
}

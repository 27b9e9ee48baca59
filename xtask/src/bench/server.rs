//! The application that pays: Debian's nginx with two workers.

use std::{
    fs,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fathom_scenarios::process::cpu_seconds;

use super::process::{self, Running};
use crate::shell;

/// How many workers nginx runs.
const WORKERS: usize = 2;

/// A running nginx.
pub struct Server {
    process: Running,
    workers: Vec<u32>,
    port: u16,
}

impl Server {
    /// Starts one on a loopback port.
    pub fn start(port: u16) -> Result<Self> {
        let nginx = shell::find("nginx").context("no nginx: run `cargo xtask setup`")?;
        let folder = shell::target().join("bench/nginx");
        fs::create_dir_all(&folder)?;
        let at = folder.display();
        let configuration = folder.join("nginx.conf");
        fs::write(
            &configuration,
            format!(
                "daemon off;\nworker_processes {WORKERS};\npid {at}/pid;\nerror_log {at}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  server {{\n    \
                 listen 127.0.0.1:{port} reuseport;\n    location / {{ return 200 \"hello\\n\"; }}\n  }}\n}}\n"
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

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
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

//! What is watched: servers under load, and a program that does something else.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use fathom_scenarios::process::cpu_seconds;

use super::{
    super::{
        process::{self, Running},
        server::{Certificate, Door, Server},
        wrk::{self, Load, Pace},
    },
    h2load,
};
use crate::shell;

/// A server and what loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// nginx and wrk.
    Http1,
    /// nginx and wrk.
    Http1Tls,
    /// nginx and h2load.
    Http2,
    /// nginx and h2load.
    Http2Tls,
    /// tonic and h2load.
    Grpc,
    /// A store that answers small messages, and its client.
    Store,
    /// A program that reads and writes a file in memory.
    Files,
}

impl Application {
    pub const ALL: [Self; 7] = [
        Self::Http1,
        Self::Http1Tls,
        Self::Http2,
        Self::Http2Tls,
        Self::Grpc,
        Self::Store,
        Self::Files,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http1Tls => "HTTP/1.1, TLS",
            Self::Http2 => "HTTP/2",
            Self::Http2Tls => "HTTP/2, TLS",
            Self::Grpc => "gRPC",
            Self::Store => "small messages, not HTTP",
            Self::Files => "file I/O",
        }
    }

    /// The share of the throughput that is to be left.
    pub fn aim(self) -> f64 {
        match self {
            Self::Http1 | Self::Http2 | Self::Grpc => 0.96,
            Self::Http1Tls | Self::Http2Tls => 0.95,
            Self::Store => 0.98,
            // Nothing of it is to be taken; what a run differs from the next is more than the rest.
            Self::Files => 0.99,
        }
    }

    fn door(self) -> Option<Door> {
        Some(match self {
            Self::Http1 => Door::Plain,
            Self::Http1Tls => Door::Tls,
            Self::Http2 => Door::Http2,
            Self::Http2Tls => Door::Http2Tls,
            Self::Grpc | Self::Store | Self::Files => return None,
        })
    }
}

/// What one run came to.
pub struct Loaded {
    pub requests: f64,
    pub per_second: f64,
    pub application_cpu: f64,
}

/// All servers, which run all the time: an idle one takes nothing.
pub struct Ground {
    nginx: Server,
    grpc: Running,
    grpc_url: String,
    store: Running,
    store_port: String,
    bystander: PathBuf,
}

impl Ground {
    /// Starts them, nginx on `port` and the fourth behind it.
    pub fn prepare(port: u16) -> Result<Self> {
        let certificate = Certificate::create()?;
        let nginx = Server::start(port, Some(&certificate))?;
        shell::run(shell::cargo().args(["build", "--release", "-p", "fathom-subject-grpc"]))?;
        let (grpc, said) = Running::serve(
            shell::command(shell::target().join("release/subject-grpc")).args([
                "server",
                "--log",
                "/dev/null",
            ]),
        )?;
        let first: serde_json::Value = serde_json::from_str(&said)
            .with_context(|| format!("the server of gRPC says {said:?}"))?;
        let grpc_port = first["listening"].as_u64().context("it does not listen")?;
        let bystander = process::compile("bystander")?;
        let (store, said) = Running::serve(shell::command(&bystander).arg("store"))?;
        Ok(Self {
            nginx,
            grpc,
            grpc_url: format!("http://127.0.0.1:{grpc_port}/subjects.Echo/Unary"),
            store,
            store_port: said.trim().to_owned(),
            bystander,
        })
    }

    /// Loads `application` for `seconds`.
    pub fn load(&self, application: Application, pace: Pace, seconds: u32) -> Result<Loaded> {
        if application == Application::Files {
            return self.files(seconds);
        }
        let before = self.cpu_seconds(application)?;
        let load = match (application, application.door()) {
            (Application::Http1 | Application::Http1Tls, Some(door)) => {
                wrk::run(&self.nginx.url(door), pace, seconds)
            }
            (_, Some(door)) => h2load::run(&self.nginx.url(door), h2load::Kind::Get, pace, seconds),
            (Application::Grpc, None) => {
                h2load::run(&self.grpc_url, h2load::Kind::Call, pace, seconds)
            }
            (_, None) => self.ask_store(pace, seconds),
        }?;
        Ok(Loaded {
            requests: load.requests,
            per_second: load.per_second,
            application_cpu: self.cpu_seconds(application)? - before,
        })
    }

    /// Ends all servers.
    pub fn stop(mut self) -> Result<()> {
        self.nginx.stop()?;
        self.grpc.stop("TERM")?;
        self.store.stop("TERM")?;
        Ok(())
    }

    fn cpu_seconds(&self, application: Application) -> Result<f64> {
        match application {
            Application::Grpc => cpu_seconds(self.grpc.pid()),
            Application::Store => cpu_seconds(self.store.pid()),
            _ => self.nginx.cpu_seconds(),
        }
    }

    fn ask_store(&self, pace: Pace, seconds: u32) -> Result<Load> {
        let mut client = shell::command(&self.bystander);
        client.args(["ask", &self.store_port, "16", &seconds.to_string()]);
        if matches!(pace, Pace::TenThousand) {
            client.arg("10000");
        }
        let requests: f64 = shell::output(&mut client)?.trim().parse()?;
        ensure!(requests > 0.0, "the store answered nothing");
        Ok(Load {
            requests,
            per_second: requests / f64::from(seconds),
        })
    }

    fn files(&self, seconds: u32) -> Result<Loaded> {
        let path = format!("/dev/shm/fathom-bench-{}", std::process::id());
        let said = shell::output(shell::command(&self.bystander).args([
            "files",
            &path,
            &seconds.to_string(),
        ]))?;
        let (calls, cpu) = said
            .trim()
            .split_once(' ')
            .with_context(|| format!("it printed {said:?}"))?;
        let calls: f64 = calls.parse()?;
        Ok(Loaded {
            requests: calls,
            per_second: calls / f64::from(seconds),
            application_cpu: cpu.parse()?,
        })
    }
}

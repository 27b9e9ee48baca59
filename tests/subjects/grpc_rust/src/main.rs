//! gRPC over tonic as server and client, unary and streaming, plain and with rustls; `tests/subjects/README.md` says how it is used.
//!
//! Messages are bytes without a schema, for what is in them does not matter here.

#![forbid(unsafe_code)]

mod client;
mod log;
mod raw;
mod server;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

/// The service that both ends know.
const SERVICE: &str = "subjects.Echo";

/// How many messages a stream has.
const PIECES: usize = 5;

/// gRPC over tonic.
#[derive(Parser)]
struct Arguments {
    /// Which end to be
    role: Role,
    /// Where to write what was done
    #[arg(long)]
    log: PathBuf,
    /// Certificate for TLS
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// Its key
    #[arg(long)]
    key: Option<PathBuf>,
    /// The server
    #[arg(long)]
    url: Option<String>,
    /// What to ask for
    #[arg(long)]
    plan: Option<PathBuf>,
    /// gRPC is nothing else
    #[arg(long)]
    http2: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Server,
    Client,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let log = log::Log::create(&arguments.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.role {
            Role::Server => {
                let tls = arguments.certificate.zip(arguments.key);
                server::run(log, tls).await
            }
            Role::Client => {
                let url = arguments.url.context("--url is missing")?;
                let plan = arguments.plan.context("--plan is missing")?;
                client::run(log, &url, &plan, arguments.certificate.as_deref()).await
            }
        }
    })
}

/// The first line on standard output.
fn say(tls: bool, port: Option<u16>) {
    let mut first = serde_json::json!({ "library": format!("tonic {}", locked("tonic")) });
    if tls {
        first["tls"] = format!("rustls {} (ring)", locked("rustls")).into();
    }
    if let Some(port) = port {
        first["listening"] = port.into();
    }
    println!("{first}");
}

/// The version that the workspace builds `package` in.
fn locked(package: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let start = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&start).map(|(_, rest)| rest);
    version
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown")
}

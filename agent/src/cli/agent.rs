//! `fathom agent`: every signal of the node, until a signal ends it.

use std::path::PathBuf;

use crate::cli::Outcome;

/// Flags of `fathom agent`. Each overrides the environment, which overrides the file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How sockets are watched: auto, fentry, raw-tracepoint, kprobe or syscall
    #[arg(long, value_name = "TAP")]
    pub tap: Option<String>,
    /// Where /metrics, /healthz and /readyz are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// An OTLP/gRPC endpoint, such as http://127.0.0.1:4317; without one nothing is sent
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// What the agent may take in all, heap and BPF maps together, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// What to watch: a list of net, profile and gpu
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub capabilities: Option<Vec<String>>,
    /// Never draw the table, also on a terminal
    #[arg(long)]
    pub no_table: bool,
}

/// Runs the agent.
pub fn run(_args: &Args) -> Outcome {
    Err(anyhow::anyhow!("this build has no agent yet").into())
}

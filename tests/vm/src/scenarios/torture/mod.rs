//! HTTP as real programs speak it and as hostile ones do.
//!
//! No exchange may be counted that never happened. Each that happened is counted, but where a ring was full or the kernel kept calls from the tap, which is
//! counted in its place; and but for what is not decoded, some of which must show in the losses.

pub mod http1;
pub mod http2;
pub mod late;
mod truth;

use std::process::Command;

use anyhow::Result;

use crate::{receiver, subjects::program::sources};

/// How often each case is gone through.
const ROUNDS: u64 = 12;

/// The name under which fathom knows one of the programs, in this run.
fn service(role: &str) -> String {
    format!("torture-{role}-{}", std::process::id())
}

/// A program in Python, known to fathom as `service`.
fn script(name: &str, service: &str) -> Result<Command> {
    let mut command = Command::new(receiver::interpreter()?);
    command
        .arg("-B")
        .arg(sources().join(name))
        .env("OTEL_SERVICE_NAME", service);
    Ok(command)
}

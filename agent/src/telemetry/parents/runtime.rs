//! Programs of which it is known beforehand what their threads say of a request.

use std::{fs::File, path::Path};

use crate::{
    identity::Process,
    probes::tls::{self, GoAbi},
};

/// What is known of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Nothing: it has to show what it does.
    Unknown,
    /// Requests share threads, and nothing else is known of them.
    SharedThreads,
    /// Each request has a goroutine.
    Goroutines,
}

/// Event loops: each serves all requests on one thread.
const LOOPS: [&str; 5] = ["node", "nodejs", "bun", "deno", "workerd"];

/// What `process` is: a Go program, a JavaScript runtime, or anything else. `proc` is the procfs of the initial pid namespace. Opens the executable, and so
/// may wait for a file system.
pub fn of(proc: &Path, process: &Process) -> Runtime {
    let name = process.executable_name();
    if name.is_some_and(|name| LOOPS.contains(&name.as_str())) {
        return Runtime::SharedThreads;
    }
    let executable = proc.join(process.pid.to_string()).join("exe");
    let abi = File::open(executable).map(|file| tls::go_abi(&file));
    match abi {
        Ok(Ok(Some(GoAbi::Registers))) => Runtime::Goroutines,
        Ok(Ok(Some(GoAbi::Stack))) => Runtime::SharedThreads,
        _ => Runtime::Unknown,
    }
}

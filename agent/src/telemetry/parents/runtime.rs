//! Programs of which it is known beforehand that a thread says nothing of a request.

use std::{fs::File, path::Path};

use crate::{identity::Process, probes::tls};

/// Event loops: each serves all requests on one thread.
const LOOPS: [&str; 5] = ["node", "nodejs", "bun", "deno", "workerd"];

/// Whether `process` is a Go program, whose goroutines move between threads (which goroutine makes a call is not known), or a JavaScript runtime. `proc`
/// is the procfs of the initial pid namespace. Opens the executable, and so may wait for a file system.
pub fn shares_threads(proc: &Path, process: &Process) -> bool {
    let name = process.executable_name();
    if name.is_some_and(|name| LOOPS.contains(&name.as_str())) {
        return true;
    }
    let executable = proc.join(process.pid.to_string()).join("exe");
    File::open(executable).is_ok_and(|file| tls::is_go(&file).unwrap_or(false))
}

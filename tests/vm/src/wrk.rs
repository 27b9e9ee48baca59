//! Load by wrk: a mix of requests over keep-alive connections, an exact number of them or until told to stop.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::{
    context::Context,
    nginx::{Nginx, REQUESTS, named_copy},
};

/// Threads of wrk; each has its own share of the quota.
const THREADS: u64 = 2;

/// An answer may take as long as wrk's own default says, before patience is applied.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A running wrk.
pub struct Wrk {
    child: Child,
    name: String,
    output: PathBuf,
}

/// What wrk itself counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Summary {
    /// Whole answers.
    pub requests: u64,
    /// Connections that were not made.
    pub connect: u64,
    /// Failed reads.
    pub read: u64,
    /// Failed writes.
    pub write: u64,
    /// Answers that took longer than they may.
    pub timeout: u64,
    /// The longest wait for an answer, microseconds.
    pub max_us: f64,
}

impl Summary {
    /// Errors of any kind.
    pub fn errors(&self) -> u64 {
        self.connect + self.read + self.write + self.timeout
    }
}

impl Wrk {
    /// Starts wrk on `nginx` with this many connections. With a `quota`, just as many requests are sent, after which the
    /// connections stay open and idle; else wrk goes on until it is told to stop.
    pub fn start(
        context: &Context,
        nginx: &Nginx,
        connections: u64,
        quota: Option<u64>,
    ) -> Result<Self> {
        let dir = context.dir().join("wrk");
        fs::create_dir_all(&dir)?;
        let script = dir.join("mix.lua");
        fs::write(&script, lua(quota))?;
        let name = format!("wrk-{}", nginx.port());
        let program = named_copy("wrk", &name, &dir)?;
        let output = dir.join("output");
        let child = Command::new(program)
            .args(["-t", &THREADS.to_string(), "-c", &connections.to_string()])
            .arg("--timeout")
            .arg(format!("{}s", (TIMEOUT * context.patience).as_secs()))
            // Longer than any scenario: it ends by a signal.
            .args(["-d", "3600", "-s"])
            .arg(&script)
            .arg(format!("http://127.0.0.1:{}/", nginx.port()))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .spawn()
            .context("cannot start wrk")?;
        Ok(Self {
            child,
            name,
            output,
        })
    }

    /// Its executable's name, which is its service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until `nginx` has answered `count` requests.
    pub fn wait_for(&mut self, nginx: &Nginx, count: u64, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let answered = nginx.answered()?;
            if answered >= count {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("wrk ended with {status} after {answered} of {count} requests");
            }
            if Instant::now() >= deadline {
                bail!("{answered} of {count} requests after {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it and gives back what it counted.
    pub fn stop(mut self) -> Result<Summary> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("cannot signal wrk")?;
        let status = self.child.wait()?;
        let output = fs::read_to_string(&self.output)?;
        let line = output
            .lines()
            .find(|line| line.starts_with('{'))
            .with_context(|| format!("wrk ended with {status} and no summary: {output}"))?;
        serde_json::from_str(line).with_context(|| format!("not wrk's summary: {line}"))
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The script. wrk asks `delay` before each request, so that is where a request is counted; one that is over the quota
/// waits for longer than wrk runs.
fn lua(quota: Option<u64>) -> String {
    let mut script = String::from("local requests = {}\nlocal at = 0\nlocal sent = 0\n");
    script.push_str("function init(args)\n");
    for (method, path, body) in REQUESTS {
        let _ = writeln!(
            script,
            "  requests[#requests + 1] = wrk.format(\"{method}\", \"{path}\", nil, {})",
            if body == 0 {
                "nil".to_owned()
            } else {
                format!("string.rep(\"b\", {body})")
            }
        );
    }
    script.push_str(
        "end\nfunction request()\n  at = at % #requests + 1\n  return requests[at]\nend\n",
    );
    if let Some(quota) = quota {
        let share = quota / THREADS;
        let _ = writeln!(
            script,
            "function delay()\n  if sent == {share} then return 36000000 end\n  sent = sent + 1\n  return 0\nend"
        );
    }
    script.push_str(
        "function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{\"requests\":%d,\"connect\":%d,\"read\":%d,\"write\":%d,\"timeout\":%d,\"max_us\":%f}\\n',
    summary.requests, e.connect, e.read, e.write, e.timeout, latency.max))
end\n",
    );
    script
}

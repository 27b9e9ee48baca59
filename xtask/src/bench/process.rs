//! What the kernel says of a process, and ending one that this task started.

use std::{
    fs,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Clock ticks a second in /proc (`USER_HZ`), the same on every architecture that fathom runs on.
const TICKS: f64 = 100.0;

/// CPU seconds that process `pid` has used, user and system, all threads (man 5 proc_pid_stat, fields 14 and 15).
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    cpu_in(&stat).with_context(|| format!("{path} has another form than expected"))
}

fn cpu_in(stat: &str) -> Option<f64> {
    // The name in field 2 may hold anything; what follows its last bracket starts with field 3.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

/// Resident memory of process `pid`, in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))
        .with_context(|| format!("process {pid} has no smaps"))?;
    let mut kibibytes = 0;
    let mut is_map = false;
    for line in smaps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            let resident = resident.trim().trim_end_matches(" kB");
            kibibytes += if is_map { 0 } else { resident.parse::<u64>()? };
        } else if !line
            .split_once(' ')
            .is_some_and(|(first, _)| first.ends_with(':'))
        {
            is_map = line.ends_with("bpf-map");
        }
    }
    Ok(kibibytes * 1024)
}

/// The children of process `pid`.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

/// A process that ends with this value at the latest.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its status when it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends `signal` (`TERM`, `INT`) and waits for the end.
    pub fn stop(&mut self, signal: &str) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        let pid = self.pid().to_string();
        Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .context("cannot start kill")?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("process {pid} is still there 20 s after SIG{signal}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may have ended since: then there is nothing left to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cpu_in;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_in(stat), Some(2.0));
        assert_eq!(cpu_in("7 (x) S 1"), None);
    }
}

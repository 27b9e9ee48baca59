//! What the kernel says of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// Clock ticks a second in /proc (`USER_HZ`), the same on every architecture that fathom runs on.
const TICKS: f64 = 100.0;

/// CPU seconds that process `pid` has used, user and system, all threads (`proc_pid_stat(5)`, utime and stime).
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

/// Resident memory of process `pid` without the BPF maps that it has mapped, in bytes.
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

//! What this process has taken so far.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// The second field of `/proc/self/statm`, in pages.
pub(super) fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size() as u64
}

/// utime and stime of `/proc/self/stat` (proc_pid_stat(5)), fields 14 and 15.
#[expect(
    clippy::cast_precision_loss,
    reason = "clock ticks stay far below 2^53"
)]
pub(super) fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name stands in parentheses and may hold spaces.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / clock_ticks_per_second() as f64
}

/// The most bytes that were resident at a time, those of mapped BPF maps among them (`VmHWM` of `/proc/self/status`, proc_pid_status(5)).
pub(super) fn peak_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_something() {
        assert!(resident_bytes() > 0);
        assert!(peak_bytes() >= resident_bytes() / 2);
        assert!(cpu_seconds() >= 0.0);
    }
}

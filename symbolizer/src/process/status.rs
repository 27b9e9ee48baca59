//! Which process a number stands for, and which number it has for itself.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

/// When a process started, in clock ticks since boot: with its number it names the process, as numbers are used again. None when
/// there is no such process (proc_pid_stat(5), field 22).
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let behind = memchr::memrchr(b')', &stat)?;
    let fields = std::str::from_utf8(&stat[behind + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The time of day when a process started that says [`started`]. It is as exact as a clock tick, and as the time of day was since.
pub(crate) fn time_of_start(started: u64) -> Option<SystemTime> {
    let now = clock_gettime(ClockId::Boottime);
    let up = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    let ticks = clock_ticks_per_second();
    let started = Duration::from_nanos(started.checked_mul(1_000_000_000_u64.checked_div(ticks)?)?);
    SystemTime::now().checked_sub(up.checked_sub(started)?)
}

/// The number that a process has in its own pid namespace, by which it names its files (proc_pid_status(5), `NSpid`: from
/// the outermost namespace to its own). Kernels without pid namespaces do not say, and have only one number.
pub(crate) fn own_pid(pid: u32) -> u32 {
    let own = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_ascii_whitespace().next_back()?.parse().ok()
    };
    own().unwrap_or(pid)
}

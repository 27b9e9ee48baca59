//! What this process has taken so far.

use std::{fs, sync::OnceLock};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// How many files this process could have open when it began.
static OPEN_FILES: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many files open as it may have at all: many systems allow a thousand unless a process asks, and each CPU's clock and ring is one, as is each
/// file that samples lead to. Returns how many.
pub(super) fn raise_open_files() -> u64 {
    let before = OPEN_FILES.get_or_init(|| getrlimit(Resource::Nofile));
    let most = before.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(error) => {
            tracing::debug!("the limit on open files stays as it is: {error}");
            before.current.unwrap_or(most)
        }
    }
}

/// Does something under the limit that this process began with: what it starts is to have that one, too.
pub(super) fn with_former_limit<T>(act: impl FnOnce() -> T) -> T {
    let former = OPEN_FILES.get().cloned();
    let was_set = former.is_some_and(|former| setrlimit(Resource::Nofile, former).is_ok());
    let done = act();
    if was_set {
        raise_open_files();
    }
    done
}

/// The second field of `/proc/self/statm`, in pages.
pub(super) fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size() as u64
}

/// The CPU time of this process.
#[expect(
    clippy::cast_precision_loss,
    reason = "clock ticks stay far below 2^53"
)]
pub(super) fn cpu_seconds() -> f64 {
    let stat = fs::read("/proc/self/stat").unwrap_or_default();
    cpu_ticks(&stat).unwrap_or(0) as f64 / clock_ticks_per_second() as f64
}

/// utime and stime of a `/proc/PID/stat`, in clock ticks (proc_pid_stat(5), fields 14 and 15): of all threads together.
pub(super) fn cpu_ticks(stat: &[u8]) -> Option<u64> {
    // The command's name stands in parentheses and may hold spaces, and bytes that are no text.
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = str::from_utf8(&stat[close + 1..]).ok()?;
    let mut times = fields.split_ascii_whitespace().skip(14 - 3);
    let mut next = || times.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
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

    #[test]
    fn a_name_with_brackets_hides_no_times() {
        let stat = b"7 (a) b 1 (\xff) S 1 7 7 0 -1 4194304 9 0 0 0 12 30 0 0 20 0 1 0 5\n";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks(b"7 (a) S 1 7"), None);
        assert_eq!(cpu_ticks(b""), None);
    }
}

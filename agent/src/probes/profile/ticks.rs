//! Ticks of the clock that never came to the program.

use std::{fs, sync::Arc};

use fathom_abi::counters::ProfileCounter;
use rustix::param::clock_ticks_per_second;

use super::Counters;

/// Ticks that found a CPU at work, and how many there should have been by the kernel's own account of CPU time.
///
/// The kernel runs a perf event's program on no CPU that is in the midst of another perf event's, a kprobe's or a tracepoint's, or of some system calls on BPF
/// maps, and does not count that (`bpf_prog_active`; `bpf_overflow_handler` in kernel/events/core.c). And a CPU that did not look at its clock for longer than from one
/// tick to the next gets one for all of them (`perf_swevent_hrtimer`): one of a virtual machine that its host has stopped, and often one that is idle, which costs nothing.
#[derive(Debug)]
pub struct Ticks {
    counters: Arc<Counters>,
    frequency: u32,
    /// CPU time in clock ticks of user space when it began.
    before: u64,
}

/// Ticks of CPUs at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Those that came.
    pub came: u64,
    /// Those that should have come. Both count what ran at single moments, so that they are alike only in the long run.
    pub expected: u64,
}

impl Ticks {
    /// From now on.
    pub(super) fn begin(counters: &Arc<Counters>, frequency: u32) -> Self {
        Self {
            counters: Arc::clone(counters),
            frequency,
            before: busy_time(),
        }
    }

    /// Those that came by now.
    pub fn busy(&self) -> Busy {
        let time = busy_time().saturating_sub(self.before);
        let idle = self.counters.get(ProfileCounter::Idle);
        Busy {
            came: self
                .counters
                .get(ProfileCounter::Ticks)
                .saturating_sub(idle),
            expected: time * u64::from(self.frequency) / clock_ticks_per_second().max(1),
        }
    }
}

/// The time that all CPUs were at work, in clock ticks of user space.
fn busy_time() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().next().and_then(busy_of).unwrap_or(0)
}

/// The first line of `/proc/stat` (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal. What the host took from a virtual machine is not its own work.
fn busy_of(line: &str) -> Option<u64> {
    let fields = line.strip_prefix("cpu ")?.split_ascii_whitespace();
    let times: Vec<u64> = fields
        .map_while(|field| field.parse().ok())
        .take(7)
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq] = times[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_work_is_left_out() {
        let line = "cpu  100 20 30 4000 500 6 7 80 90 0";
        assert_eq!(busy_of(line), Some(100 + 20 + 30 + 6 + 7));
        assert_eq!(busy_of("cpu0 100 20 30 4000 500 6 7 80 90 0"), None);
        assert_eq!(busy_of("cpu  1 2 3"), None);
        assert!(busy_time() > 0);
    }
}

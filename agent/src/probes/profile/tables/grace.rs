//! Waiting until no program can still read what it found before.
//!
//! A program runs as a reader of RCU (`bpf_overflow_handler` in kernel/events/core.c), in the clock's interrupt. `membarrier(MEMBARRIER_CMD_GLOBAL)` waits until
//! all readers have ended that were under way (`synchronize_rcu` in kernel/sched/membarrier.c).

use std::{thread, time::Duration};

/// How long a program's run is waited for where the kernel does not wait itself (`nohz_full`, seccomp): some thousand times as long as it takes.
const LONG_ENOUGH: Duration = Duration::from_millis(50);

/// Returns when every program has ended that was running when it was called. Takes about 10 to 30 ms.
pub(super) fn wait_for_programs() {
    // SAFETY: takes no pointer.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if waited != 0 {
        thread::sleep(LONG_ENOUGH);
    }
}

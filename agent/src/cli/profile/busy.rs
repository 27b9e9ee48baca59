//! Which processes are at work now: those whose samples come first.

use std::{cmp::Reverse, collections::HashMap, fs, path::Path, thread, time::Duration};

use crate::cli::usage::cpu_ticks;

/// For how long they are watched: some of the clock ticks that the kernel counts CPU time by, of 10 ms each.
const LOOK: Duration = Duration::from_millis(50);

/// More than these have little of the CPUs each.
const MOST: usize = 32;

/// Processes that have taken CPU time in a moment's look, the busiest first, of those that are wanted. Kernel threads are among them. `proc` is the procfs of the initial
/// pid namespace.
pub(super) fn busy(proc: &Path, mut wants: impl FnMut(u32) -> bool) -> Vec<u32> {
    let before = all(proc);
    thread::sleep(LOOK);
    let mut busy: Vec<(u64, u32)> = all(proc)
        .into_iter()
        .map(|(pid, ticks)| {
            let before = before.get(&pid).copied().unwrap_or(0);
            (ticks.saturating_sub(before), pid)
        })
        .filter(|&(ticks, _)| ticks > 0)
        .collect();
    busy.sort_unstable_by_key(|&(ticks, _)| Reverse(ticks));
    busy.into_iter()
        .map(|(_, pid)| pid)
        .filter(|&pid| wants(pid))
        .take(MOST)
        .collect()
}

/// The CPU time of each process, in clock ticks.
fn all(proc: &Path) -> HashMap<u32, u64> {
    let Ok(entries) = fs::read_dir(proc) else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((pid, cpu_ticks(&stat)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        process,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn who_works_is_busy_and_who_sleeps_is_not() {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            // On a busy machine it may not get a tick within one look.
            let own = process::id();
            let found = (0..100).any(|_| busy("/proc".as_ref(), |pid| pid == own) == [own]);
            assert_eq!(busy("/proc".as_ref(), |_| false), Vec::<u32>::new());
            over.store(true, Ordering::Relaxed);
            assert!(found);
        });
        assert_eq!(busy("/nowhere".as_ref(), |_| true), Vec::<u32>::new());
    }
}

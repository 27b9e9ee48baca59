//! What it costs to follow what processes map: `cargo bench -p fathom --bench mappings` starts processes, one after the other, and reads of each which
//! files it maps, opens them at first sight, and that it ends. It wants the right to perf events of all processes.
//!
//! The time is that of the processor, for the thread that reads (user and kernel), as others may be busy beside it.

use std::{
    env,
    num::NonZeroUsize,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use fathom::probes::mappings::{Event, Files, Mappings};
use rustix::time::{ClockId, clock_gettime};

/// How long processes are started.
const TIME: Duration = Duration::from_secs(10);

/// The same where only the benchmark itself is tried, not the kernel.
const TRIED: Duration = Duration::from_millis(200);

/// Bytes of each CPU's ring.
const RING: usize = 128 << 10;

/// Files that are remembered.
const FILES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

#[derive(Default)]
struct Seen {
    execs: u64,
    mapped: u64,
    opened: u64,
    refused: u64,
}

fn main() {
    let is_measured = env::args().any(|argument| argument == "--bench");
    let time = if is_measured { TIME } else { TRIED };
    let mut mappings = match Mappings::open(RING) {
        Ok(mappings) => mappings,
        Err(error) => return println!("not measured: {error}"),
    };
    let is_over = AtomicBool::new(false);
    let (started, seen, cpu) = thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&is_over));
        let before = cpu_seconds();
        let seen = follow(&mut mappings, time);
        let cpu = cpu_seconds() - before;
        is_over.store(true, Relaxed);
        (storm.join().expect("the storm"), seen, cpu)
    });
    let records = mappings.counts().records;
    println!(
        "{started} processes in {time:?}: {} execs, {} files mapped, {} opened at first sight, {} not; {:?}",
        seen.execs,
        seen.mapped,
        seen.opened,
        seen.refused,
        mappings.counts()
    );
    println!(
        "{cpu:.3} s of CPU, {:.2} µs a record",
        cpu * 1e6 / records.max(1) as f64
    );
}

/// Starts processes, one after the other; returns how many.
fn storm(is_over: &AtomicBool) -> u64 {
    let mut started = 0;
    while !is_over.load(Relaxed) {
        let ran = Command::new("true").stdin(Stdio::null()).status();
        started += u64::from(ran.is_ok());
    }
    started
}

fn follow(mappings: &mut Mappings, time: Duration) -> Seen {
    let mut files = Files::new(FILES);
    let mut seen = Seen::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        mappings
            .wait(Duration::from_millis(50))
            .expect("it can wait");
        mappings.drain(usize::MAX, |_, event| match event {
            Event::Mapped(mapped) => {
                seen.mapped += 1;
                match files.first_sight(&mapped) {
                    Ok(Some(_)) => seen.opened += 1,
                    Ok(None) => {}
                    Err(_) => seen.refused += 1,
                }
            }
            Event::Exec { .. } => seen.execs += 1,
            _ => {}
        });
    }
    seen
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

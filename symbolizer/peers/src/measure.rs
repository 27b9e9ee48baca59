//! A library's calls, timed within the process: neither pipes nor printing count, nor what other processes take of a core.

use std::{fs, hint::black_box, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::{Frame, Library, Sink, print::parse};

/// How many addresses are asked for again, and how often.
const REPEATED: usize = 1_000;
const ROUNDS: u32 = 100;

/// Takes everything that a frame says, so that no library can leave it out.
#[derive(Default)]
struct Taken {
    answers: u64,
    frames: u64,
    bytes: u64,
}

impl Sink for Taken {
    fn frame(&mut self, frame: &Frame<'_>) {
        black_box((frame.line, frame.column));
        self.frames += 1;
        self.bytes += (frame.function.len() + frame.file.len()) as u64;
    }

    fn end(&mut self) {
        self.answers += 1;
    }
}

/// The addresses of a file, one a line: the first is asked for right after the file is opened, the others once each, and then a
/// part of them again and again.
pub fn run(open: impl FnOnce() -> Result<Box<dyn Library>>, addresses: &Path) -> Result<Value> {
    let text = fs::read_to_string(addresses).with_context(|| addresses.display().to_string())?;
    let addresses: Vec<u64> = text.lines().map(parse).collect::<Result<_>>()?;
    ensure!(
        addresses.len() > REPEATED,
        "more than {REPEATED} addresses are needed"
    );
    let mut taken = Taken::default();

    let start = on_core();
    let mut library = open()?;
    library.answer(&addresses[..1], &mut taken)?;
    let first = on_core() - start;

    let start = on_core();
    library.answer(&addresses[1..], &mut taken)?;
    let cold = on_core() - start;

    let repeated = &addresses[addresses.len() - REPEATED..];
    library.answer(repeated, &mut taken)?;
    let before = taken.frames;
    let start = on_core();
    for _ in 0..ROUNDS {
        library.answer(repeated, &mut taken)?;
    }
    let warm = on_core() - start;

    Ok(json!({
        "first_ns": first.as_nanos() as u64,
        "cold_ns": cold.as_nanos() as u64,
        "cold": addresses.len() - 1,
        "warm_ns": warm.as_nanos() as u64,
        "warm": REPEATED * ROUNDS as usize,
        "warm_frames": taken.frames - before,
        "answers": taken.answers,
        "frames": taken.frames,
        "bytes": taken.bytes,
    }))
}

/// What this thread has had of a core.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

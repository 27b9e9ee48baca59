//! What a sample costs in the kernel, by the kernel's own account of the program's time (`BPF_ENABLE_STATS`).

use std::{fs, thread, time::Duration};

use aya::sys::{Stats, enable_stats};

use fathom::profile::Sample;

use crate::{Sampler, subject::Subject, tables::Loaded};

/// Nanoseconds that this process's program has run since statistics are kept, and how often (`/proc/PID/fdinfo`).
fn so_far() -> (u64, u64) {
    let files = fs::read_dir("/proc/self/fdinfo").expect("this process");
    for file in files.filter_map(Result::ok) {
        let info = fs::read_to_string(file.path()).unwrap_or_default();
        let field = |name| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        if let (Some(time), Some(runs)) = (field("run_time_ns:"), field("run_cnt:")) {
            return (time, runs);
        }
    }
    panic!("no program");
}

/// The median over short times: on a busy virtual machine some runs stand still for as long as the machine does.
const WINDOWS: usize = 41;

/// Each window's nanoseconds, runs and samples.
fn windows(sampler: &mut Sampler) -> Vec<(f64, f64, Vec<Sample>)> {
    let window = |_| {
        sampler.profile.samples.drain(usize::MAX, |_| {});
        let before = so_far();
        thread::sleep(Duration::from_millis(50));
        let mut samples = Vec::new();
        sampler.profile.samples.drain(usize::MAX, |record| {
            samples.push(Sample::parse(record).expect("a record of the ABI"));
        });
        let after = so_far();
        let (time, runs) = (after.0 - before.0, after.1 - before.1);
        (time as f64, runs as f64, samples)
    };
    (0..WINDOWS).map(window).collect()
}

/// The value that so many quarters of all are below.
fn quantile(values: &[f64], quarters: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() * quarters / 4]
}

/// What the tables say of the subject.
#[derive(Debug, PartialEq)]
enum Known {
    /// All.
    All,
    /// That it has no mapping: unwinding ends with the first frame, and the stack is copied ten times a second.
    NoMapping,
    /// Nothing: the stack is copied each time.
    Nothing,
}

/// Prints nanoseconds a sample, less what ticks of other processes take.
fn measure(shape: &str, known: Known) {
    let subject = Subject::start(shape);
    let Some(mut sampler) = Sampler::start("cost", subject.pid()) else {
        return;
    };
    match known {
        Known::All => drop(Loaded::of(subject.pid(), &mut sampler.tables)),
        Known::NoMapping => {
            let published = sampler.tables.publish(subject.pid(), 0, &[]);
            published.expect("room for a process");
        }
        Known::Nothing => {}
    }
    let _statistics = enable_stats(Stats::RunTime).expect("the kernel keeps them");
    let windows_of = windows(&mut sampler);
    subject.pause();
    let idle = windows(&mut sampler);
    let idle = idle.iter().filter(|(_, runs, _)| *runs > 0.0);
    let idle: Vec<_> = idle.map(|(time, runs, _)| time / runs).collect();
    let other = quantile(&idle, 2);
    let busy = windows_of.iter().filter(|(.., samples)| samples.len() > 4);
    let of_sample = busy.map(|(time, runs, samples)| {
        let samples = samples.len() as f64;
        (time - other * (runs - samples).max(0.0)) / samples
    });
    let of_sample: Vec<_> = of_sample.collect();
    let count = of_sample.len();
    let samples: Vec<&Sample> = windows_of
        .iter()
        .flat_map(|(.., samples)| samples)
        .collect();
    let of = |sum: usize| sum as f64 / samples.len() as f64;
    let frames = samples.iter().map(|sample| sample.frames.len());
    let stopped = samples.iter().filter_map(|sample| sample.stopped.as_ref());
    println!(
        "{shape}, {known:?} known: {:.0} ns (a quarter: {:.0}) a sample of {:.1} frames and {:.0} bytes of stack ({} samples in {count} windows; {other:.0} ns a tick of another process)",
        quantile(&of_sample, 2),
        quantile(&of_sample, 1),
        of(frames.sum()),
        of(stopped.map(|stopped| stopped.stack.len()).sum()),
        samples.len(),
    );
}

/// The most instructions that the kernel's verifier may walk: a third more than it did on any kernel.
const VERIFIED: u32 = 9_300;

#[test]
fn the_verifier_has_little_to_walk() {
    let Some(sampler) = Sampler::start("verifier", std::process::id()) else {
        return;
    };
    let report = &sampler.profile.program;
    eprintln!("{report:?}");
    if let Some(verified) = report.verified_instructions {
        assert!(verified <= VERIFIED, "{verified} instructions");
    }
}

#[test]
#[ignore = "a measurement: `cargo test -p fathom --test unwind -- --ignored --nocapture`"]
fn what_a_sample_costs() {
    measure("deep", Known::All);
    measure("recursive", Known::All);
    measure("reading", Known::All);
    measure("sorting", Known::All);
    measure("deep", Known::NoMapping);
    measure("deep", Known::Nothing);
}

//! A program that spends 60, 30 and 10 % of its time in three functions: what the profile says, against that and against perf.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fathom_scenarios::process::cpu_seconds;

use crate::{context::Context, path::find};

/// The functions and their shares, as the program's own counts of work have them.
const TRUTH: [(&str, f64); 3] = [
    ("burn_sixty", 60.0),
    ("burn_thirty", 30.0),
    ("burn_ten", 10.0),
];

/// How far a share may be off, in points, where chance does not weigh more.
const TOLERANCE: f64 = 3.0;

/// How many standard errors of a share chance may weigh: an emulated processor's timer skips ticks, which leaves few samples.
const STANDARD_ERRORS: f64 = 4.0;

/// Enough samples that chance is far below the tolerance: at 100 Hz, ten seconds leave a standard error of 1.5 points.
const FREQUENCY: u32 = 499;

pub fn run(context: &mut Context) -> Result<()> {
    let seconds = context.scaled(10, 10);
    let burn = Burn::start(&context.programs.join("burn"))?;
    let pid = burn.0.id().to_string();
    let perf = find("perf")
        .map(|perf| Perf::start(&perf, &pid, seconds, context.dir()))
        .transpose()?;
    let file = context.dir().join("burn.folded");
    let before = cpu_seconds(burn.0.id())?;
    let output = Command::new(&context.fathom)
        .args(["profile", "-p", &pid, "-d", &seconds.to_string()])
        .args(["-F", &FREQUENCY.to_string(), "-o"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()?;
    let spent = cpu_seconds(burn.0.id())? - before;
    ensure!(
        output.status.success(),
        "fathom profile ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let folded = fs::read_to_string(&file)?;
    let shares = shares(&folded)?;
    context.fact("samples", shares.samples);
    context.fact("cpu_seconds", spent);
    shares.near(TRUTH.map(|(_, share)| share), "the program")?;
    context.fact("shares", shares.of.to_vec());
    // A sample for each tick of the program's own CPU time; the profile ends a little before the second reading.
    let expected = spent * f64::from(FREQUENCY);
    // An emulated processor's timer skips most of its ticks.
    let least = if context.patience > 1 { 0.1 } else { 0.7 };
    ensure!(
        shares.samples > expected * least && shares.samples < expected * 1.05 + 10.0,
        "{} samples of {spent:.2} s of CPU time at {FREQUENCY} Hz",
        shares.samples
    );
    if let Some(perf) = perf {
        let theirs = perf.shares()?;
        context.fact("perf_shares", theirs.to_vec());
        shares.near(theirs, "perf")?;
    }
    Ok(())
}

/// What a profile says of the three functions.
struct Shares {
    /// Samples in any of the three.
    samples: f64,
    /// Of these, in points.
    of: [f64; 3],
}

impl Shares {
    fn near(&self, truth: [f64; 3], whose: &str) -> Result<()> {
        for ((name, _), (ours, theirs)) in TRUTH.iter().zip(self.of.iter().zip(truth)) {
            let error = (theirs * (100.0 - theirs) / self.samples).sqrt();
            ensure!(
                (ours - theirs).abs() <= TOLERANCE.max(STANDARD_ERRORS * error),
                "{name} has {ours:.1} %, and {theirs:.1} % by {whose}"
            );
        }
        Ok(())
    }
}

/// Reads folded stacks: frames from the root on, `;` between them, then the count.
fn shares(folded: &str) -> Result<Shares> {
    let mut counts = [0.0; 3];
    for line in folded.lines() {
        let (stack, count) = line.rsplit_once(' ').context("a line without a count")?;
        let count: f64 = count.parse().context("a count that is none")?;
        for ((name, _), sum) in TRUTH.iter().zip(&mut counts) {
            if stack.split(';').any(|frame| frame == *name) {
                *sum += count;
            }
        }
    }
    let samples: f64 = counts.iter().sum();
    ensure!(
        samples > 0.0,
        "no sample in any of the functions:\n{folded}"
    );
    Ok(Shares {
        samples,
        of: counts.map(|count| count * 100.0 / samples),
    })
}

/// The program that burns time; killed at the end.
struct Burn(Child);

impl Burn {
    fn start(program: &Path) -> Result<Self> {
        let child = Command::new(program)
            .arg("600")
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let burn = Self(child);
        // Its first round makes its pages present.
        std::thread::sleep(Duration::from_millis(100));
        Ok(burn)
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// perf on the same program at the same time.
struct Perf {
    child: Child,
    program: std::path::PathBuf,
    data: std::path::PathBuf,
}

impl Perf {
    fn start(program: &Path, pid: &str, seconds: u64, dir: &Path) -> Result<Self> {
        let data = dir.join("perf.data");
        let child = Command::new(program)
            .args(["record", "--quiet", "-e", "cpu-clock", "-g", "-p", pid])
            .args(["-F", &FREQUENCY.to_string(), "-o"])
            .arg(&data)
            .args(["--", "sleep", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start perf")?;
        Ok(Self {
            child,
            program: program.to_path_buf(),
            data,
        })
    }

    /// The functions' shares among their own samples.
    fn shares(mut self) -> Result<[f64; 3]> {
        let status = self.child.wait()?;
        ensure!(status.success(), "perf record ended with {status}");
        let output = Command::new(&self.program)
            .args(["report", "--stdio", "--no-children", "-g", "none"])
            .args(["-F", "overhead,symbol", "-i"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "perf report ended with {}",
            output.status
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let of = TRUTH.map(|(name, _)| {
            text.lines()
                .filter(|line| line.trim_end().ends_with(&format!(" {name}")))
                .filter_map(|line| line.trim().split_once('%')?.0.parse::<f64>().ok())
                .sum::<f64>()
        });
        let sum: f64 = of.iter().sum();
        ensure!(sum > 0.0, "perf saw none of the functions:\n{text}");
        Ok(of.map(|share| share * 100.0 / sum))
    }
}

#[cfg(test)]
mod tests {
    use super::{Shares, shares};

    #[test]
    fn shares_are_those_of_the_functions_wherever_they_stand_in_a_stack() {
        let folded = "burn;main;burn_sixty 3\nburn;main;burn_sixty;irq 3\nburn;main;burn_thirty 3\nburn;main;burn_ten 1\nburn;start 9\n";
        let shares = shares(folded).expect("shares");
        assert!((shares.samples - 10.0).abs() < 1e-9);
        assert!((shares.of[0] - 60.0).abs() < 1e-9);
        assert!(shares.near([60.0, 30.0, 10.0], "truth").is_ok());
        // Of ten samples chance may say anything; of ten thousand it may not.
        assert!(shares.near([56.0, 34.0, 10.0], "truth").is_ok());
        let many = Shares {
            samples: 10_000.0,
            ..shares
        };
        assert!(many.near([57.5, 32.5, 10.0], "truth").is_ok());
        assert!(many.near([56.0, 34.0, 10.0], "truth").is_err());
    }

    #[test]
    fn a_profile_without_them_is_an_error() {
        assert!(shares("burn;main 5\n").is_err());
        assert!(shares("").is_err());
    }
}

//! Counting tests from what test programs print.

use std::{
    fmt,
    io::{BufRead, BufReader},
    mem,
    ops::Add,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// What test programs said of each that failed, a line each: who sees only the end of a long log learns which.
    pub failures: Vec<String>,
}

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Runs `command`, shows its standard output and counts the tests that it reports there.
    pub fn count(&mut self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let inner = closing(&line);
            // Only the run's own closing line stands at the margin.
            let margin = if inner.is_some() { "  " } else { "" };
            println!("{margin}{line}");
            if let Some(counted) = libtest(&line).or(inner) {
                *self = mem::take(self) + counted;
            } else if failure(&line) {
                self.failures.push(line.into_owned());
            }
        }
        let status = child.wait()?;
        ensure!(status.success(), "{program}: {status}");
        Ok(())
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            failures: _,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Rust's own closing line: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn libtest(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = counts.split("; ");
    Some(Tally {
        passed: part(parts.next()?, "passed")?,
        failed: part(parts.next()?, "failed")?,
        skipped: part(parts.next()?, "ignored")?,
        failures: Vec::new(),
    })
}

/// The scenarios' closing line, in the form that this task itself ends with.
fn closing(line: &str) -> Option<Tally> {
    let mut parts = line.trim().split(", ");
    let tally = Tally {
        passed: part(parts.next()?, "passed")?,
        failed: part(parts.next()?, "failed")?,
        skipped: part(parts.next()?, "skipped")?,
        failures: Vec::new(),
    };
    parts.next().is_none().then_some(tally)
}

/// Whether a line says of one test that it failed, as Rust's tests, the scenarios and the matrix say it.
fn failure(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.any(|word| word == "FAILED") && !line.starts_with("test result: ")
}

fn part(text: &str, word: &str) -> Option<u64> {
    text.strip_suffix(word)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Tally, closing, libtest};

    #[test]
    fn both_closing_lines_are_read() {
        let expected = Tally {
            passed: 12,
            failed: 1,
            skipped: 3,
            failures: Vec::new(),
        };
        let line = "test result: FAILED. 12 passed; 1 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.0s";
        assert_eq!(libtest(line).as_ref(), Some(&expected));
        assert_eq!(closing(&expected.to_string()).as_ref(), Some(&expected));
        for other in [
            "",
            "12 passed",
            "test tests::x ... ok",
            "1 passed, 0 failed, 0 skipped, 2 lost",
        ] {
            assert_eq!(libtest(other).or_else(|| closing(other)), None, "{other}");
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error_and_is_still_counted() {
        let mut tally = Tally::default();
        let script = "echo 'flows  syscall  FAILED  2.0 s  3 are missing'; echo 2 passed, 1 failed, 0 skipped; exit 3";
        let outcome = tally.count(Command::new("sh").args(["-c", script]));
        assert!(outcome.is_err());
        assert_eq!(
            tally,
            Tally {
                passed: 2,
                failed: 1,
                skipped: 0,
                failures: vec!["flows  syscall  FAILED  2.0 s  3 are missing".to_owned()],
            }
        );
    }
}

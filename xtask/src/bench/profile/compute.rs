//! The price for an application that only computes.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use fathom_scenarios::pairs::Sample;

use super::{super::process, Options, compare};
use crate::shell;

pub fn run(options: &Options, binary: &Path) -> Result<()> {
    let program = process::compile("spin")?;
    let threads = std::thread::available_parallelism()?.to_string();
    let setup = format!(
        "{threads} threads compute, 20 calls deep, without frame pointers; the whole machine is sampled at 100 Hz. In this table a request is a unit of work \
         of about 30 µs."
    );
    compare(options, binary, "compute", &setup, |watcher| {
        let seconds = options.seconds.to_string();
        let said = shell::output(shell::command(&program).args([&threads, &seconds]))?;
        let done = Done::read(&said)?;
        ensure!(done.units > 0.0, "nothing was done");
        Ok(Sample {
            requests: done.units,
            per_second: done.units / done.seconds,
            application_cpu: done.cpu,
            agent: watcher.map(super::Watcher::sample).transpose()?,
        })
    })
}

/// What tests/programs/spin.c has done.
#[derive(Debug, PartialEq)]
struct Done {
    units: f64,
    seconds: f64,
    /// CPU seconds.
    cpu: f64,
}

impl Done {
    /// Reads what the program says: three numbers.
    fn read(line: &str) -> Result<Self> {
        let numbers: Vec<f64> = line
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let [units, seconds, cpu] = numbers[..] else {
            bail!("not what spin says of its work: {line:?}");
        };
        Ok(Self {
            units,
            seconds,
            cpu,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Done;

    #[test]
    fn three_numbers_are_read_and_less_are_an_error() {
        let done = Done::read("1000 2.5 4.75\n").expect("three numbers");
        assert_eq!((done.units, done.seconds, done.cpu), (1000.0, 2.5, 4.75));
        assert!(Done::read("1000 2.5").is_err());
        assert!(Done::read("usage: spin").is_err());
    }
}

//! What the runs took, a line for each symbolizer and the ratios below.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;

use super::{
    contender::{Contender, Taken},
    load::{Kind, Load},
};
use crate::{bench::statistics::Spread, symbolizer::subjects::Subject};

/// The runs over one file.
pub struct Table {
    title: String,
    /// In the order in which the symbolizers came.
    names: Vec<String>,
    runs: BTreeMap<(usize, Kind), Vec<Taken>>,
    counts: BTreeMap<(usize, Kind), u32>,
    /// What could not be measured, and why.
    refused: BTreeMap<String, String>,
}

/// Figures of one symbolizer.
struct Line {
    first_ms: f64,
    first_wall_ms: f64,
    some_ms: f64,
    many_ms: f64,
    each_us: f64,
    repeated_us: f64,
    peak_mib: f64,
}

impl Table {
    /// No runs yet.
    pub fn new(subject: &Subject) -> Result<Self> {
        let size = std::fs::metadata(&subject.file)?.len();
        Ok(Self {
            title: format!(
                "{} ({}, {} MB)",
                subject.name,
                subject.kind,
                size / 1_000_000
            ),
            names: Vec::new(),
            runs: BTreeMap::new(),
            counts: BTreeMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Adds a run. One that failed is no error: a symbolizer may be unable to read a file, and the table says so.
    pub fn add(&mut self, contender: &Contender, load: &Load, outcome: Result<Taken>) {
        let taken = match outcome {
            Ok(taken) => taken,
            Err(error) => {
                self.refused
                    .insert(contender.name.clone(), format!("{error:#}"));
                return;
            }
        };
        let known = self.names.iter().position(|name| *name == contender.name);
        let index = known.unwrap_or_else(|| {
            self.names.push(contender.name.clone());
            self.names.len() - 1
        });
        self.runs.entry((index, load.kind)).or_default().push(taken);
        self.counts.insert((index, load.kind), load.addresses);
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        println!(
            "| symbolizer | first answer, ms (by the clock) | 10,000 addresses, ms | 100,000, ms | an address more, µs | an address again, µs | peak memory, MiB |\n\
             |---|---|---|---|---|---|---|"
        );
        let lines: Vec<Line> = (0..self.names.len())
            .filter_map(|index| self.line(index))
            .collect();
        for (index, (name, line)) in self.names.iter().zip(&lines).enumerate() {
            let count = |kind| self.counts.get(&(index, kind)).copied().unwrap_or(0);
            let few = match count(Kind::Many) {
                100_000 => String::new(),
                many => format!(" ({} and {many} addresses)", count(Kind::Some)),
            };
            println!(
                "| {name}{few} | {:.1} ({:.1}) | {:.0} | {:.0} | {:.2} | {:.2} | {:.1} |",
                line.first_ms,
                line.first_wall_ms,
                line.some_ms,
                line.many_ms,
                line.each_us,
                line.repeated_us,
                line.peak_mib
            );
        }
        for (name, why) in &self.refused {
            println!("| {name} | not measured: {why} | | | | | |");
        }
        if let [fathom, others @ ..] = lines.as_slice()
            && !others.is_empty()
        {
            let ratio = |of: fn(&Line) -> f64| {
                others.iter().map(of).fold(f64::INFINITY, f64::min) / of(fathom)
            };
            println!(
                "| best of the others / fathom | {:.2} | | | {:.2} | {:.2} | {:.2} |",
                ratio(|line| line.first_ms),
                ratio(|line| line.each_us),
                ratio(|line| line.repeated_us),
                ratio(|line| line.peak_mib)
            );
        }
    }

    fn line(&self, index: usize) -> Option<Line> {
        let median = |kind, of: fn(&Taken) -> f64| {
            let runs = self.runs.get(&(index, kind))?;
            Some(Spread::of(runs.iter().map(of))?.median)
        };
        let ms = |kind| median(kind, |taken| milliseconds(taken.cpu));
        let count = |kind| {
            self.counts
                .get(&(index, kind))
                .map(|&count| f64::from(count))
        };
        let (some_ms, many_ms) = (ms(Kind::Some)?, ms(Kind::Many)?);
        let more = count(Kind::Many)? - count(Kind::Some)?;
        Some(Line {
            first_ms: ms(Kind::First)?,
            first_wall_ms: median(Kind::First, |taken| milliseconds(taken.wall))?,
            some_ms,
            many_ms,
            each_us: (many_ms - some_ms) * 1e3 / more,
            repeated_us: (ms(Kind::Repeated)? - some_ms) * 1e3 / more,
            peak_mib: median(Kind::Many, |taken| mebibytes(taken.peak))?,
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

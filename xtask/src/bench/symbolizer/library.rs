//! What the libraries' own calls take of a core, timed in their processes: neither pipes nor printing count.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{contender::Contender, load::Loads};
use crate::{bench::statistics::Spread, shell, symbolizer::subjects::Subject};

/// What the program with the libraries says of one run.
#[derive(Deserialize)]
struct Measured {
    /// From before the file is opened to the first answer.
    first_ns: f64,
    cold_ns: f64,
    cold: f64,
    warm_ns: f64,
    warm: f64,
    warm_frames: f64,
    /// Of all answers: whether libraries did the same work.
    answers: f64,
    frames: f64,
}

/// Measures each library, by full debug information and by symbol tables alone, and prints a table.
pub fn measure(
    subject: &Subject,
    loads: &Loads,
    contenders: &[Contender],
    rounds: u32,
) -> Result<()> {
    println!(
        "\n| library ({}) | gear | first answer, ms | a cold address, µs | addresses/s | an address again, ns | a frame again, ns | frames an address |\n|---|---|---|---|---|---|---|---|",
        subject.name
    );
    for gear in ["lines", "names"] {
        let mut runs: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (contender, runs) in contenders.iter().zip(&mut runs) {
                let Some((program, name)) = contender.library() else {
                    continue;
                };
                let text = shell::output(
                    shell::command(program)
                        .arg(name)
                        .arg(&subject.file)
                        .args(["measure", gear])
                        .arg(loads.most()),
                )?;
                runs.push(
                    serde_json::from_str(&text).with_context(|| format!("{name} says {text}"))?,
                );
            }
        }
        for (contender, runs) in contenders.iter().zip(&runs) {
            let median = |of: fn(&Measured) -> f64| {
                Spread::of(runs.iter().map(of)).map_or(f64::NAN, |spread| spread.median)
            };
            if !runs.is_empty() {
                println!(
                    "| {} | {gear} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.2} |",
                    contender.name,
                    median(|run| run.first_ns / 1e6),
                    median(|run| run.cold_ns / run.cold / 1e3),
                    median(|run| run.cold * 1e9 / run.cold_ns),
                    median(|run| run.warm_ns / run.warm),
                    median(|run| run.warm_ns / run.warm_frames),
                    median(|run| run.frames / run.answers),
                );
            }
        }
    }
    Ok(())
}

//! How many instructions the verifier walked for each program on each kernel: held against what docs/verifier.md records.
//!
//! The kernel gives a program up at a million (`BPF_COMPLEXITY_LIMIT_INSNS`), and which program nears it first is not to be
//! guessed from its source. So growth is seen where it happens, and a larger number is recorded by whoever looked at it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};

use super::matrix::table;
use crate::shell;

/// A count may be this many hundredths of the recorded one.
const ALLOWED_PERCENT: u64 = 120;

/// Instructions walked, by program and line of kernels.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    counts: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Walked {
    /// Takes in what a kernel of `line` said.
    pub fn insert(&mut self, line: &str, program: &str, count: u64) {
        self.counts
            .entry(program.to_owned())
            .or_default()
            .insert(line.to_owned(), count);
    }

    /// The counts recorded in docs/verifier.md; none where there is no such file.
    pub fn recorded() -> Result<Self> {
        let path = path();
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// What is wrong with what was `found` on the kernels of `lines`, a line each: programs that grew, programs that nobody
    /// recorded, and kernels that said nothing.
    pub fn complaints(&self, found: &Self, lines: &[&str]) -> Vec<String> {
        let silent = |line: &&&str| {
            !found
                .counts
                .values()
                .any(|counts| counts.contains_key(**line))
        };
        let mut complaints: Vec<_> = lines
            .iter()
            .filter(silent)
            .map(|line| format!("{line}: nothing says what the verifier walked"))
            .collect();
        for (program, counts) in &found.counts {
            for (line, &now) in counts {
                let before = self.counts.get(program).and_then(|counts| counts.get(line));
                match before {
                    None => complaints.push(format!(
                        "{line}: the verifier walked {now} instructions of {program}, of which docs/verifier.md has no record"
                    )),
                    Some(&before) if now * 100 > before * ALLOWED_PERCENT => complaints.push(format!(
                        "{line}: the verifier walked {now} instructions of {program}, more than {ALLOWED_PERCENT} % of the {before} on record"
                    )),
                    Some(_) => {}
                }
            }
        }
        complaints
    }

    /// Records what was found: the columns of `lines` anew, the others as they were.
    pub fn record(mut self, found: Self, lines: &[&str]) -> Result<()> {
        for counts in self.counts.values_mut() {
            counts.retain(|line, _| !lines.contains(&line.as_str()));
        }
        for (program, counts) in found.counts {
            self.counts.entry(program).or_default().extend(counts);
        }
        self.counts.retain(|_, counts| !counts.is_empty());
        let path = path();
        fs::write(&path, self.document()).with_context(|| path.display().to_string())
    }

    /// The table, with a column for each of `lines`.
    pub fn markdown(&self, lines: &[&str]) -> String {
        let mut rows = vec![
            std::iter::once("program")
                .chain(lines.iter().copied())
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        ];
        for (program, counts) in &self.counts {
            let mut row = vec![program.clone()];
            row.extend(
                lines
                    .iter()
                    .map(|&line| counts.get(line).map_or_else(String::new, u64::to_string)),
            );
            rows.push(row);
        }
        table(&rows)
    }

    fn document(&self) -> String {
        let found: BTreeSet<_> = self.counts.values().flat_map(BTreeMap::keys).collect();
        let lines: Vec<_> = super::LINES
            .into_iter()
            .filter(|&line| found.iter().any(|known| *known == line))
            .collect();
        format!(
            "# Instructions that the verifier walked\n\n\
             By program and kernel; the kernel gives up at 1,000,000. Written by `cargo xtask vm --write-docs`, and read by `cargo xtask vm`,\n\
             which fails where a program takes more than {ALLOWED_PERCENT} % of what is recorded here, or is not recorded. An empty cell is a program that is not\n\
             loaded on that kernel. Kernels before 5.16 say the number in the verifier's log alone (tests/programs/verifier_log).\n\n{}",
            self.markdown(&lines)
        )
    }

    fn parse(text: &str) -> Result<Self> {
        let mut rows = text
            .lines()
            .filter_map(|row| row.strip_prefix('|')?.strip_suffix('|'))
            .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let head = rows.next().context("has no table")?;
        let mut walked = Self::default();
        for row in rows {
            // The line below the head.
            if row.iter().all(|cell| cell.bytes().all(|byte| byte == b'-')) {
                continue;
            }
            ensure!(
                row.len() == head.len(),
                "a row has {} cells, the head {}",
                row.len(),
                head.len()
            );
            for (&line, &cell) in head.iter().zip(&row).skip(1) {
                if !cell.is_empty() {
                    let count = cell
                        .parse()
                        .with_context(|| format!("{}, {line}: {cell:?}", row[0]))?;
                    walked.insert(line, row[0], count);
                }
            }
        }
        Ok(walked)
    }
}

fn path() -> PathBuf {
    shell::root().join("docs/verifier.md")
}

#[cfg(test)]
mod tests {
    use super::Walked;

    fn walked(counts: &[(&str, &str, u64)]) -> Walked {
        let mut walked = Walked::default();
        for &(line, program, count) in counts {
            walked.insert(line, program, count);
        }
        walked
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let walked = walked(&[
            ("5.10", "sample", 9000),
            ("6.12", "sample", 6773),
            ("6.12", "sock_send", 55_790),
        ]);
        assert_eq!(Walked::parse(&walked.document()).unwrap(), walked);
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        for text in [
            "",
            "# only a title\n",
            "| program | 6.1 |\n|---|---|\n| sample | many |\n",
            "| program | 6.1 |\n|---|---|\n| sample | 1 | 2 |\n",
        ] {
            assert!(Walked::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn growth_beyond_a_fifth_and_programs_without_a_record_are_told() {
        let recorded = walked(&[("6.1", "a", 100), ("6.12", "a", 100), ("6.1", "gone", 5)]);
        assert!(
            recorded
                .complaints(
                    &walked(&[("6.1", "a", 120), ("6.12", "a", 20)]),
                    &["6.1", "6.12"]
                )
                .is_empty()
        );
        let found = walked(&[("6.1", "a", 121), ("6.18", "a", 100), ("6.1", "new", 1)]);
        let complaints = recorded.complaints(&found, &["6.1", "6.18", "7.2"]);
        assert_eq!(complaints.len(), 4, "{complaints:?}");
        assert!(complaints[0].contains("7.2: nothing"));
        assert!(complaints[1].contains("6.1: ") && complaints[1].contains("121"));
        assert!(complaints[2].contains("6.18: ") && complaints[2].contains("no record"));
        assert!(complaints[3].contains("6.1: ") && complaints[3].contains("new"));
    }
}

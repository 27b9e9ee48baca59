//! What came out: a table of files, a table of differences with examples, for people and as a file.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result, bail};

use super::{
    answer::Answer,
    compare::{Class, Comparison, Found, Rate},
    subjects::Subject,
};
use crate::shell;

/// The outcomes of all files.
pub struct Report {
    text: String,
    failed: Vec<String>,
    agreed: u64,
    classes: BTreeMap<Class, BTreeMap<String, Found>>,
}

impl Report {
    /// A report of answers beside those of `other`.
    pub fn new(other: &str, addresses: usize, seed: u64) -> Self {
        let text = format!(
            "{addresses} random addresses of each file (seed {seed}), beside {other}. A share is of the addresses where both know the name; \
             for lines, of those where {other} knows one. `missing`: only the other knows a name; `more`: only fathom does.\n\n\
             | file | what | names equal (%) | missing | more | file:line equal (%) | with column (%) | all frames equal (%) | as printed (%) | stubs equal (%) |\n\
             |---|---|---|---|---|---|---|---|---|---|\n"
        );
        print!("{text}");
        Self {
            text,
            failed: Vec::new(),
            agreed: 0,
            classes: BTreeMap::new(),
        }
    }

    /// Adds a file and prints its line.
    pub fn add(&mut self, subject: &Subject, outcome: Result<Comparison>) {
        let name = &subject.name;
        let verdict = outcome.and_then(|comparison| {
            self.line(&row(subject, &comparison));
            let verdict = comparison.judge();
            for (class, found) in comparison.classes {
                self.classes
                    .entry(class)
                    .or_default()
                    .insert(name.clone(), found);
            }
            verdict
        });
        match verdict {
            Ok(()) => self.agreed += 1,
            Err(error) => {
                println!("{name}: {error:#}");
                self.failed.push(format!("{name}: {error:#}"));
            }
        }
    }

    /// Prints the differences, writes all into target/symbolizer/truth.md, and is an error when a file failed.
    pub fn finish(mut self) -> Result<u64> {
        self.line("\n| difference | addresses | files |\n|---|---|---|");
        let mut examples = String::new();
        for (class, files) in std::mem::take(&mut self.classes) {
            let total: u64 = files.values().map(|found| found.count).sum();
            let mut each: Vec<(&String, u64)> = files
                .iter()
                .map(|(name, found)| (name, found.count))
                .collect();
            each.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
            let each: Vec<String> = each
                .into_iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            self.line(&format!("| {class} | {total} | {} |", each.join(", ")));
            for (name, found) in files {
                for example in found.examples {
                    // Writing to a string can't fail.
                    let _ = writeln!(examples, "{class}: {name} 0x{:x}", example.address);
                    let _ = writeln!(examples, "  fathom: {}", show(&example.ours));
                    let _ = writeln!(examples, "  other:  {}", show(&example.theirs));
                }
            }
        }
        let folder = shell::target().join("symbolizer");
        fs::create_dir_all(&folder)?;
        for (name, text) in [("truth.md", &self.text), ("differences.txt", &examples)] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        if !self.failed.is_empty() {
            bail!(
                "{} files differ too much: {}",
                self.failed.len(),
                self.failed.join("; ")
            );
        }
        Ok(self.agreed)
    }

    fn line(&mut self, line: &str) {
        println!("{line}");
        self.text += line;
        self.text.push('\n');
    }
}

fn row(subject: &Subject, comparison: &Comparison) -> String {
    let percent = |share: f64| format!("{:.3}", share * 100.0);
    let Comparison {
        names,
        printed,
        lines,
        columns,
        chains,
        stubs,
        ..
    } = comparison;
    let some = |rate: &Rate, share: f64| {
        if rate.equal + rate.different + rate.missing == 0 {
            "-".to_owned()
        } else {
            percent(share)
        }
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        subject.name,
        subject.kind,
        some(names, names.of_both()),
        names.missing,
        names.more,
        some(lines, lines.of_theirs()),
        some(columns, columns.of_theirs()),
        some(chains, chains.of_both()),
        some(printed, printed.of_both()),
        some(stubs, stubs.of_theirs()),
    )
}

fn show(answer: &Answer) -> String {
    let frames: Vec<String> = answer
        .iter()
        .map(|frame| {
            let unknown = || "??".to_owned();
            format!(
                "{} {}:{}:{}",
                frame.function.clone().unwrap_or_else(unknown),
                frame.file.clone().unwrap_or_else(unknown),
                frame.line,
                frame.column
            )
        })
        .collect();
    frames.join(" < ")
}

//! The matrix: what each scenario came to on each kernel, as a table for people and for the documentation.

use std::{collections::BTreeMap, fmt::Write as _};

use fathom_scenarios::{
    catalog::{self, TAPS, Taps},
    plan::Record,
    report::{Outcome, Report},
};
use serde_json::Value;

use super::{kernels::Kernel, qemu::Boot, verifier::Walked};

/// What one kernel came to.
#[derive(Debug)]
pub struct Column {
    release: String,
    line: &'static str,
    /// From the start of its kernel to the first step; none where it never got there.
    boot_s: Option<f64>,
    reports: Vec<Report>,
    /// Instructions that the verifier walked, by program.
    instructions: BTreeMap<String, u64>,
    crash: Option<String>,
    /// How many scenarios were planned.
    planned: usize,
}

impl Column {
    /// Reads what a guest wrote.
    pub fn new(kernel: &Kernel, boot: Boot, planned: usize) -> Self {
        let mut column = Self {
            release: kernel.release.clone(),
            line: kernel.line,
            boot_s: None,
            reports: Vec::new(),
            instructions: BTreeMap::new(),
            crash: boot.crash,
            planned,
        };
        for record in boot.records {
            match record {
                Record::Booted { uptime_s } => column.boot_s = Some(uptime_s),
                Record::Scenario(report) => column.reports.push(report),
                Record::Shell { output, .. } => {
                    // fathom's own doctor; its log lines stand before its document.
                    if let Some(start) = output.find('{') {
                        let document = serde_json::from_str(&output[start..]);
                        programs(&document.unwrap_or(Value::Null), &mut column.instructions);
                    }
                }
                Record::Done => {}
            }
        }
        column
    }

    /// Passed, failed and not possible on this kernel. What a crashed guest never came to has failed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Outcome) -> bool| {
            self.reports
                .iter()
                .filter(|report| is(&report.outcome))
                .count()
        };
        let passed = count(|outcome| *outcome == Outcome::Passed);
        let absent = count(|outcome| matches!(outcome, Outcome::NotHere(_)));
        (passed, self.planned - passed - absent, absent)
    }

    /// Why its guest crashed, and why each scenario failed.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        if let Some(crash) = &self.crash {
            let _ = writeln!(text, "FAILED {}: {crash}", self.release);
        }
        for report in &self.reports {
            if let Outcome::Failed(why) = &report.outcome {
                let tap = report.tap.as_deref().unwrap_or("auto");
                let _ = writeln!(
                    text,
                    "FAILED {}: {} ({tap}): {why}",
                    self.release, report.scenario
                );
            }
        }
        text
    }

    fn report(&self, scenario: &str, tap: Option<&str>) -> Option<&Report> {
        self.reports
            .iter()
            .find(|report| report.scenario == scenario && report.tap.as_deref() == tap)
    }
}

/// The whole matrix as Markdown, each table also aligned for a terminal.
pub fn markdown(columns: &[Column], how: &str) -> String {
    let mut notes = Vec::new();
    let mut text = format!(
        "# The kernel matrix\n\nWritten by `cargo xtask vm --write-docs`. Each kernel is Debian's cloud kernel, booted under QEMU ({how}), \
         with nothing changed in it.\nTimes are those of an emulated processor.\n\n"
    );
    let mut rows = vec![
        [
            "kernel",
            "scenario",
            "fentry",
            "raw-tracepoint",
            "kprobe",
            "syscall",
            "auto",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for column in columns {
        for entry in catalog::ALL {
            let mut row = vec![column.release.clone(), entry.name.to_owned()];
            let taps = TAPS.map(Some).into_iter().chain([None]);
            for tap in taps {
                let wanted = (entry.taps == Taps::Each) == tap.is_some();
                row.push(if wanted {
                    cell(column.report(entry.name, tap), &mut notes)
                } else {
                    String::new()
                });
            }
            if row[2..]
                .iter()
                .any(|cell| !cell.is_empty() && cell != "not run")
            {
                rows.push(row);
            }
        }
    }
    text.push_str(&table(&rows));
    for (number, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n[{}] not on this kernel: {note}", number + 1);
    }
    text.push_str("\n\n## Boot\n\n");
    let mut rows = vec![vec![
        "kernel".to_owned(),
        "seconds to the first step".to_owned(),
    ]];
    for column in columns {
        let boot = column
            .boot_s
            .map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1}"));
        rows.push(vec![column.release.clone(), boot]);
    }
    text.push_str(&table(&rows));
    text.push_str("\n## Instructions that the verifier walked\n\n");
    let lines: Vec<_> = columns.iter().map(|column| column.line).collect();
    text.push_str(&walked(columns).markdown(&lines));
    text
}

/// What the kernels said of the programs that they verified.
pub fn walked(columns: &[Column]) -> Walked {
    let mut walked = Walked::default();
    for column in columns {
        for (program, &count) in &column.instructions {
            walked.insert(column.line, program, count);
        }
    }
    walked
}

/// What a scenario came to, in one cell. Why a kernel can't have a tap is said once, in a note.
fn cell(report: Option<&Report>, notes: &mut Vec<String>) -> String {
    let Some(report) = report else {
        return "not run".to_owned();
    };
    match &report.outcome {
        Outcome::Passed => format!("pass ({:.0} s)", report.seconds),
        Outcome::Failed(_) => "FAIL".to_owned(),
        Outcome::NotHere(why) => {
            let at = notes
                .iter()
                .position(|note| note == why)
                .unwrap_or_else(|| {
                    notes.push(why.clone());
                    notes.len() - 1
                });
            format!("no [{}]", at + 1)
        }
    }
}

/// Every object in `document` that names a program and has a number of verified instructions, wherever it stands.
fn programs(document: &Value, into: &mut BTreeMap<String, u64>) {
    match document {
        Value::Object(fields) => {
            if let (Some(name), Some(count)) = (
                fields.get("program").and_then(Value::as_str),
                fields.get("verified_instructions").and_then(Value::as_u64),
            ) {
                into.insert(name.to_owned(), count);
            }
            fields.values().for_each(|value| programs(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| programs(value, into)),
        _ => {}
    }
}

/// A Markdown table whose columns line up; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use fathom_scenarios::{
        plan::Record,
        report::{Outcome, Report},
    };

    use super::{Column, markdown};
    use crate::vm::{kernels::Kernel, qemu::Boot};

    fn column(outcomes: &[(&str, Outcome)], crash: Option<&str>) -> Column {
        let kernel = Kernel {
            line: "6.1",
            release: "6.1.0-56-cloud-amd64".to_owned(),
            image: PathBuf::new(),
            modules: Vec::new(),
        };
        let doctor = r#"{"taps":[{"tap":"kprobe","programs":[{"program":"on_send","verified_instructions":812}]}]}"#;
        let mut records = vec![
            Record::Booted { uptime_s: 5.25 },
            Record::Shell {
                status: Some(0),
                output: format!("a line of the log\n{doctor}\n"),
            },
        ];
        records.extend(outcomes.iter().map(|(tap, outcome)| {
            Record::Scenario(Report {
                scenario: "http-exact".to_owned(),
                tap: Some((*tap).to_owned()),
                outcome: outcome.clone(),
                seconds: 3.0,
                facts: Default::default(),
            })
        }));
        let boot = Boot {
            records,
            crash: crash.map(str::to_owned),
            took: Duration::from_secs(9),
        };
        Column::new(&kernel, boot, 3)
    }

    #[test]
    fn each_outcome_has_its_cell_and_its_count() {
        let column = column(
            &[
                ("fentry", Outcome::Passed),
                (
                    "raw-tracepoint",
                    Outcome::NotHere("no tracepoint".to_owned()),
                ),
                ("kprobe", Outcome::Failed("3 are missing".to_owned())),
            ],
            None,
        );
        assert_eq!(column.counts(), (1, 1, 1));
        assert!(column.failures().contains("3 are missing"));
        let text = markdown(&[column], "tcg");
        assert!(
            text.contains("pass (3 s)") && text.contains("FAIL"),
            "{text}"
        );
        assert!(
            text.contains("[1] not on this kernel: no tracepoint"),
            "{text}"
        );
        assert!(text.contains("| on_send | 812 |"), "{text}");
        assert!(text.contains("| 5.2 "), "{text}");
    }

    #[test]
    fn what_a_crashed_guest_never_came_to_has_failed() {
        let column = column(&[("fentry", Outcome::Passed)], Some("the guest ended"));
        assert_eq!(column.counts(), (1, 2, 0));
        assert!(column.failures().contains("the guest ended"));
    }
}

//! The report: a table for people, JSON for programs.

use std::{fmt::Write as _, fs};

use anyhow::{Context, Result};
use serde::Serialize;

use super::statistics::Spread;
use crate::shell;

/// The name of the row that compares off with off: its spread is the noise that the other rows carry too.
pub const NOISE: &str = "nothing (noise)";

/// The machine that was measured on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Result<Self> {
        let read =
            |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let after = |text: &str, key: &str| -> Option<String> {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(
                line.split_once([':', '='])?
                    .1
                    .trim()
                    .trim_matches('"')
                    .to_owned(),
            )
        };
        let memory = after(&read("/proc/meminfo")?, "MemTotal").context("no MemTotal")?;
        let kibibytes: u64 = memory.trim_end_matches(" kB").parse()?;
        Ok(Self {
            cpu: after(&read("/proc/cpuinfo")?, "model name")
                .unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (kibibytes + (1 << 19)) >> 20,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            system: after(&read("/etc/os-release")?, "PRETTY_NAME").unwrap_or_default(),
        })
    }
}

/// What was measured of one watcher. CPU is in microseconds a request; a field is absent where nothing was measured.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    /// Why there is nothing.
    pub refused: Option<String>,
    pub requests_per_second_off: Option<Spread>,
    /// On over off, of each pair.
    pub throughput_ratio: Option<Spread>,
    pub application_cpu_off_us: Option<Spread>,
    pub application_cpu_on_us: Option<Spread>,
    pub agent_cpu_us: Option<Spread>,
    pub agent_core_percent: Option<Spread>,
    pub resident_mib: Option<Spread>,
    pub map_mib: Option<Spread>,
    pub lost_events: Option<Spread>,
    /// Requests that the agent saw, of those that were answered.
    pub seen_percent: Option<Spread>,
    pub ready_seconds: Option<Spread>,
}

impl Row {
    /// The row of what could not be measured.
    pub fn refused(name: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            refused: Some(why.to_owned()),
            requests_per_second_off: None,
            throughput_ratio: None,
            application_cpu_off_us: None,
            application_cpu_on_us: None,
            agent_cpu_us: None,
            agent_core_percent: None,
            resident_mib: None,
            map_mib: None,
            lost_events: None,
            seen_percent: None,
            ready_seconds: None,
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the files are called.
    #[serde(skip)]
    pub name: String,
    pub machine: Machine,
    /// What was loaded, by what, as sentences.
    pub setup: String,
    pub pairs: u32,
    pub seconds: u32,
    pub rows: Vec<Row>,
    /// What is to be said below the table, a line each.
    pub notes: Vec<String>,
}

impl Report {
    /// Prints the table and writes both forms into target/bench.
    pub fn write(&self) -> Result<()> {
        let folder = shell::target().join("bench");
        let markdown = self.markdown();
        println!("{markdown}");
        fs::create_dir_all(&folder)?;
        for (kind, text) in [
            ("md", markdown),
            ("json", serde_json::to_string_pretty(self)?),
        ] {
            let path = folder.join(format!("{}.{kind}", self.name));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let Machine {
            cpu,
            cores,
            memory_gib,
            kernel,
            system,
        } = &self.machine;
        let mut text = format!(
            "{cpu}, {cores} cores, {memory_gib} GiB, kernel {kernel}, {system}. {} {} pairs of {} s, on and off in \
             turn; median (least to most).\n\n",
            self.setup, self.pairs, self.seconds
        );
        text += HEAD;
        for row in &self.rows {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{}", line(row));
        }
        if !self.notes.is_empty() {
            let _ = writeln!(text, "\n{}", self.notes.join("\n"));
        }
        text
    }
}

const HEAD: &str = "\
| watcher | requests/s without | throughput ratio | application CPU/request without, with (µs) | agent CPU/request (µs) | agent (% of a core) | resident, maps (MiB) | lost events | requests seen (%) | ready (s) |
|---|---|---|---|---|---|---|---|---|---|
";

/// One row of the table.
pub fn line(row: &Row) -> String {
    if let Some(why) = &row.refused {
        return format!(
            "| {} | not measured: {} |||||||||",
            row.name,
            why.replace('|', "/")
        );
    }
    let spread = Spread::shown;
    let median = |spread: Option<Spread>, digits: usize| {
        spread.map_or_else(
            || "-".to_owned(),
            |spread| format!("{:.digits$}", spread.median),
        )
    };
    format!(
        "| {} | {} | {} | {}, {} | {} | {} | {}, {} | {} | {} | {} |",
        row.name,
        median(row.requests_per_second_off, 0),
        spread(row.throughput_ratio, 3),
        median(row.application_cpu_off_us, 2),
        median(row.application_cpu_on_us, 2),
        median(row.agent_cpu_us, 2),
        median(row.agent_core_percent, 1),
        median(row.resident_mib, 1),
        median(row.map_mib, 1),
        median(row.lost_events, 0),
        median(row.seen_percent, 1),
        spread(row.ready_seconds, 2),
    )
}

#[cfg(test)]
mod tests {
    use super::{HEAD, Row, line};

    #[test]
    fn every_line_has_as_many_cells_as_the_head() {
        let cells = |line: &str| line.matches('|').count();
        let head = cells(HEAD.lines().next().expect("a head"));
        let mut row = Row::refused("net, kprobe", "no | kprobes");
        assert_eq!(cells(&line(&row)), head);
        row.refused = None;
        assert_eq!(cells(&line(&row)), head);
    }
}

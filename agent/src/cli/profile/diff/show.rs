//! What changed, for people and for programs.

use std::io::{self, Write};

use serde_json::json;

use super::changes::Change;

/// What is compared.
pub(super) struct Compared {
    pub(super) before: String,
    pub(super) after: String,
    /// What each counts.
    pub(super) units: [String; 2],
}

/// Changes of less than this many percent points are no news.
const NOTABLE: f64 = 0.005;

/// The functions that grew and those that shrank the most, by the share of samples that they were the running one of.
pub(super) fn table(
    compared: &Compared,
    changes: &[Change],
    limit: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "before  {}", compared.before)?;
    writeln!(out, "after   {}", compared.after)?;
    let grew = changes
        .iter()
        .filter(|change| change.own_points() >= NOTABLE);
    let shrank = changes.iter().rev();
    let shrank = shrank.filter(|change| change.own_points() <= -NOTABLE);
    section(out, "grew", grew, limit)?;
    section(out, "shrank", shrank, limit)
}

fn section<'a>(
    out: &mut impl Write,
    title: &str,
    changes: impl Iterator<Item = &'a Change> + Clone,
    limit: usize,
) -> io::Result<()> {
    let all = changes.clone().count();
    writeln!(out)?;
    if all == 0 {
        return writeln!(out, "No function {title}.");
    }
    let (self_head, total_head) = ("self, points", "total, points");
    writeln!(
        out,
        "{self_head:>12}  {:>17}  {total_head:>13}  {:>17}  {title}",
        "% of all", "% of all"
    )?;
    for change in changes.take(limit) {
        writeln!(
            out,
            "{:>12}  {:>17}  {:>13}  {:>17}  {}{}",
            points(change.own_points()),
            shares(change.own),
            points(change.total_points()),
            shares(change.total),
            printable(&change.name),
            mark(change),
        )?;
    }
    if all > limit {
        writeln!(
            out,
            "{:>12}  and {} more; see --limit and --json",
            "",
            all - limit
        )?;
    }
    Ok(())
}

fn points(points: f64) -> String {
    format!("{points:+.2}")
}

fn shares([before, after]: [f64; 2]) -> String {
    format!("{before:.2} → {after:.2}")
}

fn mark(change: &Change) -> String {
    match change.origin {
        crate::profile::Origin::Native => String::new(),
        other => format!(" [{}]", other.name()),
    }
}

/// Names come from files that anyone may have written: nothing of them is a command to the terminal.
fn printable(name: &str) -> String {
    name.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}

/// All functions, in the same order: those that grew the most first.
pub(super) fn json(
    compared: &Compared,
    changes: &[Change],
    out: &mut impl Write,
) -> io::Result<()> {
    let functions: Vec<_> = changes
        .iter()
        .map(|change| {
            json!({
                "name": change.name,
                "origin": change.origin.name(),
                "self": {
                    "before_percent": change.own[0],
                    "after_percent": change.own[1],
                    "change_points": change.own_points(),
                },
                "total": {
                    "before_percent": change.total[0],
                    "after_percent": change.total[1],
                    "change_points": change.total_points(),
                },
            })
        })
        .collect();
    let whole = json!({
        "before": {"file": compared.before, "unit": compared.units[0]},
        "after": {"file": compared.after, "unit": compared.units[1]},
        "functions": functions,
    });
    serde_json::to_writer(&mut *out, &whole).map_err(io::Error::other)?;
    writeln!(out)
}

#[cfg(test)]
mod tests;

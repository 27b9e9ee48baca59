//! Which functions take the CPUs' time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use serde_json::json;

use crate::{
    cli::{screen::Size, text},
    export::{
        calltree::{CallTree, Frame, Side},
        frames::frames,
    },
    profile::{Origin, Profile},
};

/// Windows of a second that a live table sums up.
const WINDOWS: usize = 5;

/// Samples by function. Whether a function was inlined makes no difference.
#[derive(Default)]
pub(super) struct Top {
    samples: u64,
    functions: HashMap<Frame, Counted>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Samples in which it ran.
    own: u64,
    /// Samples in which it ran or had called what did, each once.
    total: u64,
}

/// A function with its counts.
#[derive(Debug)]
pub(super) struct Row<'a> {
    key: &'a Frame,
    counted: Counted,
    samples: u64,
}

impl Top {
    /// Adds the samples of these profiles.
    pub(super) fn add(&mut self, profiles: &[Profile]) {
        let mut tree = CallTree::default();
        for profile in profiles {
            for stack in &profile.stacks {
                self.samples += stack.count;
                let code = frames(profile, stack).map(|frame| Frame {
                    inlined: false,
                    ..Frame::of(&frame)
                });
                tree.add(code, Side::First, stack.count);
            }
        }
        for (frame, counted) in tree.functions() {
            // The root is no function.
            if frame.origin.is_some() {
                let of_all = self.functions.entry(frame.clone()).or_default();
                of_all.own += counted.own[Side::First as usize];
                of_all.total += counted.total[Side::First as usize];
            }
        }
    }

    /// All functions: those that ran most first.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<_> = self
            .functions
            .iter()
            .map(|(key, &counted)| Row {
                key,
                counted,
                samples: self.samples,
            })
            .collect();
        rows.sort_by(|a, b| {
            let order = |row: &Row<'_>| (row.counted.own, row.counted.total);
            order(b).cmp(&order(a)).then_with(|| a.key.cmp(b.key))
        });
        rows
    }

    /// The columns' names.
    pub(super) fn heading() -> String {
        format!("{:>7} {:>7}  {:<24} FUNCTION", "SELF", "TOTAL", "MODULE")
    }

    /// The first functions, as one object.
    pub(super) fn document(&self, first: usize) -> serde_json::Value {
        let rows = self.rows();
        let functions: Vec<_> = rows
            .iter()
            .take(first)
            .map(|row| {
                json!({
                    "function": &*row.key.name,
                    "module": &*row.key.module,
                    "origin": row.key.origin.map(Origin::name),
                    "self": row.counted.own,
                    "total": row.counted.total,
                })
            })
            .collect();
        json!({ "samples": self.samples, "functions": functions })
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shown to a hundredth of a percent: what a float can't hold of a count is not seen.
        let percent = |part: u64| part as f64 * 100.0 / self.samples.max(1) as f64;
        write!(
            f,
            "{:>6.2}% {:>6.2}%  {:<24} {}",
            percent(self.counted.own),
            percent(self.counted.total),
            text::clip(&text::printable(&self.key.module), 24),
            text::printable(&self.key.name)
        )
    }
}

/// The last seconds.
#[derive(Default)]
pub(super) struct Recent {
    windows: VecDeque<Top>,
}

impl Recent {
    /// Another second; the one that is too long ago goes.
    pub(super) fn push(&mut self, profiles: &[Profile]) {
        if self.windows.len() == WINDOWS {
            self.windows.pop_front();
        }
        let mut top = Top::default();
        top.add(profiles);
        self.windows.push_back(top);
    }

    /// Their sum.
    pub(super) fn sum(&self) -> Top {
        let mut sum = Top::default();
        for window in &self.windows {
            sum.samples += window.samples;
            for (key, counted) in &window.functions {
                let of_all = sum.functions.entry(key.clone()).or_default();
                of_all.own += counted.own;
                of_all.total += counted.total;
            }
        }
        sum
    }

    /// What a terminal shows of them, below `headline`.
    pub(super) fn frame(&self, headline: &str, size: Size) -> Vec<String> {
        let sum = self.sum();
        let rows = sum.rows();
        let lines = [headline.to_owned(), Top::heading()];
        let lines = lines
            .into_iter()
            .chain(rows.iter().map(ToString::to_string));
        lines
            .take(size.rows)
            .map(|line| text::clip(&line, size.columns))
            .collect()
    }
}

#[cfg(test)]
mod tests;

//! A call chain as a test writes it down: `_start;...;main;dive{100};bottom`, root first.
//!
//! | step | stands for |
//! |---|---|
//! | `name` | one frame of this function, whatever its arguments and its compiler's suffix (`f(int)`, `f.part.0`) |
//! | `one\|other` | one frame of either |
//! | `name{100}` | exactly a hundred frames of it |
//! | `name+` | one frame of it or more |
//! | `...` | none to sixteen frames of functions that the test does not know, such as a C library's own |
//!
//! A frame of which nobody knows what it is (`[unknown]`) is in no chain.

use anyhow::{Result, ensure};

/// The most frames that `...` stands for.
const MOST: usize = 16;

/// What folded stacks call a frame of an address that lies in nothing.
const UNKNOWN: &str = "[unknown]";

/// A chain, read.
#[derive(Clone, Debug)]
pub struct Chain(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    /// Frames of one of these functions, at least and at most so many.
    Frames(Vec<String>, usize, usize),
    /// `...`
    Any,
}

/// How a stack compares with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It is another.
    Wrong,
    /// It has the chain's first frames and ends there: a function further up was running itself.
    Part,
    /// It is the chain.
    Whole,
}

impl Chain {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self> {
        let steps = text.split(';').map(Step::parse);
        let steps = steps.collect::<Result<Vec<_>>>()?;
        ensure!(!steps.is_empty(), "an empty chain");
        Ok(Self(steps))
    }

    /// Compares a stack of user code, root first. A part begins with at least the chain's first named function below `...`, or its
    /// root where it has none: `_start` alone shows nothing of a chain that leads to `main`.
    pub fn compare(&self, stack: &[&str]) -> Match {
        if fits(&self.0, stack) {
            return Match::Whole;
        }
        let trunk = self.0.iter().position(|step| matches!(step, Step::Any));
        let least = trunk.map_or(1, |any| any + 2).min(self.0.len());
        let is_part = (least..self.0.len()).any(|end| fits(&self.0[..end], stack));
        // Within repeated frames, too.
        let cut = || {
            self.0.iter().enumerate().any(|(at, step)| match step {
                Step::Frames(names, least, _) if *least > 1 => {
                    let mut begun = self.0[..at].to_vec();
                    begun.push(Step::Frames(names.clone(), 1, *least));
                    fits(&begun, stack)
                }
                _ => false,
            })
        };
        if is_part || cut() {
            Match::Part
        } else {
            Match::Wrong
        }
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self> {
        if text == "..." {
            return Ok(Self::Any);
        }
        let (names, least, most) = if let Some(names) = text.strip_suffix('+') {
            (names, 1, usize::MAX)
        } else if let Some((names, count)) = repeated(text) {
            (names, count, count)
        } else {
            (text, 1, 1)
        };
        ensure!(!names.is_empty(), "a step without a name");
        let names = names.split('|').map(str::to_owned).collect();
        Ok(Self::Frames(names, least, most))
    }
}

/// `name{100}`; Rust's `{{closure}}` is a part of a name.
fn repeated(text: &str) -> Option<(&str, usize)> {
    let (names, count) = text.strip_suffix('}')?.rsplit_once('{')?;
    Some((names, count.parse().ok()?))
}

/// Whether the steps are the stack, all of both.
fn fits(steps: &[Step], stack: &[&str]) -> bool {
    let Some((step, steps)) = steps.split_first() else {
        return stack.is_empty();
    };
    let (least, most, is): (_, _, &dyn Fn(&str) -> bool) = match step {
        Step::Any => (0, MOST, &|frame| frame != UNKNOWN),
        Step::Frames(names, least, most) => (*least, *most, &|frame| {
            names.iter().any(|name| is_of(frame, name))
        }),
    };
    let run = stack
        .iter()
        .take(most)
        .take_while(|frame| is(frame))
        .count();
    // The longest first: a run of equal frames belongs together.
    (least..=run)
        .rev()
        .any(|taken| fits(steps, &stack[taken..]))
}

/// Whether a frame is one of the function: what follows its name are template arguments, arguments, or what a compiler or a linker has appended.
pub fn is_of(frame: &str, name: &str) -> bool {
    let frame = frame.strip_prefix("void ").unwrap_or(frame);
    frame
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', '<', '.', ' ']))
}

#[cfg(test)]
mod tests;

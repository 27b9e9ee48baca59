//! Folded stacks: a line for each stack, root first, `name;name;name count`, as `stackcollapse-perf.pl` prints them.
//!
//! The first name is the thread's. Functions of the kernel end in `_[k]`, compiled ones in `_[j]` and, if asked for, inlined ones in
//! `_[i]`: what `stackcollapse-perf.pl --all` puts there and `flamegraph.pl --color=java` colours by. A frame without a name is its file in
//! brackets, or `[unknown]`.

use std::{collections::BTreeMap, io};

use super::frames::{Frame, frames};
use crate::profile::{Origin, Profile, Stack};

/// Whether inlined functions are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inlined {
    /// They look like the others.
    #[default]
    Plain,
    /// They end in `_[i]`.
    Marked,
}

/// Writes the stacks of all profiles, equal lines once, sorted.
///
/// # Errors
/// What `out` returns.
pub fn write(profiles: &[Profile], inlined: Inlined, mut out: impl io::Write) -> io::Result<()> {
    for (line, count) in fold(profiles, inlined) {
        writeln!(out, "{line} {count}")?;
    }
    Ok(())
}

/// The lines and their counts, sorted.
pub fn fold(profiles: &[Profile], inlined: Inlined) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for profile in profiles {
        for stack in &profile.stacks {
            *lines.entry(line(profile, stack, inlined)).or_default() += stack.count;
        }
    }
    lines
}

fn line(profile: &Profile, stack: &Stack, inlined: Inlined) -> String {
    let mut line = String::new();
    push(&mut line, &stack.comm);
    for frame in frames(profile, stack) {
        line.push(';');
        push(&mut line, &frame.name());
        line.push_str(mark(&frame, inlined));
    }
    line
}

fn mark(frame: &Frame<'_>, inlined: Inlined) -> &'static str {
    match frame.origin() {
        Origin::Kernel => "_[k]",
        Origin::Jit => "_[j]",
        Origin::Native | Origin::Interpreted | Origin::Python => {
            match frame.inlined && inlined == Inlined::Marked {
                true => "_[i]",
                false => "",
            }
        }
    }
}

/// Adds a name. It comes from a file that anyone may have written: what the format gives a meaning to is replaced.
pub fn push(line: &mut String, name: &str) {
    line.extend(name.chars().map(|char| match char {
        ';' => ':',
        char if char.is_control() => '?',
        char => char,
    }));
}

#[cfg(test)]
mod tests;

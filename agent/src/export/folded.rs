//! Folded stacks: a line for each stack, root first, `name;name;name count`, as `stackcollapse-perf.pl` prints them.
//!
//! The first name is the thread's; kernel functions end in `_[k]`; a frame without a name is its file in brackets, or
//! `[unknown]`.

use std::{collections::BTreeMap, io};

use crate::profile::{Location, Profile, Stack};

/// Writes the stacks of all profiles, equal lines once, sorted.
///
/// # Errors
/// What `out` returns.
pub fn write(profiles: &[Profile], mut out: impl io::Write) -> io::Result<()> {
    for (line, count) in fold(profiles) {
        writeln!(out, "{line} {count}")?;
    }
    Ok(())
}

/// The lines and their counts, sorted.
pub fn fold(profiles: &[Profile]) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for profile in profiles {
        for stack in &profile.stacks {
            *lines.entry(line(profile, stack)).or_default() += stack.count;
        }
    }
    lines
}

fn line(profile: &Profile, stack: &Stack) -> String {
    let mut line = String::new();
    push(&mut line, &stack.comm);
    for &location in stack.locations.iter().rev() {
        line.push(';');
        let location = &profile.locations[location as usize];
        push_frame(&mut line, profile, location);
    }
    line
}

fn push_frame(line: &mut String, profile: &Profile, location: &Location) {
    match (location.function, location.mapping) {
        (Some(function), _) => push(line, &profile.functions[function as usize].name),
        (None, Some(mapping)) => {
            let name = &profile.mappings[mapping as usize].name;
            let name = name.rsplit('/').next().unwrap_or(name);
            line.push('[');
            push(line, name.trim_matches(['[', ']']));
            line.push(']');
        }
        (None, None) => line.push_str("[unknown]"),
    }
    if location.kernel {
        line.push_str("_[k]");
    }
}

/// A name comes from a file that anyone may have written: what the format gives a meaning to is replaced.
fn push(line: &mut String, name: &str) {
    line.extend(name.chars().map(|char| match char {
        ';' => ':',
        char if char.is_control() => '?',
        char => char,
    }));
}

#[cfg(test)]
pub(super) mod tests;

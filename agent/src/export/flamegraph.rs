//! Flame graphs: one HTML page ([`html`]), and here one SVG, which pages that show pictures take, too.

pub mod html;

use std::io;

use inferno::flamegraph::{
    Options,
    color::{MultiPalette, Palette},
    from_lines,
};

use super::folded::{self, Inlined};
use crate::profile::Profile;

/// Writes the flame graph of all profiles together.
///
/// # Errors
/// When there is no sample in them (there is nothing to draw), and what `out` returns.
pub fn write(profiles: &[Profile], title: &str, out: impl io::Write) -> io::Result<()> {
    let lines: Vec<String> = folded::fold(profiles, Inlined::Marked)
        .iter()
        .map(|(line, count)| format!("{line} {count}"))
        .collect();
    let mut options = Options::default();
    options.title = title.to_owned();
    options.colors = Palette::Multi(MultiPalette::Java);
    // Kernel functions have a colour of their own. The same function has the same colour in each graph, so that two can be compared.
    options.hash = true;
    from_lines(&mut options, lines.iter().map(String::as_str), out).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;

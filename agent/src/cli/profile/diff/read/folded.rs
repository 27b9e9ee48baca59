//! Folded stacks, of fathom or of any of the `stackcollapse-*` programs.

use std::collections::HashMap;

use super::{Content, Frames, Stacks};
use crate::{export::calltree::Frame, profile::Origin};

/// A line that is none of a stack.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {what}")]
pub struct Error {
    line: usize,
    what: &'static str,
}

/// Reads the lines. The marks `_[k]`, `_[j]` and `_[i]` at the ends of names are read as what they say, and taken off.
pub(super) fn parse(bytes: &[u8]) -> Result<Stacks, Error> {
    let mut frames = Frames::default();
    let mut names: HashMap<&str, u32> = HashMap::new();
    let mut stacks = Vec::new();
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let wrong = |what| Error { line, what };
        let text = std::str::from_utf8(text).map_err(|_| wrong("is no text"))?;
        let text = text.trim_end_matches('\r');
        if text.trim().is_empty() || text.starts_with("# ") {
            continue;
        }
        let (stack, count) = text
            .trim_end()
            .rsplit_once(' ')
            .ok_or(wrong("has no count at its end"))?;
        let count = count
            .parse()
            .map_err(|_| wrong("does not end in a whole number"))?;
        let ids = stack
            .trim_end()
            .split(';')
            .map(|name| *names.entry(name).or_insert_with(|| frames.id(frame(name))));
        stacks.push((ids.collect(), count));
    }
    Ok(Stacks {
        content: Content::Folded,
        frames: frames.all,
        stacks,
        unit: None,
    })
}

fn frame(name: &str) -> Frame {
    let marks = [
        ("_[k]", Origin::Kernel),
        ("_[j]", Origin::Jit),
        ("_[i]", Origin::Native),
    ];
    let marked = marks
        .iter()
        .find_map(|&(mark, origin)| Some((name.strip_suffix(mark)?, origin)));
    let (name, origin) = marked.unwrap_or((name, Origin::Native));
    Frame {
        name: name.into(),
        module: "".into(),
        origin: Some(origin),
        inlined: false,
    }
}

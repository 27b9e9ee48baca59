//! A flame graph as one HTML page that needs nothing else: no network, no library.
//!
//! The page holds the call tree as JSON, and draws of it what can be seen on a canvas: a tree of a million nodes costs no more than its
//! widest ones. `page.html`, `page.css` and the scripts are put together here; the scripts say what each is for.

use std::{collections::HashMap, io};

use serde::Serialize;

use crate::{
    export::calltree::{CallTree, Frame},
    profile::Origin,
};

/// What is said above the graph.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What it shows.
    pub title: String,
    /// How it came to be.
    pub subtitle: String,
    /// CPU time that one sample stands for, nanoseconds; 0 where that is not known.
    pub period_ns: u64,
    /// The unit of the counts: `samples`.
    pub unit: String,
}

/// How many profiles a tree is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One.
    Profile,
    /// Two, whose shares are compared.
    Difference,
}

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    include_str!("tree.js"),
    include_str!("colors.js"),
    include_str!("draw.js"),
    include_str!("page.js")
);

/// Writes the page.
///
/// # Errors
/// What `out` returns.
pub fn write(
    tree: &CallTree,
    kind: Kind,
    about: &About,
    mut out: impl io::Write,
) -> io::Result<()> {
    let data = serde_json::to_string(&Data::new(tree, kind, about)).map_err(io::Error::other)?;
    let mut rest = PAGE;
    // Within a script element only `<` could end it; within JSON it is found in strings alone, where it may be written like this.
    for (mark, part) in [
        ("{{title}}", escaped(&about.title)),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", data.replace('<', "\\u003c")),
        ("{{script}}", SCRIPT.to_owned()),
    ] {
        let (before, after) = rest
            .split_once(mark)
            .ok_or_else(|| io::Error::other(format!("the page has no {mark}")))?;
        out.write_all(before.as_bytes())?;
        out.write_all(part.as_bytes())?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The tree as the page's script reads it.
#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    subtitle: &'a str,
    unit: &'a str,
    period_ns: u64,
    /// 1, or 2 for a difference.
    sides: usize,
    /// What the third number of a frame means.
    origins: Vec<&'static str>,
    strings: Vec<&'a str>,
    /// Four numbers a frame: name, module (both in `strings`), origin (0: none), inlined (0 or 1).
    frames: Vec<u32>,
    /// For each node, callers first: its frame, its depth, what ends there of each side.
    nodes: Vec<u64>,
}

impl<'a> Data<'a> {
    fn new(tree: &'a CallTree, kind: Kind, about: &'a About) -> Self {
        let sides = match kind {
            Kind::Profile => 1,
            Kind::Difference => 2,
        };
        let mut strings = Strings::default();
        let frames = tree.frames().iter();
        let frames = frames.flat_map(|frame| strings.frame(frame)).collect();
        let mut nodes = Vec::with_capacity(tree.nodes().len() * (2 + sides));
        for (index, depth) in tree.preorder() {
            let node = tree.nodes()[index as usize];
            nodes.extend([u64::from(node.frame), u64::from(depth)]);
            nodes.extend_from_slice(&node.own[..sides]);
        }
        let origins = Origin::ALL.into_iter().map(Origin::name);
        Self {
            title: &about.title,
            subtitle: &about.subtitle,
            unit: &about.unit,
            period_ns: about.period_ns,
            sides,
            origins: std::iter::once("thread").chain(origins).collect(),
            strings: strings.all,
            frames,
            nodes,
        }
    }
}

#[derive(Default)]
struct Strings<'a> {
    all: Vec<&'a str>,
    ids: HashMap<&'a str, u32>,
}

impl<'a> Strings<'a> {
    fn frame(&mut self, frame: &'a Frame) -> [u32; 4] {
        let origin = Origin::ALL
            .iter()
            .position(|&origin| Some(origin) == frame.origin);
        [
            self.id(&frame.name),
            self.id(&frame.module),
            origin.map_or(0, |origin| origin as u32 + 1),
            frame.inlined.into(),
        ]
    }

    fn id(&mut self, text: &'a str) -> u32 {
        let all = &mut self.all;
        *self.ids.entry(text).or_insert_with(|| {
            all.push(text);
            all.len() as u32 - 1
        })
    }
}

#[cfg(test)]
mod tests;

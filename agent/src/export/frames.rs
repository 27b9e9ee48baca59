//! The frames of a stack as a reader sees them: inlined functions are frames of their own.

use std::borrow::Cow;

use crate::profile::{Function, Line, Location, Mapping, Origin, Profile, Stack};

/// A frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    profile: &'a Profile,
    /// The location that it is at; the frames of one location share it.
    pub location: &'a Location,
    /// The function and its line; none where nothing is known of the location.
    pub line: Option<&'a Line>,
    /// Whether the compiler put it into the function of the frame before it, nearer to the root.
    pub inlined: bool,
}

impl<'a> Frame<'a> {
    /// Its function, if one is known.
    pub fn function(&self) -> Option<&'a Function> {
        let line = self.line?;
        Some(&self.profile.functions[line.function as usize])
    }

    /// What it is called: the function's name, else the name of its file in brackets.
    pub fn name(&self) -> Cow<'a, str> {
        match self.function() {
            Some(function) if !function.name.is_empty() => Cow::Borrowed(&function.name),
            _ => Cow::Owned(self.profile.place(self.location)),
        }
    }

    /// What kind of code it is.
    pub fn origin(&self) -> Origin {
        self.location.origin
    }

    /// What its code lies in, if that is known.
    pub fn mapping(&self) -> Option<&'a Mapping> {
        let mapping = self.location.mapping?;
        Some(&self.profile.mappings[mapping as usize])
    }

    /// The last name of the path of the file that its code is in; empty where none is known.
    pub fn module(&self) -> &'a str {
        let name = self.mapping().map_or("", |mapping| &mapping.name);
        name.rsplit('/').next().unwrap_or_default()
    }
}

/// The frames of a stack, from the root to the leaf.
pub fn frames<'a>(profile: &'a Profile, stack: &'a Stack) -> impl Iterator<Item = Frame<'a>> {
    let locations = stack.locations.iter().rev();
    locations.flat_map(move |&location| {
        let location = &profile.locations[location as usize];
        let frame = move |line, inlined| Frame {
            profile,
            location,
            line,
            inlined,
        };
        let lines = location.lines.iter().rev().enumerate();
        let known = lines.map(move |(depth, line)| frame(Some(line), depth > 0));
        let unknown = location.lines.is_empty().then(|| frame(None, false));
        known.chain(unknown)
    })
}

#[cfg(test)]
mod tests;

//! `http.route`: a bounded template for an unbounded path.
//!
//! The application's own router is not seen. So a route is the first of the user's [`Patterns`] that a path matches; else it is a guess from the
//! path alone ([`template()`]). Where a service has more guessed routes than [`Routes`] may hold, the rest are [`Route::Other`], which
//! [`Routes::refused`] counts.

mod pattern;
mod segment;

use std::sync::Arc;

pub use self::pattern::{BadPattern, Pattern, Patterns};
use super::names::{Claim, Names, Number};

/// Segments behind this many are left out, as `/…`.
const MAX_SEGMENTS: usize = 12;

/// The routes of one service, by number.
#[derive(Debug)]
pub struct Routes {
    patterns: Arc<Patterns>,
    names: Names,
    /// Reused, so that a known path allocates nothing.
    template: String,
}

/// A route within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// This one.
    Known(Number),
    /// One for which there was no room.
    Other,
}

impl Routes {
    /// Room for `limit` guessed routes beside those of `patterns`.
    pub fn new(limit: usize, patterns: Arc<Patterns>) -> Self {
        Self {
            patterns,
            names: Names::new(limit),
            template: String::new(),
        }
    }

    /// The route of this path; none for a path without one (CONNECT, `*`).
    pub fn of(&mut self, path: &str, claim: Claim) -> Option<Route> {
        if !path.starts_with('/') {
            return None;
        }
        let number = match self.patterns.find(path) {
            Some(pattern) => self.names.number(pattern, Claim::Certain),
            None => {
                self.template.clear();
                write_template(path, &mut self.template);
                self.names.number(&self.template, claim)
            }
        };
        Some(number.map_or(Route::Other, Route::Known))
    }

    /// The text of a route; none of [`Route::Other`].
    pub fn template(&self, route: Route) -> Option<&Arc<str>> {
        match route {
            Route::Known(number) => self.names.name(number),
            Route::Other => None,
        }
    }

    /// Paths whose route found no room.
    pub fn refused(&self) -> u64 {
        self.names.refused()
    }
}

/// The guessed route of a path. It is at most about 550 bytes long, and its own template.
///
/// A segment that looks like a value stands as what it looks like, as does a part of one that does; any other stands as it is.
/// What follows a `;` (RFC 3986 section 3.3: parameters, such as a session's id) is left out.
///
/// | placeholder | what it stands for |
/// |---|---|
/// | `{id}` | numbers, versions of three parts, coordinates, addresses |
/// | `{date}` | `2024-05-01`, with a time or without |
/// | `{uuid}` | RFC 9562 |
/// | `{hash}` | hexadecimal digits: commits, object ids, the part of a file's name that is new with each build |
/// | `{email}`, `{name}` | `ann@example.org`; `@ann`, `~ann` |
/// | `{text}` | what had to be percent-encoded: titles, search terms, ids with a slash in them |
/// | `{slug}` | five words and more with hyphens between them, or words behind a long number |
/// | `{value}` | what follows a `=` |
/// | `{token}` | what is long and changes between letters and digits as words do not: base64, ULIDs, other random ids |
pub fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len());
    write_template(path, &mut template);
    template
}

fn write_template(path: &str, into: &mut String) {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    for (at, segment) in segments.by_ref().take(MAX_SEGMENTS).enumerate() {
        into.push('/');
        segment::write(segment, at == 0, into);
    }
    if segments.next().is_some() {
        into.push_str("/…");
    }
}

#[cfg(test)]
mod tests;

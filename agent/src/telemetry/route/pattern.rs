//! Routes that the user names.

use std::{collections::HashSet, fmt};

use thiserror::Error;

/// Bytes of a pattern.
const MAX_LENGTH: usize = 256;
/// Bytes of a placeholder's name.
const MAX_NAME: usize = 32;

/// A pattern that can't be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadPattern {
    /// A path starts with a slash.
    #[error("does not start with a slash")]
    NoSlash,
    /// Longer than 256 bytes.
    #[error("is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A character that no path has (RFC 3986, `pchar`), or a query or fragment.
    #[error("has {0:?}, which no path has")]
    Character(char),
    /// Braces that do not pair, or more than one pair in a segment.
    #[error("has braces that are no one placeholder of its segment")]
    Braces,
    /// A placeholder's name.
    #[error("has a placeholder without a name of letters, digits, - and _ (at most {MAX_NAME})")]
    Name,
    /// `:id`, as other routers write it.
    #[error("has a segment that starts with a colon, as if it were a placeholder")]
    Colon,
    /// A star that is not the whole last segment.
    #[error("has a star that is not its last segment")]
    Star,
    /// The same pattern is there already.
    #[error("is there twice")]
    Twice,
}

/// A route that the user names: `/users/{name}/orders/{order}`.
///
/// A placeholder stands for what is left of its segment (at least one byte); a segment may have text before and after it (`{id}.json`). A `*` as the last
/// segment stands for one segment or more. Anything else has to be the same in the path, byte by byte; a slash at the end does not matter.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Whether it ends with a `*`.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Value { before: String, after: String },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it could never match what its author means.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.len() > MAX_LENGTH {
            return Err(BadPattern::TooLong);
        }
        let path = text.strip_prefix('/').ok_or(BadPattern::NoSlash)?;
        let is_path = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/{}".contains(c);
        if let Some(character) = path.chars().find(|&c| !is_path(c)) {
            return Err(BadPattern::Character(character));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let (path, open) = match path.strip_suffix('*') {
            Some("") => ("", true),
            Some(rest) => (rest.strip_suffix('/').ok_or(BadPattern::Star)?, true),
            None => (path, false),
        };
        // `/*` is nothing but the star.
        let segments = if open && path.is_empty() && !text.starts_with("//") {
            Vec::new()
        } else {
            path.split('/')
                .map(Segment::parse)
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            text: text.to_owned(),
            segments,
            open,
        })
    }

    /// Whether it stands for this path (without its query).
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut given = path.strip_suffix('/').unwrap_or(path).split('/');
        self.segments
            .iter()
            .all(|segment| given.next().is_some_and(|given| segment.matches(given)))
            && match given.next() {
                Some(next) => self.open && !next.is_empty(),
                None => !self.open,
            }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.contains('*') {
            return Err(BadPattern::Star);
        }
        if text.starts_with(':') {
            return Err(BadPattern::Colon);
        }
        let Some((before, rest)) = text.split_once('{') else {
            return if text.contains('}') {
                Err(BadPattern::Braces)
            } else {
                Ok(Self::Literal(text.to_owned()))
            };
        };
        let (name, after) = rest.split_once('}').ok_or(BadPattern::Braces)?;
        if [before, name, after]
            .iter()
            .any(|part| part.contains(['{', '}']))
        {
            return Err(BadPattern::Braces);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_name) {
            return Err(BadPattern::Name);
        }
        Ok(Self::Value {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    fn matches(&self, given: &str) -> bool {
        match self {
            Self::Literal(text) => given == text,
            Self::Value { before, after } => given
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(|value| !value.is_empty()),
        }
    }
}

/// The user's routes. The first that matches is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    list: Vec<Pattern>,
    texts: HashSet<String>,
}

impl Patterns {
    /// As many as there may be: each path is compared with each of them.
    pub const MAX: usize = 256;

    /// Adds a pattern behind the others.
    ///
    /// # Errors
    /// When it is there already.
    pub fn push(&mut self, pattern: Pattern) -> Result<(), BadPattern> {
        if !self.texts.insert(pattern.text.clone()) {
            return Err(BadPattern::Twice);
        }
        self.list.push(pattern);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The pattern that stands for this path, as the user wrote it.
    pub fn find(&self, path: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|pattern| pattern.matches(path))
            .map(|pattern| pattern.text.as_str())
    }
}

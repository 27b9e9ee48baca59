//! `http.route`: a bounded template for an unbounded path.
//!
//! The template is a guess from the path alone, as the application's own router is not seen: a segment that looks like a value
//! stands as `{id}` (numbers), `{uuid}`, `{hash}`, `{email}` or `{token}`; any other stands as it is. Where a service has more
//! templates than [`Routes`] may hold, the rest have none, which [`Routes::overflowed`] counts.

use std::{collections::HashMap, sync::Arc};

/// Segments behind this many are left out, as `/…`.
const MAX_SEGMENTS: usize = 12;
/// A segment that is longer than this is a value.
const MAX_SEGMENT: usize = 40;

/// The templates of one service, by number.
#[derive(Debug)]
pub struct Routes {
    limit: usize,
    numbers: HashMap<Box<str>, RouteId>,
    templates: Vec<Arc<str>>,
    overflowed: u64,
    /// Reused, so that a known path allocates nothing.
    template: String,
}

/// A template's number within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u32);

impl Routes {
    /// Room for `limit` templates.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            numbers: HashMap::new(),
            templates: Vec::new(),
            overflowed: 0,
            template: String::new(),
        }
    }

    /// The number of this path's template; none for a path without one (CONNECT, `*`), and none without room for one more.
    pub fn of(&mut self, path: &str) -> Option<RouteId> {
        if !path.starts_with('/') {
            return None;
        }
        self.template.clear();
        write_template(path, &mut self.template);
        if let Some(&number) = self.numbers.get(self.template.as_str()) {
            return Some(number);
        }
        if self.templates.len() >= self.limit {
            self.overflowed += 1;
            return None;
        }
        let number = RouteId(u32::try_from(self.templates.len()).ok()?);
        self.templates.push(self.template.as_str().into());
        self.numbers.insert(self.template.as_str().into(), number);
        Some(number)
    }

    /// The template with this number.
    pub fn template(&self, route: RouteId) -> Option<&Arc<str>> {
        self.templates.get(route.0 as usize)
    }

    /// Paths that found no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// The template of a path, without a bound on how many there are.
pub fn template(path: &str) -> String {
    let mut template = String::with_capacity(path.len());
    write_template(path, &mut template);
    template
}

fn write_template(path: &str, into: &mut String) {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    for segment in segments.by_ref().take(MAX_SEGMENTS) {
        into.push('/');
        write_segment(segment, into);
    }
    if segments.next().is_some() {
        into.push_str("/…");
    }
}

/// A value may have a file's ending (`{id}.html`) or a word before it (`order-{id}`), which stay.
fn write_segment(segment: &str, into: &mut String) {
    if let Some(value) = placeholder(segment) {
        into.push_str(value);
        return;
    }
    let is_ending = |ending: &str| {
        (1..=5).contains(&ending.len())
            && ending.starts_with(|c: char| c.is_ascii_alphabetic())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some((stem, ending)) = segment
        .rsplit_once('.')
        .filter(|(_, ending)| is_ending(ending))
        && let Some(value) = placeholder(stem)
    {
        into.extend([value, ".", ending]);
        return;
    }
    match segment.rfind(['-', '_']).map(|at| segment.split_at(at + 1)) {
        Some((word, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            into.extend([word, "{id}"]);
        }
        _ => into.push_str(segment),
    }
}

/// What stands for a segment that is a value.
fn placeholder(segment: &str) -> Option<&'static str> {
    let bytes = segment.as_bytes();
    let count = |is: fn(&u8) -> bool| bytes.iter().filter(|&byte| is(byte)).count();
    let digits = count(u8::is_ascii_digit);
    if digits == 0 && bytes.len() < 16 {
        // Most segments are words; only an address can look like one.
        return is_email(segment).then_some("{email}");
    }
    let punctuation = count(|byte| matches!(byte, b'-' | b'.' | b',' | b'_' | b':' | b'+'));
    if digits > 0 && digits + punctuation == bytes.len() {
        // A version (`1.2.3`) is a value too: its routes are not told apart by it.
        return Some("{id}");
    }
    if is_uuid(bytes) {
        return Some("{uuid}");
    }
    if is_email(segment) {
        return Some("{email}");
    }
    let hex = count(u8::is_ascii_hexdigit);
    if bytes.len() >= 8 && hex == bytes.len() && digits > 0 {
        return Some("{hash}");
    }
    if bytes.len() > MAX_SEGMENT || is_random(bytes, digits) {
        return Some("{token}");
    }
    None
}

/// RFC 9562, in either case.
fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_email(segment: &str) -> bool {
    let Some((user, domain)) = segment
        .split_once('@')
        .or_else(|| segment.split_once("%40"))
    else {
        return false;
    };
    !user.is_empty() && domain.contains('.')
}

/// Base64, ULIDs, short ids with digits all over: long, of one alphabet, and changing between letters and digits more often than
/// words with a number do.
fn is_random(bytes: &[u8], digits: usize) -> bool {
    let alphabet = bytes.iter().all(|&byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'+' | b'~')
    });
    if !alphabet || bytes.len() < 12 {
        return false;
    }
    let changes = bytes
        .windows(2)
        .filter(|pair| pair[0].is_ascii_alphanumeric() && pair[1].is_ascii_alphanumeric())
        .filter(|pair| class(pair[0]) != class(pair[1]))
        .count();
    (digits >= 2 && changes >= 4) || (bytes.len() >= 20 && changes >= 6)
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;

//! One segment of a path: is it a word, or a value?
//!
//! A guess. It errs towards values where the two can't be told apart: one route too few is a coarser histogram, one route a value is a
//! table full of values. But what stands in the paths of real APIs (`v1`, `en-US`, `sha256`, `GetUserById`, `app.min.js`) stays.

mod shape;

use self::shape::{is_date, is_email, is_hash, is_hex_groups, is_number, is_random, uuid_at};

/// What is longer after all is a value.
const MAX_LENGTH: usize = 40;
/// So many words with hyphens between them are a title.
const SLUG_WORDS: usize = 5;
/// The length of a UUID in text.
const UUID: usize = 36;

/// Words that look like values.
const WORDS: &[&str] = &[
    "x86_64",
    "utf-8",
    "utf-16",
    "iso-8859-1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha-256",
    "sha-512",
    "es-419",
    "en-001",
    "en-150",
];

/// Writes what stands for `segment`; `first` is that of a path.
pub(super) fn write(segment: &str, first: bool, into: &mut String) {
    let segment = segment.split(';').next().unwrap_or_default();
    let start = into.len();
    if segment.contains('%') {
        match decode(segment) {
            Some(decoded) if is_email(&decoded) => into.push_str("{email}"),
            // What a client encodes without need (`%7Eann`).
            Some(decoded) if decoded.bytes().all(is_unreserved) => {
                whole(&decoded, first, into);
            }
            _ => into.push_str("{text}"),
        }
    } else {
        whole(segment, first, into);
    }
    if into.len() - start > MAX_LENGTH {
        into.truncate(start);
        into.push_str("{token}");
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Undoes percent-encoding; none where it is wrong or hides no text.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (code, tail) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(code[0])? * 16 + digit(code[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn whole(segment: &str, first: bool, into: &mut String) {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b'.');
    if segment.len() < 16 && segment.bytes().all(is_word) && !segment.contains('-')
        || WORDS.iter().any(|word| segment.eq_ignore_ascii_case(word))
    {
        into.push_str(segment);
    } else if is_date(segment) {
        into.push_str("{date}");
    } else if is_version(segment) || (first && is_api_version(segment)) {
        into.push_str(segment);
    } else if is_number(segment) || is_hex_groups(segment) {
        into.push_str("{id}");
    } else if is_email(segment) {
        into.push_str("{email}");
    } else if let Some(sign @ (b'@' | b'~')) = segment.bytes().next()
        && segment.len() > 1
    {
        into.push(char::from(sign));
        into.push_str("{name}");
    } else if is_slug(segment) {
        into.push_str("{slug}");
    } else if is_numbered_title(segment) {
        into.push_str("{id}-{slug}");
    } else if let Some((name, value)) = segment.split_once('=')
        && !name.is_empty()
        && value.bytes().any(|byte| byte != b'=')
    {
        around_uuids(name, into);
        into.push_str("={value}");
    } else if let Some((name, keys)) = segment.split_once('(')
        && keys.len() > 1
        && keys.ends_with(')')
    {
        // OData: `Orders(42)`.
        around_uuids(name, into);
        into.push_str("({id})");
    } else {
        around_uuids(segment, into);
    }
}

/// `v1`, `v1.41`, `v2_1`.
fn is_version(segment: &str) -> bool {
    segment.strip_prefix(['v', 'V']).is_some_and(|number| {
        number.starts_with(|c: char| c.is_ascii_digit())
            && number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
            && number.len() <= 8
    })
}

/// `/1.1/statuses`: a number with a point at the start of a path is no value.
fn is_api_version(segment: &str) -> bool {
    let is_part = |part: &str| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    segment
        .split_once('.')
        .is_some_and(|(major, minor)| is_part(major) && is_part(minor))
}

fn is_slug(segment: &str) -> bool {
    let is_word =
        |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    segment.split('-').filter(is_word).count() >= SLUG_WORDS
}

/// `360012345678-How-to-reset`.
fn is_numbered_title(segment: &str) -> bool {
    segment.split_once('-').is_some_and(|(number, title)| {
        number.len() >= 4
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && title
                .split('-')
                .any(|word| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic()))
    })
}

/// A UUID has hyphens of its own, so that it is looked for before the segment is taken apart.
fn around_uuids(segment: &str, into: &mut String) {
    let mut rest = segment;
    while let Some(at) = uuid_at(rest) {
        parts(&rest[..at], into);
        into.push_str("{uuid}");
        rest = &rest[at + UUID..];
    }
    parts(rest, into);
}

/// Takes a segment apart at its separators. A part that is a value is replaced, the others stay.
fn parts(segment: &str, into: &mut String) {
    let has_word = || {
        // `cus_…` and `pi_…` are said of what follows.
        let is_word = |(at, part): (usize, &str)| {
            part.len() >= if at == 0 { 2 } else { 4 }
                && part.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        let mut words = segment.split(['-', '_', '+']).enumerate();
        words.clone().count() > 1 && words.any(is_word)
    };
    // Base64 for URLs has hyphens and underscores of its own.
    if is_random(segment.trim_end_matches('=')) && !is_hash(segment) && !has_word() {
        into.push_str("{token}");
        return;
    }
    let is_separator = |c: char| matches!(c, '-' | '_' | '.' | '~' | ',' | ':' | '+' | '!' | '@');
    let mut rest = segment;
    let mut separator = None;
    let mut last = Part::Word;
    loop {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(end);
        let part = Part::of(text, separator, last);
        // `jquery-3.6.0.min.js`: one number.
        let goes_on = separator == Some('.') && last == Part::Number && part == Part::Number;
        if goes_on {
            // Its point was written.
            into.pop();
        } else {
            part.write(text, into);
        }
        last = part;
        let mut characters = tail.chars();
        let Some(next) = characters.next() else {
            return;
        };
        into.push(next);
        separator = Some(next);
        rest = characters.as_str();
    }
}

/// What a part of a segment is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Word,
    Number,
    /// A word with a number behind it: `SKU12345`.
    Numbered,
    Hash,
    Token,
}

impl Part {
    fn of(text: &str, separator: Option<char>, before: Self) -> Self {
        if text.is_empty() || WORDS.contains(&text) {
            return Self::Word;
        }
        let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
        if digits == text.len() {
            return Self::Number;
        }
        if is_hash(text) {
            return Self::Hash;
        }
        if is_random(text) || (before == Self::Hash && separator == Some('-') && is_pod(text)) {
            return Self::Token;
        }
        let word = &text[..text.len() - digits];
        if digits >= 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Self::Numbered;
        }
        Self::Word
    }

    fn write(self, text: &str, into: &mut String) {
        match self {
            Self::Word => into.push_str(text),
            Self::Number => into.push_str("{id}"),
            Self::Numbered => {
                into.push_str(text.trim_end_matches(|c: char| c.is_ascii_digit()));
                into.push_str("{id}");
            }
            Self::Hash => into.push_str("{hash}"),
            Self::Token => into.push_str("{token}"),
        }
    }
}

/// The end of a Kubernetes pod's name: five of the characters that its names are made of.
fn is_pod(text: &str) -> bool {
    text.len() == 5
        && text
            .bytes()
            .all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
}

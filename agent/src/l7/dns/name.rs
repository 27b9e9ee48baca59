//! Domain names, as messages hold them (RFC 1035 sections 3.1 and 4.1.4).

use std::{fmt::Write as _, sync::Arc};

use super::Fault;

/// Bytes of a name in a message, with the lengths of its labels (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// The two highest bits of a length: a pointer to the rest of the name.
const POINTER: u8 = 0xc0;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Reads the name at a place, and says where what follows it starts. Names are the same in upper and lower case (RFC 4343); here they are in lower
    /// case. What is no printable character within a label, and a dot or backslash there, is written as RFC 1035 section 5.1 has it: `\DDD`.
    ///
    /// # Errors
    /// When it goes on behind the message's end, is longer than a name may be, or points at what does not come before it.
    pub fn read(bytes: &[u8], start: usize) -> Result<(Self, usize), Fault> {
        let mut text = String::new();
        let mut at = start;
        let mut length = 1;
        // Where the name, or the part of it that a pointer leads to, starts: each pointer has to lead before that, so that none is followed twice.
        let mut part = start;
        let mut behind = None;
        loop {
            let fault = Fault::Name(at);
            let first = *bytes.get(at).ok_or(fault)?;
            match first & POINTER {
                POINTER => {
                    let low = *bytes.get(at + 1).ok_or(fault)?;
                    behind.get_or_insert(at + 2);
                    let target = usize::from(first & !POINTER) << 8 | usize::from(low);
                    if target >= part {
                        return Err(fault);
                    }
                    part = target;
                    at = target;
                }
                0 if first == 0 => return Ok((Self(text), behind.unwrap_or(at + 1))),
                0 => {
                    let end = at + 1 + usize::from(first);
                    let label = bytes.get(at + 1..end).ok_or(fault)?;
                    length += label.len() + 1;
                    if length > MAX_NAME {
                        return Err(fault);
                    }
                    push(&mut text, label);
                    at = end;
                }
                // Reserved.
                _ => return Err(fault),
            }
        }
    }

    /// The name without its last dot; `.` for the root.
    pub fn into_text(self) -> Arc<str> {
        if self.0.is_empty() {
            ".".into()
        } else {
            self.0.into()
        }
    }
}

fn push(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for &byte in label {
        match byte {
            b'.' | b'\\' => drop(write!(text, "\\{byte:03}")),
            b'!'..=b'~' => text.push(char::from(byte.to_ascii_lowercase())),
            _ => drop(write!(text, "\\{byte:03}")),
        }
    }
}

/// Where what follows the name at a place starts, without reading it.
pub(super) fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let first = *bytes.get(at)?;
        match first & POINTER {
            POINTER => return Some(at + 2),
            0 if first == 0 => return Some(at + 1),
            0 => at += 1 + usize::from(first),
            _ => return None,
        }
    }
}

/// Whether a name is one that a host can have (RFC 1123 section 2.1, and the underscore that services have): only such names name addresses.
pub fn is_host(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name != "."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

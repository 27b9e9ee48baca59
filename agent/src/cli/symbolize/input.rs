//! A line of addresses, read as llvm-symbolizer reads it.

/// What a line asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What is at an address.
    Address(u64),
    /// Nothing that is understood.
    Other,
}

/// An address is hexadecimal behind `0x`, binary behind `0b`, octal behind `0o` or `0`, and decimal otherwise.
pub(super) fn parse(line: &[u8]) -> Line {
    let Ok(line) = std::str::from_utf8(line) else {
        return Line::Other;
    };
    let line = line.strip_prefix("CODE ").unwrap_or(line);
    let word = line.split([' ', '\r', '\n']).find(|word| !word.is_empty());
    word.and_then(number).map_or(Line::Other, Line::Address)
}

fn number(word: &str) -> Option<u64> {
    let (digits, radix) = match word.get(..2) {
        Some("0x" | "0X") => (&word[2..], 16),
        Some("0b" | "0B") => (&word[2..], 2),
        Some("0o") => (&word[2..], 8),
        Some(start) if start.starts_with('0') => (&word[1..], 8),
        _ => (word, 10),
    };
    // A sign is no part of an address.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

//! `/tmp/perf-PID.map`: a line for each function, `START SIZE NAME`, the numbers in hexadecimal
//! (Linux, tools/perf/Documentation/jit-interface.txt).

use super::codes::{Code, Codes};
use crate::Name;

/// The longest name that is kept; what is longer is cut. V8 puts whole paths into names.
const MAX_NAME: usize = 4096;

/// Takes in whole lines until the functions have more than `limit` bytes, and returns how many bytes the lines had. Those of another form
/// are left out.
pub(super) fn take(text: &[u8], codes: &mut Codes, limit: usize) -> usize {
    let mut taken = 0;
    while codes.bytes() <= limit
        && let Some(length) = memchr::memchr(b'\n', &text[taken..])
    {
        if let Some((start, code)) = parse(&text[taken..taken + length]) {
            codes.insert(start, code);
        }
        taken += length + 1;
    }
    taken
}

fn parse(line: &[u8]) -> Option<(u64, Code)> {
    let mut parts = line.trim_ascii().splitn(3, |&byte| byte == b' ');
    let start = hex(parts.next()?)?;
    let size = hex(parts.next()?)?;
    let name = parts.next()?;
    let name = &name[..name.len().min(MAX_NAME)];
    if name.is_empty() || size == 0 {
        return None;
    }
    let code = Code {
        end: start.checked_add(size)?,
        name: Name::new(String::from_utf8_lossy(name)),
        lines: None,
        moved: 0,
    };
    Some((start, code))
}

/// Some compilers write `0x` before numbers.
fn hex(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // A sign is none of the form's.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

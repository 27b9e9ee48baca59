//! `tracestate` (W3C Trace Context section 3.3): kept as it is, as it means something only to those who wrote it.

/// The longest that is kept: section 3.3.1.5 asks for that much.
const MAX: usize = 512;

/// Adds the value of a header field; several of them are one list (section 3.3.1). What is too long, or no text, is left out.
pub(super) fn add(list: &mut Option<String>, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else {
        return;
    };
    let before = list.as_ref().map_or(0, String::len);
    let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if value.is_empty() || !printable || before + 1 + value.len() > MAX {
        return;
    }
    match list {
        Some(list) => {
            list.push(',');
            list.push_str(value);
        }
        None => *list = Some(value.to_owned()),
    }
}

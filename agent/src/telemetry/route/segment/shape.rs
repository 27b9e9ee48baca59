//! What a text looks like.

/// A number, or several with punctuation between them.
pub(super) fn is_number(text: &str) -> bool {
    let mut digits = 0;
    let all = text.bytes().all(|byte| {
        digits += usize::from(byte.is_ascii_digit());
        byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b',' | b'_' | b':' | b'+')
    });
    let size = || {
        let (width, height) = text.split_once('x')?;
        let is_size =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_size(width) && is_size(height)).then_some(())
    };
    (all && digits > 0) || size().is_some()
}

/// `2024-05-01`, and what may follow it in ISO 8601.
pub(super) fn is_date(text: &str) -> bool {
    let Some((date, time)) = text.as_bytes().split_first_chunk::<10>() else {
        return false;
    };
    let is_day = date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    is_day
        && (time.is_empty()
            || matches!(time[0], b'T' | b't' | b'_')
                && time[1..].iter().all(|byte| {
                    byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-' | b'Z' | b'z')
                }))
}

pub(super) fn is_email(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(user, domain)| !user.is_empty() && domain.contains('.'))
}

/// An IPv6 or hardware address.
pub(super) fn is_hex_groups(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b':').count() >= 2
        && text.bytes().any(|byte| byte.is_ascii_hexdigit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
}

/// Where the first UUID starts (RFC 9562, in either case), with nothing that goes on around it.
pub(super) fn uuid_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes
        .windows(super::UUID)
        .enumerate()
        .find_map(|(at, window)| {
            let is_uuid = window.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
            let goes_on = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            (is_uuid && !goes_on(before) && !goes_on(bytes.get(at + super::UUID))).then_some(at)
        })
}

/// Hexadecimal digits, of both kinds: six and more, as in a file's name.
pub(super) fn is_hash(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `decade1` is a word.
    is_hex && (digits >= 2 || (digits == 1 && text.len() >= 16))
}

/// Base64, ULIDs, other random ids: of one alphabet, and not made of words.
pub(super) fn is_random(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    if bytes.len() < 8 || !bytes.iter().all(alphabet) {
        return false;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let changes = bytes
        .windows(2)
        .filter(|pair| pair.iter().all(u8::is_ascii_alphanumeric))
        .filter(|pair| class(pair[0]) != class(pair[1]))
        .count();
    let letters_of_words = words(bytes);
    // A short one needs a stronger sign: `SKU12345` is a word and a number.
    let mixed = digits >= 2 && changes >= if bytes.len() < 12 { 4 } else { 3 };
    // One that has hardly a digit changes between capitals and small letters as no words do.
    let dense = bytes.len() >= 10 && 5 * changes >= 2 * bytes.len();
    (mixed && 2 * letters_of_words < bytes.len())
        || (dense && 10 * letters_of_words < 4 * bytes.len())
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    }
}

/// How many of these are letters of words: three and more, of which at least a quarter are vowels. Words begin as in `getURLOfUser`.
fn words(bytes: &[u8]) -> usize {
    let starts = |at: usize| {
        let is_upper = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_uppercase);
        let is_lower = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_lowercase);
        is_upper(at) && (at > 0 && is_lower(at - 1) || is_lower(at + 1))
    };
    let (mut all, mut length, mut vowels) = (0, 0_usize, 0_usize);
    for (at, &byte) in bytes.iter().chain(b"-").enumerate() {
        let is_letter = byte.is_ascii_alphabetic();
        if !is_letter || starts(at) {
            if length >= 3 && 4 * vowels >= length {
                all += length;
            }
            (length, vowels) = (0, 0);
        }
        if is_letter {
            length += 1;
            vowels += usize::from(b"aeiouAEIOU".contains(&byte));
        }
    }
    all
}

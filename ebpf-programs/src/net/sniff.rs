//! The first bytes of a message, looked at only to choose the gear. Protocols are parsed in user space.

/// What a message looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// An HTTP/1 request line (RFC 9112 section 3).
    Request,
    /// An HTTP/1 status line (RFC 9112 section 4).
    Response,
    /// Anything else.
    Stranger,
}

const fn word(text: &[u8; 4]) -> u32 {
    u32::from_ne_bytes(*text)
}

/// The bytes of a word that a program has written so far, where it has written this many.
#[inline(always)]
fn mask(written: u32) -> u32 {
    if written >= 4 {
        u32::MAX
    } else {
        (1 << (written * 8)) - 1
    }
}

/// The first eight bytes, as two words, of which `captured` are the message's. Some programs write a head in pieces, the
/// first of which may be as short as `GET `: what can still become a head looks like one.
#[inline(always)]
pub fn look(first: u32, second: u32, captured: u32) -> Look {
    const HTTP: u32 = word(b"HTTP");
    const SLASH_1: u32 = word(b"/1.\0");
    if captured == 0 {
        return Look::Stranger;
    }
    let in_first = mask(captured);
    // Any minor version: the eighth byte is masked away.
    let in_second = mask(captured.saturating_sub(4)) & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
    if (first ^ HTTP) & in_first == 0 && (second ^ SLASH_1) & in_second == 0 {
        return Look::Response;
    }
    // The methods of RFC 9110 section 9 and RFC 5789 by their first four bytes.
    const METHODS: [u32; 9] = [
        word(b"GET "),
        word(b"HEAD"),
        word(b"POST"),
        word(b"PUT "),
        word(b"DELE"),
        word(b"CONN"),
        word(b"OPTI"),
        word(b"TRAC"),
        word(b"PATC"),
    ];
    if (first ^ METHODS[0]) & in_first == 0
        || (first ^ METHODS[1]) & in_first == 0
        || (first ^ METHODS[2]) & in_first == 0
        || (first ^ METHODS[3]) & in_first == 0
        || (first ^ METHODS[4]) & in_first == 0
        || (first ^ METHODS[5]) & in_first == 0
        || (first ^ METHODS[6]) & in_first == 0
        || (first ^ METHODS[7]) & in_first == 0
        || (first ^ METHODS[8]) & in_first == 0
    {
        return Look::Request;
    }
    Look::Stranger
}

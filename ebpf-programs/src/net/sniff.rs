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

/// The first eight bytes, as two words.
#[inline(always)]
pub fn look(first: u32, second: u32) -> Look {
    const HTTP: u32 = word(b"HTTP");
    const SLASH_1: u32 = word(b"/1.\0");
    // "HTTP/1." and any minor version: the eighth byte is masked away.
    if first == HTTP && second & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]) == SLASH_1 {
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
    if first == METHODS[0]
        || first == METHODS[1]
        || first == METHODS[2]
        || first == METHODS[3]
        || first == METHODS[4]
        || first == METHODS[5]
        || first == METHODS[6]
        || first == METHODS[7]
        || first == METHODS[8]
    {
        return Look::Request;
    }
    Look::Stranger
}

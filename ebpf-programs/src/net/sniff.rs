//! The first bytes of a message, looked at only to choose the gear. Protocols are parsed in user space.

use core::{hint::black_box, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_user;

use crate::{kernel, syscall::Buffer};

/// Bytes that are enough to know any start by: a frame's header has nine.
pub const ANY_START: u64 = 9;

/// What a message looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Look {
    /// An HTTP/1 request line (RFC 9112 section 3).
    Request,
    /// An HTTP/1 status line (RFC 9112 section 4).
    Response,
    /// The client's connection preface of HTTP/2 (RFC 9113 section 3.4).
    Preface,
    /// A TLS record (RFC 8446 section 5.1) of a handshake or of data.
    Tls,
    /// Anything else.
    Stranger,
}

impl From<u32> for Look {
    #[inline(always)]
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Request,
            1 => Self::Response,
            2 => Self::Preface,
            3 => Self::Tls,
            _ => Self::Stranger,
        }
    }
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
    if captured >= 8 && first == word(b"PRI ") && second == word(b"* HT") {
        return Look::Preface;
    }
    if captured >= 3 && is_tls(first) {
        return Look::Tls;
    }
    let in_first = mask(captured);
    // Any minor version: the eighth byte is masked away.
    let in_second = mask(captured.saturating_sub(4)) & u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
    if (first ^ HTTP) & in_first == 0 && (second ^ SLASH_1) & in_second == 0 {
        return Look::Response;
    }
    // The header that a proxy puts before the first request (PROXY protocol, sections 2.1 and 2.2).
    if captured >= 8
        && ((first == word(b"PROX") && second & 0xffff == word(b"Y \0\0"))
            || (first == word(b"\r\n\r\n") && second == word(b"\0\r\nQ")))
    {
        return Look::Request;
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

/// `legacy_record_version` is 3.1 to 3.4 in what is sent.
#[inline(always)]
fn is_tls(first: u32) -> bool {
    let [kind, major, minor, _] = first.to_ne_bytes();
    (kind == 0x16 || kind == 0x17) && major == 3 && minor <= 4
}

/// Whether the first nine bytes of a call, of which the last is `ninth`, are the header of a frame that starts or keeps up a connection of
/// HTTP/2 (RFC 9113 section 4.1): SETTINGS, PING, WINDOW_UPDATE, or HEADERS in one frame, of the length that it must
/// have; or DATA that is all there is in the call's `bytes`. Few protocols start like that; what the frames say is checked in user space.
#[inline(always)]
pub fn is_frame(first: u32, second: u32, ninth: u8, captured: u32, bytes: u64) -> bool {
    if captured < 9 {
        return false;
    }
    let [high, middle, low, kind] = first.to_ne_bytes();
    let [flags, id_0, id_1, id_2] = second.to_ne_bytes();
    let on_stream_0 = (id_0 | id_1 | id_2 | ninth) == 0;
    if high != 0 {
        return false;
    }
    match kind {
        // DATA of a client's stream, or of its answer. As much of what such a connection moves is nothing else.
        0 => {
            let length = u64::from(u32::from_be(first) >> 8);
            flags & !9 == 0 && id_0 & 0x80 == 0 && ninth & 1 == 1 && length + 9 == bytes
        }
        // HEADERS, whole, of a client's stream or its answer.
        1 => flags & !0x29 == 4 && id_0 & 0x80 == 0 && ninth & 1 == 1,
        // SETTINGS.
        4 => on_stream_0 && middle == 0 && low % 6 == 0 && (flags == 0 || (flags == 1 && low == 0)),
        // PING.
        6 => on_stream_0 && middle == 0 && low == 8 && flags <= 1,
        // WINDOW_UPDATE.
        8 => middle == 0 && low == 4 && flags == 0 && id_0 & 0x80 == 0,
        _ => false,
    }
}

/// Whether a call that moved `bytes` starts with nothing known, by a few of them on the stack; not where they can't be read.
#[inline(always)]
pub fn is_strange(buffer: &Buffer, bytes: u64) -> bool {
    let len = bytes.min(buffer.len).min(ANY_START);
    if len == 0 {
        return false;
    }
    let mut head = MaybeUninit::<[u64; 2]>::uninit();
    let at = head.as_mut_ptr();
    // SAFETY: the array has more room than the mask lets through, and is filled with zeros first; the helper checks the user address.
    let (failed, head) = unsafe {
        kernel::clear(at);
        let len = black_box(len) as u32 & 15;
        let failed = bpf_probe_read_user(at.cast(), len, buffer.address as *const _);
        (failed, head.assume_init())
    };
    failed == 0 && starts_strange(head[0], head[1], len as u32, bytes) != 0
}

/// Whether the first bytes of a call, of which `len` were read, start nothing known: 1, else 0.
///
/// A global function, as `pieces::walk_pieces`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn starts_strange(head: u64, ninth: u64, len: u32, bytes: u64) -> u32 {
    let (first, second) = (head as u32, (head >> 32) as u32);
    let is_known = look(first, second, len) != Look::Stranger
        || is_frame(first, second, ninth as u8, len, bytes);
    u32::from(!is_known)
}

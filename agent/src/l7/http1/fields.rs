//! The header fields that fathom reads: those that frame a message, `traceparent` and `tracestate`. No other value is looked at.

use std::sync::Arc;

use memchr::memchr;

use crate::l7::{exchange::TraceParent, trace_state};

/// What the fields say of the length of the body (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Neither field was there.
    #[default]
    Unsaid,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding` with chunked as its last coding; it wins over `Content-Length`.
    Chunked,
    /// `Transfer-Encoding` without chunked.
    OtherCoding,
    /// A `Content-Length` that is no number, or two that differ.
    Contradictory,
}

/// What is known of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// How long the body is.
    pub body: Body,
    /// The one valid `traceparent`.
    pub parent: Option<TraceParent>,
    /// `tracestate`, where it is not longer than is kept.
    pub trace_state: Option<String>,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
}

impl Fields {
    /// The `tracestate`, which means nothing without a `traceparent`.
    pub fn kept_trace_state(&self) -> Option<Arc<str>> {
        self.parent.and(self.trace_state.as_deref()).map(Arc::from)
    }
}

/// Reads fields up to the empty line: the fields, and how many bytes they took with that line. Where it is not there, what
/// was read so far comes back as the error.
pub(super) fn read(bytes: &[u8]) -> Result<(Fields, usize), Fields> {
    let mut fields = Fields::default();
    let mut parents = 0_u32;
    let mut at = 0;
    while let Some(end) = memchr(b'\n', &bytes[at..]) {
        let line = super::trim_cr(&bytes[at..at + end]);
        at += end + 1;
        if line.is_empty() {
            return Ok((fields, at));
        }
        // The length decides nearly always, so that most lines cost one look.
        if let Some(value) = value_of(line, b"content-length") {
            fields.body = match (fields.body, content_length(value)) {
                (Body::Unsaid, Some(length)) => Body::Length(length),
                (Body::Length(first), Some(length)) if first == length => Body::Length(length),
                (body @ (Body::Chunked | Body::OtherCoding), _) => body,
                _ => Body::Contradictory,
            };
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let last = value
                .rsplit(|&byte| byte == b',')
                .next()
                .unwrap_or_default();
            fields.body = if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                Body::Chunked
            } else {
                Body::OtherCoding
            };
        } else if let Some(value) = value_of(line, b"traceparent") {
            // More than one, and none is valid (W3C Trace Context section 3.2.2.1 allows a single one).
            parents += 1;
            fields.parent = if parents == 1 {
                trace_parent(value)
            } else {
                None
            };
        } else if let Some(value) = value_of(line, b"tracestate") {
            trace_state::add(&mut fields.trace_state, value);
        } else if let Some(value) = value_of(line, b"expect") {
            fields.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
        }
    }
    Err(fields)
}

/// The value of a field line, where its name is `name` (in lower case).
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if line.get(name.len()) != Some(&b':') || !line[..name.len()].eq_ignore_ascii_case(name) {
        return None;
    }
    Some(line[name.len() + 1..].trim_ascii())
}

/// One number, or a list of one number over and over (RFC 9110 section 8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let mut numbers = value.split(|&byte| byte == b',').map(|number| {
        let number = number.trim_ascii();
        if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(number).ok()?.parse::<u64>().ok()
    });
    let first = numbers.next()??;
    numbers.all(|number| number == Some(first)).then_some(first)
}

/// W3C Trace Context section 3.2.2, strictly: lower case, no zero ids, version 00 of exactly 55 characters.
pub(in crate::l7) fn trace_parent(value: &[u8]) -> Option<TraceParent> {
    let (fixed, rest) = value.split_first_chunk::<55>()?;
    let [version] = hex(&fixed[..2])?;
    let dashes = fixed[2] == b'-' && fixed[35] == b'-' && fixed[52] == b'-';
    let length_fits = if version == 0 {
        rest.is_empty()
    } else {
        rest.is_empty() || rest[0] == b'-'
    };
    if version == 0xff || !dashes || !length_fits {
        return None;
    }
    let trace_id: [u8; 16] = hex(&fixed[3..35])?;
    let span_id: [u8; 8] = hex(&fixed[36..52])?;
    let [flags] = hex(&fixed[53..])?;
    (trace_id != [0; 16] && span_id != [0; 8]).then_some(TraceParent {
        trace_id,
        span_id,
        flags,
    })
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

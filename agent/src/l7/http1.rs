//! HTTP/1.x heads (RFC 9110, RFC 9112) as an observer reads them: from bytes that may be cut short anywhere, that may not be
//! HTTP at all, and that may have been made to do harm. Nothing here allocates but [`path`], and nothing panics.
//!
//! An observer differs from an endpoint: it reports what was sent, takes a bare LF for an end of line (RFC 9112 section 2.2),
//! and where framing is contradictory it says so and guesses nothing.

mod fields;
mod proxy;

pub(super) use fields::trace_parent;
pub use fields::{Body, Fields};
use memchr::memchr;

/// The longest head that is put together from several records or pieces.
pub const MAX_HEAD: usize = 32 << 10;

/// The longest method that is taken for one.
pub const MAX_METHOD: usize = 32;

/// The methods that OpenTelemetry's `http.request.method` knows; any other is `_OTHER` there.
pub const KNOWN_METHODS: [&str; 10] = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
];

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// They may be the start of one.
    Short,
    /// They are something else.
    NotHttp,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, at most [`MAX_METHOD`] bytes.
    pub method: &'a str,
    /// The target, as far as it is known.
    pub target: &'a [u8],
    /// `0.9`, `1.0`, `1.1`; none where the request line was cut.
    pub version: Option<&'static str>,
    /// What the fields say, as far as they are known.
    pub fields: Fields,
    /// Bytes of the head, its empty line and what a proxy put before it included; none where that is not there.
    pub length: Option<usize>,
    /// Bytes that a proxy put before it ([`first_request`]).
    pub front: usize,
}

impl Request<'_> {
    /// Bytes of head and body together, where the head says so.
    pub fn total(&self) -> Option<u64> {
        let head = u64::try_from(self.length?).ok()?;
        match self.fields.body {
            Body::Unsaid => Some(head),
            Body::Length(body) => head.checked_add(body),
            Body::Chunked | Body::OtherCoding | Body::Contradictory => None,
        }
    }
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `1.0` or `1.1`.
    pub version: &'static str,
    /// 100 to 999.
    pub status: u16,
    /// What the fields say, as far as they are known.
    pub fields: Fields,
    /// Bytes of the head, its empty line included; none where that is not there.
    pub length: Option<usize>,
}

impl Response {
    /// 1xx other than 101, which ends the use of HTTP on the connection.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Bytes of head and body together, where the head says so (RFC 9112 section 6.3).
    pub fn total(&self, method: &str) -> Option<u64> {
        let head = u64::try_from(self.length?).ok()?;
        if method == "HEAD" || matches!(self.status, 100..200 | 204 | 304) {
            return Some(head);
        }
        match self.fields.body {
            Body::Length(body) => head.checked_add(body),
            Body::Unsaid | Body::Chunked | Body::OtherCoding | Body::Contradictory => None,
        }
    }
}

/// Reads a request's head. One that was cut is given out as soon as its method and the start of its target are there, where
/// the method is a known one.
pub fn request(bytes: &[u8]) -> Result<Request<'_>, Refused> {
    // RFC 9112 section 2.2: empty lines before the request line are to be ignored.
    let mut start = 0;
    while start < 4
        && bytes
            .get(start)
            .is_some_and(|byte| matches!(byte, b'\r' | b'\n'))
    {
        start += 1;
    }
    let head = &bytes[start..];
    let (line, fields_at) = match memchr(b'\n', head) {
        Some(end) => (trim_cr(&head[..end]), Some(end + 1)),
        None => (head, None),
    };
    let method_end = match memchr(b' ', &line[..line.len().min(MAX_METHOD + 1)]) {
        Some(end) => end,
        None if fields_at.is_none()
            && line.len() <= MAX_METHOD
            && line.iter().all(|&b| is_token(b)) =>
        {
            return Err(Refused::Short);
        }
        None => return Err(Refused::NotHttp),
    };
    let method = &line[..method_end];
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(Refused::NotHttp);
    }
    let method = std::str::from_utf8(method).map_err(|_| Refused::NotHttp)?;
    let rest = &line[method_end + 1..];
    let Some(fields_at) = fields_at else {
        return cut_request_line(method, rest);
    };
    let (target, version) = match rest.iter().rposition(|&byte| byte == b' ') {
        Some(space) => (
            &rest[..space],
            version(&rest[space + 1..]).ok_or(Refused::NotHttp)?,
        ),
        // HTTP/0.9 knew only GET, and no version.
        None if method == "GET" && rest.starts_with(b"/") => (rest, "0.9"),
        None => return Err(Refused::NotHttp),
    };
    if !is_target(target) {
        return Err(Refused::NotHttp);
    }
    let (fields, length) = if version == "0.9" {
        (Fields::default(), Some(fields_at))
    } else {
        fields::read(&head[fields_at..]).map_or_else(
            |fields| (fields, None),
            |(fields, length)| (fields, Some(fields_at + length)),
        )
    };
    Ok(Request {
        method,
        target,
        version: Some(version),
        fields,
        length: length.map(|length| start + length),
        front: 0,
    })
}

/// Reads the head of a connection's first request, before which a proxy may have put whose connection it hands on.
pub fn first_request(bytes: &[u8]) -> Result<Request<'_>, Refused> {
    let front = proxy::header(bytes)?;
    let mut head = request(&bytes[front..])?;
    head.length = head.length.map(|length| front + length);
    head.front = front;
    Ok(head)
}

fn cut_request_line<'a>(method: &'a str, rest: &'a [u8]) -> Result<Request<'a>, Refused> {
    if !KNOWN_METHODS.contains(&method) {
        // Without a version nothing says that this is HTTP; with one the line would be whole or nearly so.
        return if rest
            .iter()
            .all(|&byte| byte == b' ' || byte == b'\r' || is_visible(byte))
        {
            Err(Refused::Short)
        } else {
            Err(Refused::NotHttp)
        };
    }
    let target = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
    if target.is_empty() {
        return Err(Refused::Short);
    }
    if !is_target(trim_cr(target)) {
        return Err(Refused::NotHttp);
    }
    Ok(Request {
        method,
        target: trim_cr(target),
        version: None,
        fields: Fields::default(),
        length: None,
        front: 0,
    })
}

/// Reads a response's head. One that was cut is given out as soon as its status code is there.
pub fn response(bytes: &[u8]) -> Result<Response, Refused> {
    const SHAPE: &[u8; 12] = b"HTTP/1.d ddd";
    for (&byte, &shape) in bytes.iter().zip(SHAPE) {
        let fits = if shape == b'd' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        };
        if !fits {
            return Err(Refused::NotHttp);
        }
    }
    let Some(line) = bytes.first_chunk::<12>() else {
        return Err(Refused::Short);
    };
    let status = line[9..]
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if status < 100
        || bytes
            .get(12)
            .is_some_and(|byte| !matches!(byte, b' ' | b'\r' | b'\n'))
    {
        return Err(Refused::NotHttp);
    }
    let fields_at = memchr(b'\n', &bytes[12..]).map(|end| 12 + end + 1);
    let (fields, length) = match fields_at {
        Some(at) => fields::read(&bytes[at..]).map_or_else(
            |fields| (fields, None),
            |(fields, length)| (fields, Some(at + length)),
        ),
        None => (Fields::default(), None),
    };
    Ok(Response {
        version: if line[7] == b'0' { "1.0" } else { "1.1" },
        status,
        fields,
        length,
    })
}

/// The path of a target, without query and fragment, as it was sent; bytes that are no visible ASCII are percent-encoded.
/// The four forms of RFC 9112 section 3.2: an origin-form's path, an absolute-form's path (its authority is left out: it can
/// hold a password), nothing for CONNECT, and `*`.
pub fn path(method: &str, target: &[u8]) -> String {
    let path = match target.first() {
        Some(b'/' | b'*') => target,
        _ if method == "CONNECT" => return String::new(),
        _ => match memchr::memmem::find(target, b"://") {
            Some(scheme) => {
                let rest = &target[scheme + 3..];
                let authority = rest
                    .iter()
                    .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
                match authority.map(|end| &rest[end..]) {
                    Some(path) if path.starts_with(b"/") => path,
                    _ => b"/",
                }
            }
            None => target,
        },
    };
    let end = path
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len());
    let path = &path[..end];
    match std::str::from_utf8(path) {
        Ok(text) if path.iter().all(|&byte| byte.is_ascii_graphic()) => text.to_owned(),
        _ => {
            use std::fmt::Write as _;
            path.iter()
                .fold(String::with_capacity(path.len() * 2), |mut text, &byte| {
                    if byte.is_ascii_graphic() {
                        text.push(char::from(byte));
                    } else {
                        // Writing to a String cannot fail.
                        let _ = write!(text, "%{byte:02X}");
                    }
                    text
                })
        }
    }
}

/// Whether these bytes are a request's first, as far as can be told: however few, they are those of a known method.
pub fn may_be_request(bytes: &[u8]) -> bool {
    let method = bytes.strip_suffix(b" ").unwrap_or(bytes);
    request(bytes).is_ok()
        || KNOWN_METHODS
            .iter()
            .any(|known| known.as_bytes().starts_with(method))
}

/// How many requests start in `bytes`, read one after another. The last may be cut; what is no request ends the count.
pub fn count_requests(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let Ok(head) = request(bytes) {
        count += 1;
        let body = |at: usize| chunked_length(bytes.get(at..)?).map(|length| at + length);
        let end = match (head.fields.body, head.length) {
            (Body::Chunked, Some(length)) => body(length),
            _ => head.total().and_then(|total| usize::try_from(total).ok()),
        };
        match end.and_then(|end| bytes.get(end..)) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    count
}

/// The length of a chunked body (RFC 9112 section 7.1), its trailers included, where `bytes` hold it whole.
pub fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_end = at + memchr(b'\n', bytes.get(at..)?)?;
        let line = trim_cr(&bytes[at..line_end]);
        let digits = line
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit())
            .unwrap_or(line.len());
        if digits == 0 || digits > 15 {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        at = line_end + 1;
        if size == 0 {
            let (_, trailers) = fields::read(bytes.get(at..)?).ok()?;
            return Some(at + trailers);
        }
        at = at.checked_add(size)?;
        at += match bytes.get(at..)? {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return None,
        };
    }
}

/// `HTTP/1.0` or `HTTP/1.1`; a later minor version is read as 1.1 (RFC 9110 section 2.5).
fn version(text: &[u8]) -> Option<&'static str> {
    match text {
        b"HTTP/1.0" => Some("1.0"),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => Some("1.1"),
        _ => None,
    }
}

/// What a target is made of. Servers take more than the RFC's `VCHAR`: UTF-8 as it is, and some take spaces.
fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|&byte| byte == b' ' || is_visible(byte))
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte >= 0x80
}

/// A method, where `bytes` are one.
pub(super) fn method(bytes: &[u8]) -> Option<&str> {
    let fits = (1..=MAX_METHOD).contains(&bytes.len()) && bytes.iter().all(|&byte| is_token(byte));
    fits.then(|| std::str::from_utf8(bytes).ok())?
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;

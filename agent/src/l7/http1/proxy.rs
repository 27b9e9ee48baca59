//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2): what a proxy sends before the first byte of a connection that
//! it hands on.

use memchr::memchr;

use super::Refused;

/// The longest header of version 1, its end of line included.
const MAX_TEXT: usize = 107;

/// What version 2 starts with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// How long the header is that `bytes` start with: 0 for none.
pub(super) fn header(bytes: &[u8]) -> Result<usize, Refused> {
    const TEXT: &[u8] = b"PROXY ";
    if starts_like(bytes, TEXT) {
        let line = &bytes[..bytes.len().min(MAX_TEXT)];
        return match memchr(b'\n', line) {
            Some(end) if end > 0 && line[end - 1] == b'\r' => Ok(end + 1),
            None if line.len() < MAX_TEXT => Err(Refused::Short),
            _ => Err(Refused::NotHttp),
        };
    }
    // Empty lines before a request start like this one, too.
    if bytes.len() > 4 && starts_like(bytes, SIGNATURE) {
        let Some(fixed) = bytes.first_chunk::<16>() else {
            return Err(Refused::Short);
        };
        if fixed[12] >> 4 != 2 {
            return Err(Refused::NotHttp);
        }
        let length = 16 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        return if bytes.len() < length {
            Err(Refused::Short)
        } else {
            Ok(length)
        };
    }
    Ok(0)
}

/// Whether `bytes` start with `text`, or are a part of its start of more than three bytes: fewer may be a method's.
fn starts_like(bytes: &[u8], text: &[u8]) -> bool {
    bytes.starts_with(text) || (bytes.len() > 3 && text.starts_with(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_measured_and_what_is_neither_is_left_alone() {
        let text = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(header(text), Ok(45));
        assert_eq!(header(b"PROXY UNKNOWN\r\n"), Ok(15));
        let mut binary = SIGNATURE.to_vec();
        binary.extend_from_slice(&[0x21, 0x11, 0, 12]);
        binary.extend_from_slice(&[0; 12]);
        assert_eq!(header(&binary), Ok(28));
        for whole in [&text[..45], &binary[..28]] {
            for cut in 5..whole.len() {
                assert_eq!(header(&whole[..cut]), Err(Refused::Short), "{cut}");
            }
        }
        binary[12] = 0x11;
        assert_eq!(header(&binary), Err(Refused::NotHttp));
        assert_eq!(
            header(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()),
            Err(Refused::NotHttp)
        );
        for other in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"\r\n\r\nGET / HTTP/1.1\r\n",
            b"PROPFIND / HTTP/1.1",
            b"",
        ] {
            assert_eq!(header(other), Ok(0));
        }
    }
}

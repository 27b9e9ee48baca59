//! The static table of RFC 7541, appendix A.

use super::name::Name;

/// How many entries it has.
pub(super) const COUNT: u32 = 61;

const ENTRIES: [(&str, &str); COUNT as usize] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Name, length of the name, and value of the entry with this index, which starts at one.
pub(super) fn entry(index: u32) -> Option<(Name, u32, &'static [u8])> {
    let at = usize::try_from(index.checked_sub(1)?).ok()?;
    let &(text, value) = ENTRIES.get(at)?;
    let name = match index {
        2 | 3 => Name::Method,
        4 | 5 => Name::Path,
        8..=14 => Name::Status,
        31 => Name::ContentType,
        _ => Name::Other,
    };
    Some((name, u32::try_from(text.len()).ok()?, value.as_bytes()))
}

#[cfg(test)]
#[test]
fn names_are_those_of_the_text() {
    for (index, (text, _)) in (1..).zip(ENTRIES) {
        let (name, length, _) = entry(index).expect("an entry");
        assert_eq!(name, Name::of(text.as_bytes()), "{text}");
        assert_eq!(length as usize, text.len());
    }
    assert_eq!(entry(0), None);
    assert_eq!(entry(COUNT + 1), None);
}

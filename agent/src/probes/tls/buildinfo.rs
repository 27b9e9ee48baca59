//! Which Go a program was built with: the section `.go.buildinfo` (`debug/buildinfo` in Go's sources).

use super::image::Image;

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
/// The longest version: its length is one byte of a varint. (Google's own builds, of `go1.25-20250209-RC00 cl/724970549 +ff27d270c9 X:fieldtrack,boringcrypto`, have 71.)
const MAX_VERSION: usize = 127;

/// The version without what it was built with (`go1.24.4` of `go1.24.4 X:boringcrypto`), from Go 1.18 on; none where the section is not there or holds something else.
pub(super) fn version(image: &Image<'_>) -> Option<String> {
    let section = image.section(".go.buildinfo")?;
    let size = (section.file.end - section.file.start).min(4096);
    let bytes = image
        .read("the section .go.buildinfo", section.file.start, size)
        .ok()?;
    parse(&bytes)
}

/// 14 bytes of magic, the size of a pointer, flags; where the flags have 2, the version is at 32: its length (a varint) and its bytes.
fn parse(bytes: &[u8]) -> Option<String> {
    let flags = *bytes.get(15)?;
    if bytes.get(..14)? != MAGIC || flags & 2 == 0 {
        return None;
    }
    let length = usize::from(*bytes.get(32)?);
    let version = bytes.get(33..33 + length)?;
    let version = version.split(|&byte| byte == b' ').next()?;
    let fits = length <= MAX_VERSION
        && version.starts_with(b"go")
        && version.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(version).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plausible_version_is_taken() {
        let build = |flags: u8, version: &[u8]| {
            let mut bytes = [MAGIC.as_slice(), &[8, flags], &[0; 16]].concat();
            bytes.push(version.len() as u8);
            bytes.extend(version);
            bytes
        };
        assert_eq!(parse(&build(2, b"go1.24.4")).as_deref(), Some("go1.24.4"));
        assert_eq!(
            parse(&build(2, b"go1.24.4 X:boringcrypto")).as_deref(),
            Some("go1.24.4")
        );
        assert_eq!(parse(&build(0, b"go1.24.4")), None);
        assert_eq!(parse(&build(2, b"go1.24\n.4")), None);
        assert_eq!(parse(&build(2, b"")), None);
        assert_eq!(parse(&build(2, b"go1.24.4")[..36]), None);
    }
}

//! What a file says of the files that its debug information is in.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use object::{Endian as _, Endianness};

use crate::{
    Error,
    elf::{Elf, Input, Section},
};

/// `.gnu_debuglink`: a name without a folder, and the file's checksum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DebugLink {
    pub(crate) name: PathBuf,
    pub(crate) crc32: u32,
}

/// `.gnu_debugaltlink`: a path, and the build id of the file there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AltLink {
    pub(crate) path: PathBuf,
    pub(crate) build_id: Vec<u8>,
}

/// More than the longest path and build id.
const MAX_LINK: u64 = 1 << 13;

/// What `.gnu_debuglink` says, if there is one.
///
/// # Errors
/// When it is cut short, or names a file in another folder.
pub(crate) fn debug_link(input: &Input, elf: &Elf) -> Result<Option<DebugLink>, Error> {
    const WHAT: &str = "the section .gnu_debuglink";
    let Some(section) = elf.section(b".gnu_debuglink") else {
        return Ok(None);
    };
    let bytes = read(input, WHAT, section)?;
    let link = parse_debug_link(&bytes, elf.endian);
    link.map(Some)
        .ok_or_else(|| Error::malformed(input.name(), WHAT, "it is no file's name and checksum"))
}

fn read(input: &Input, what: &'static str, section: &Section) -> Result<Vec<u8>, Error> {
    let length = section.size.min(MAX_LINK);
    input.source()?.read(what, section.offset, length)
}

fn parse_debug_link(bytes: &[u8], endian: Endianness) -> Option<DebugLink> {
    let end = memchr::memchr(0, bytes)?;
    let name = Path::new(OsStr::from_bytes(&bytes[..end]));
    // A name with a folder could lead anywhere.
    if name.file_name() != Some(name.as_os_str()) {
        return None;
    }
    let at = (end + 1).next_multiple_of(4);
    let crc32 = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(DebugLink {
        name: name.to_owned(),
        crc32: endian.read_u32(crc32),
    })
}

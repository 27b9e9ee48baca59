//! The checksum in `.gnu_debuglink`: CRC 32 as zlib has it, over the whole file.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// A debug file of this size takes some seconds to read; what is larger is known by its build id.
const MAX_SIZE: u64 = 8 << 30;

pub(super) fn crc32(file: &File) -> io::Result<u32> {
    if file.metadata()?.len() > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut at = 0;
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
}

//! Names that stay in the file: read when they are asked for, and never copied before.

use super::{input::Input, windows::Windows};
use crate::Error;

/// A string table.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    input: Input,
    what: &'static str,
    offset: u64,
    size: u64,
}

/// How much is read at first: of 100 names 98 are shorter, in C++ as in Rust.
const FIRST_READ: usize = 256;
/// The longest name: no compiler that we know of makes one of a mebibyte.
const MAX_NAME: usize = 1 << 20;

impl Strings {
    /// A string table of an input at `offset`, with `size` bytes.
    pub(crate) fn new(input: Input, what: &'static str, offset: u64, size: u64) -> Self {
        Self {
            input,
            what,
            offset,
            size,
        }
    }

    /// Hands on the name at an offset into the table: what stands before the next zero byte.
    ///
    /// # Errors
    /// When the file can't be read, or when the name has no end.
    pub(crate) fn with<T>(&self, at: u32, take: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let mut first = [0; FIRST_READ];
        let name = self.read(&mut first, at)?;
        if let Some(end) = memchr::memchr(0, name) {
            return Ok(take(&name[..end]));
        }
        let mut more = Vec::new();
        let mut length = FIRST_READ;
        while length < MAX_NAME {
            length *= 8;
            more.resize(length, 0);
            let name = self.read(&mut more, at)?;
            match memchr::memchr(0, name) {
                Some(end) => return Ok(take(&name[..end])),
                None if name.len() < length => break,
                None => {}
            }
        }
        Err(Error::malformed(
            self.input.name(),
            self.what,
            format!("the name at {at:#x} has no end"),
        ))
    }

    /// As [`Self::with`], for one of many names.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub(crate) fn with_windows<T>(
        &self,
        windows: &mut Windows,
        at: u32,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Error> {
        let name = windows.string(u64::from(at), self.size, |from, into| {
            let from = self.offset.saturating_add(from);
            self.input.read_exact_at(self.what, into, from)
        })?;
        match name {
            Some(name) => Ok(take(name)),
            None => self.with(at, take),
        }
    }

    fn read<'b>(&self, buffer: &'b mut [u8], at: u32) -> Result<&'b [u8], Error> {
        let left = self.size.saturating_sub(u64::from(at));
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let from = self.offset.saturating_add(u64::from(at));
        let read = self.input.read_at(self.what, &mut buffer[..length], from)?;
        Ok(&buffer[..read])
    }
}

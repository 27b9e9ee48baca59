//! Where a file's bytes come from: read in parts, each within the file and within the limit.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::Error;

/// A file or an image in memory.
pub(crate) struct Source<'a> {
    bytes: Bytes<'a>,
    length: u64,
    name: &'a str,
    limit: usize,
}

enum Bytes<'a> {
    File(&'a File),
    Memory(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn file(file: &'a File, name: &'a str, limit: usize) -> Result<Self, Error> {
        let length = file
            .metadata()
            .map_err(Error::read(name, "its size"))?
            .len();
        Ok(Self {
            bytes: Bytes::File(file),
            length,
            name,
            limit,
        })
    }

    pub(crate) fn bytes(bytes: &'a [u8], name: &'a str, limit: usize) -> Self {
        Self {
            bytes: Bytes::Memory(bytes),
            length: bytes.len() as u64,
            name,
            limit,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// That a part lies within the file.
    pub(crate) fn check(&self, what: &'static str, offset: u64, length: u64) -> Result<(), Error> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Error::malformed(
                self.name,
                what,
                format!(
                    "{length} bytes at {offset:#x} lie beyond the file's end at {:#x}",
                    self.length
                ),
            )),
        }
    }

    /// The bytes of a part, into a buffer that is used again: how much of it was wanted is in it then.
    pub(crate) fn read_into(
        &self,
        buffer: &mut Vec<u8>,
        what: &'static str,
        offset: u64,
        length: usize,
    ) -> Result<(), Error> {
        self.check(what, offset, length as u64)?;
        buffer.resize(length, 0);
        match self.bytes {
            Bytes::File(file) => file
                .read_exact_at(buffer, offset)
                .map_err(Error::read(self.name, what)),
            // `check` has shown that the range lies within.
            Bytes::Memory(memory) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = memory.get(start..start.saturating_add(length));
                buffer.clear();
                buffer.extend_from_slice(part.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// The bytes of a part.
    pub(crate) fn read(
        &self,
        what: &'static str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Error> {
        self.check(what, offset, length)?;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > self.limit {
            return Err(Error::TooLarge {
                file: self.name.to_owned(),
                what,
                size: length,
                limit: self.limit,
            });
        }
        match self.bytes {
            Bytes::File(file) => {
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, offset)
                    .map_err(Error::read(self.name, what))?;
                Ok(bytes)
            }
            // `check` has shown that the range lies within.
            Bytes::Memory(memory) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(memory
                    .get(start..start.saturating_add(size))
                    .unwrap_or_default()
                    .to_vec())
            }
        }
    }
}

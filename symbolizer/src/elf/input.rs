//! A file that is kept open, or an image in memory, shared by all that read it.

use std::{os::unix::fs::FileExt as _, sync::Arc};

use super::{
    sections::{Image, Sections},
    source::Source,
};
use crate::Error;

/// Where bytes come from, what errors call it, and the most that one part may have.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    image: Image,
    name: Arc<str>,
    limit: usize,
}

impl Input {
    pub(crate) fn new(image: Image, name: Arc<str>, limit: usize) -> Self {
        Self { image, name, limit }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Bytes of memory: those of an image.
    pub(crate) fn bytes_held(&self) -> usize {
        match &self.image {
            Image::File(_) => 0,
            Image::Memory(bytes) => bytes.len(),
        }
    }

    /// Its sections, for reading their unpacked contents.
    pub(crate) fn sections(&self) -> Result<Sections, Error> {
        Sections::open(self.image.clone(), &self.name, self.limit)
    }

    /// For reading whole parts.
    pub(crate) fn source(&self) -> Result<Source<'_>, Error> {
        match &self.image {
            Image::File(file) => Source::file(file, &self.name, self.limit),
            Image::Memory(bytes) => Ok(Source::bytes(bytes, &self.name, self.limit)),
        }
    }

    /// As much as there is from an offset on, and no more than the buffer takes; one system call.
    pub(crate) fn read_at(
        &self,
        what: &'static str,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, Error> {
        match &self.image {
            Image::File(file) => file
                .read_at(buffer, offset)
                .map_err(Error::read(&self.name, what)),
            Image::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let from = bytes.get(start..).unwrap_or_default();
                let length = from.len().min(buffer.len());
                buffer[..length].copy_from_slice(&from[..length]);
                Ok(length)
            }
        }
    }

    /// Fills the buffer with what is from an offset on.
    pub(crate) fn read_exact_at(
        &self,
        what: &'static str,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        match &self.image {
            Image::File(file) => file
                .read_exact_at(buffer, offset)
                .map_err(Error::read(&self.name, what)),
            Image::Memory(_) => match self.read_at(what, buffer, offset)? {
                read if read == buffer.len() => Ok(()),
                read => Err(Error::malformed(
                    &self.name,
                    what,
                    format!(
                        "{read} bytes at {offset:#x} where {} are needed",
                        buffer.len()
                    ),
                )),
            },
        }
    }
}

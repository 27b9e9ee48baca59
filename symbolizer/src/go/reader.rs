//! The table's bytes, read as they are wanted.

use object::{Endian as _, Endianness};

use crate::{
    Error,
    elf::{Input, Section, strings::Strings},
};

pub(super) const WHAT: &str = "the section .gopclntab";

/// A section whose parts point into each other.
#[derive(Debug)]
pub(super) struct Reader {
    input: Input,
    strings: Strings,
    offset: u64,
    size: u64,
}

/// How much of a table of one function is read at first; nearly all are smaller.
const FIRST_READ: usize = 512;
/// A table of a function of Go's largest generated tables has some hundred kilobytes.
const MAX_TABLE: usize = 1 << 24;

impl Reader {
    pub(super) fn new(input: Input, section: &Section) -> Self {
        Self {
            strings: Strings::new(input.clone(), WHAT, section.offset, section.size),
            offset: section.offset,
            size: section.size,
            input,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes at an offset into the section.
    pub(super) fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), Error> {
        let end = at.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.malformed(format!(
                "{} bytes at {at:#x} lie beyond its end at {:#x}",
                into.len(),
                self.size
            )));
        }
        self.fill_from_file(self.offset.saturating_add(at), into)
    }

    /// Bytes at an offset into the file.
    pub(super) fn fill_from_file(&self, at: u64, into: &mut [u8]) -> Result<(), Error> {
        let wanted = into.len();
        if self.input.read_at(WHAT, into, at)? < wanted {
            return Err(self.malformed(format!("the file ends before {at:#x}")));
        }
        Ok(())
    }

    pub(super) fn u32(&self, at: u64, endian: Endianness) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.fill(at, &mut bytes)?;
        Ok(endian.read_u32(bytes))
    }

    /// The text at an offset, up to the next zero byte.
    pub(super) fn text(&self, at: u64) -> Result<String, Error> {
        let at = u32::try_from(at).map_err(|_| self.malformed(format!("no text at {at:#x}")))?;
        self.strings
            .with(at, |text| String::from_utf8_lossy(text).into_owned())
    }

    /// Hands on what is at an offset, more of it as long as `take` finds it cut short (`Err`).
    pub(super) fn with_table<T>(
        &self,
        at: u64,
        take: impl Fn(&[u8]) -> Result<T, ()>,
    ) -> Result<T, Error> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut small = [0; FIRST_READ];
        let first = &mut small[..left.min(FIRST_READ)];
        self.fill(at, first)?;
        if let Ok(taken) = take(first) {
            return Ok(taken);
        }
        let mut length = FIRST_READ;
        while length < left.min(MAX_TABLE) {
            length = (length * 16).min(left);
            let mut bytes = vec![0; length];
            self.fill(at, &mut bytes)?;
            if let Ok(taken) = take(&bytes) {
                return Ok(taken);
            }
        }
        Err(self.malformed(format!("the table at {at:#x} has no end")))
    }

    pub(super) fn malformed(&self, why: impl Into<String>) -> Error {
        Error::malformed(self.input.name(), WHAT, why)
    }
}

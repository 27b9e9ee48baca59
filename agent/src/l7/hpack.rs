//! HPACK (RFC 7541) as an observer reads it.
//!
//! This is no crate's decoder, because an observer needs two things that none has to offer. It may come when the connection has
//! long been open: then it must tell a reference to an entry that it never saw ([`Name::Unknown`], or a value that is `None`)
//! from a wrong one, and know again what was inserted since. And it holds the tables of many connections that are not its own:
//! so an entry keeps its value only where fathom reads that header, and else only its sizes; values that nobody reads are
//! stepped over, not decoded. (A string in a broken Huffman code goes unnoticed there, unless it goes into the table.)
//!
//! The size that a decoder allows (`SETTINGS_HEADER_TABLE_SIZE`) needs no watching: an encoder that changes its table says so in
//! the header block itself (section 4.2), and that alone has effect. Of a table no more than [`MAX_HELD`] is held.

mod fixed;
mod huffman;
mod name;
mod table;

use thiserror::Error;

use self::table::{Entry, Table};
pub use self::{name::Name, table::MAX_HELD};

/// What is read of a value, in the bytes of the wire; the rest is stepped over.
pub const MAX_VALUE: usize = 8 << 10;
/// The longest name that is taken, in the bytes of the wire.
pub const MAX_NAME: usize = 8 << 10;
/// A scratch buffer of this size is kept from one block to the next.
const KEPT_SCRATCH: usize = 256;

/// Why bytes are no header block. An endpoint answers each with the end of the connection, and an observer can't go on either.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A number above what any of these formats needs.
    #[error("a number in the header block exceeds 2^28")]
    Number,
    /// An index that is zero, or behind the end of the table.
    #[error("the header block refers to entry {0}, which is in no table")]
    Index(u32),
    /// A name in a code that is not RFC 7541's, or a value that goes into the table.
    #[error("a string in the header block breaks the Huffman code")]
    Huffman,
    /// A change of the table's size behind a field.
    #[error("the header block changes the table's size behind its first field")]
    LateSize,
    /// A name of more than [`MAX_NAME`] bytes.
    #[error("a name of {0} bytes is longer than any that is taken")]
    LongName(usize),
    /// It ends within a field.
    #[error("the header block ends within a field")]
    Truncated,
}

/// The decoder of one direction of a connection.
pub struct Decoder {
    table: Table,
    /// Bytes of a long value that are still to be stepped over.
    skip: usize,
    /// The block has fields already.
    begun: bool,
    scratch: Vec<u8>,
}

impl Decoder {
    /// For a connection that is seen from its first byte.
    pub fn new() -> Self {
        Self::with(Table::empty())
    }

    /// For one that was open before, or of which a part was lost.
    pub fn joined() -> Self {
        Self::with(Table::unknown())
    }

    fn with(table: Table) -> Self {
        Self {
            table,
            skip: 0,
            begun: false,
            scratch: Vec::new(),
        }
    }

    /// A header block starts.
    pub fn begin(&mut self) {
        self.skip = 0;
        self.begun = false;
    }

    /// Reads the next bytes of a block, and gives out each field in turn: its name, and its value where that is read and known (of
    /// [`Name::Path`] without the query). Returns how many bytes were used: the rest starts a field that goes on behind it,
    /// and has to come again with more.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        visit: &mut impl FnMut(Name, Option<&[u8]>),
    ) -> Result<usize, Error> {
        let mut at = self.step_over(bytes.len());
        while at < bytes.len() {
            match self.field(&bytes[at..], visit)? {
                Some(used) => at += used,
                None => break,
            }
            at += self.step_over(bytes.len() - at);
        }
        Ok(at)
    }

    /// The block is over, and this many bytes of it were not used.
    pub fn end(&mut self, unused: usize) -> Result<(), Error> {
        if self.scratch.capacity() > KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
        if unused > 0 || self.skip > 0 {
            return Err(Error::Truncated);
        }
        Ok(())
    }

    fn step_over(&mut self, available: usize) -> usize {
        let stepped = self.skip.min(available);
        self.skip -= stepped;
        stepped
    }

    /// One representation (section 6): how many bytes of it were used, or none where more are needed.
    fn field(
        &mut self,
        bytes: &[u8],
        visit: &mut impl FnMut(Name, Option<&[u8]>),
    ) -> Result<Option<usize>, Error> {
        let (prefix, indexing) = match bytes.first() {
            Some(0x80..) => return self.indexed(bytes, visit),
            Some(0x40..=0x7f) => (6, true),
            Some(0x20..=0x3f) => return self.size_update(bytes),
            Some(_) => (4, false),
            None => return Ok(None),
        };
        self.literal(bytes, prefix, indexing, visit)
    }

    fn indexed(
        &mut self,
        bytes: &[u8],
        visit: &mut impl FnMut(Name, Option<&[u8]>),
    ) -> Result<Option<usize>, Error> {
        let Some((index, used)) = integer(bytes, 7)? else {
            return Ok(None);
        };
        self.begun = true;
        if let Some((name, _, value)) = fixed::entry(index) {
            visit(name, name.is_read().then_some(value));
        } else {
            match self.dynamic(index)? {
                Some(entry) => visit(entry.name, entry.value.as_deref()),
                None => visit(Name::Unknown, None),
            }
        }
        Ok(Some(used))
    }

    fn size_update(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let Some((capacity, used)) = integer(bytes, 5)? else {
            return Ok(None);
        };
        if self.begun {
            return Err(Error::LateSize);
        }
        self.table.resize(capacity);
        Ok(Some(used))
    }

    fn literal(
        &mut self,
        bytes: &[u8],
        prefix: u32,
        indexing: bool,
        visit: &mut impl FnMut(Name, Option<&[u8]>),
    ) -> Result<Option<usize>, Error> {
        let Some((index, mut at)) = integer(bytes, prefix)? else {
            return Ok(None);
        };
        let name_at = at;
        if index == 0 {
            let Some(text) = Text::at(&bytes[at..])? else {
                return Ok(None);
            };
            if text.length > MAX_NAME {
                return Err(Error::LongName(text.length));
            }
            at += text.start + text.length;
        }
        let Some(text) = bytes.get(at..).map(Text::at).transpose()?.flatten() else {
            return Ok(None);
        };
        at += text.start;
        let present = text.length.min(MAX_VALUE);
        let Some(wire) = bytes.get(at..at + present) else {
            return Ok(None);
        };
        at += present;

        // All of it is here, or as much as is read.
        self.begun = true;
        self.skip = text.length - present;
        let (name, name_length) = match index {
            0 => literal_name(&bytes[name_at..], indexing)?,
            _ => match fixed::entry(index) {
                Some((name, length, _)) => (name, length),
                None => self
                    .dynamic(index)?
                    .map_or((Name::Unknown, 1), |entry| (entry.name, entry.name_length)),
            },
        };
        let mut value = None;
        let mut length = text.length;
        if text.huffman && name.is_read() {
            self.scratch.clear();
            let scratch = &mut self.scratch;
            huffman::decode(wire, self.skip == 0, |byte| scratch.push(byte))
                .map_err(|_| Error::Huffman)?;
            // The shortest that the unread part can be: thirty bits a symbol, and less than one of padding.
            length = self.scratch.len() + self.skip.saturating_sub(3) / 4;
            value = Some(self.scratch.as_slice());
        } else if text.huffman && indexing {
            let mut decoded = 0;
            huffman::decode(wire, self.skip == 0, |_| decoded += 1).map_err(|_| Error::Huffman)?;
            length = decoded + self.skip.saturating_sub(3) / 4;
        } else if name.is_read() {
            value = Some(wire);
        }
        let value = value.map(|value| name.kept(value));
        visit(name, value);
        if indexing {
            self.table.insert(Entry {
                name,
                name_length,
                value_length: u32::try_from(length).unwrap_or(u32::MAX),
                value: value.map(Box::from),
            });
        }
        Ok(Some(at))
    }

    fn dynamic(&self, index: u32) -> Result<Option<&Entry>, Error> {
        index
            .checked_sub(fixed::COUNT + 1)
            .ok_or(Error::Index(index))
            .and_then(|at| self.table.get(at).map_err(|_| Error::Index(index)))
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The head of a string literal (section 5.2).
struct Text {
    huffman: bool,
    /// Where its bytes start.
    start: usize,
    /// How many they are.
    length: usize,
}

impl Text {
    fn at(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some((length, start)) = integer(bytes, 7)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            huffman: bytes[0] & 0x80 != 0,
            start,
            length: usize::try_from(length).map_err(|_| Error::Number)?,
        }))
    }
}

/// A name that is spelled out, and its length; without `indexing` the length means nothing.
fn literal_name(bytes: &[u8], indexing: bool) -> Result<(Name, u32), Error> {
    let Some(text) = Text::at(bytes)? else {
        return Err(Error::Truncated);
    };
    let Some(wire) = bytes.get(text.start..text.start + text.length) else {
        return Err(Error::Truncated);
    };
    if !text.huffman {
        let length = u32::try_from(wire.len()).map_err(|_| Error::LongName(wire.len()))?;
        return Ok((Name::of(wire), length));
    }
    // The code makes no name that is read longer than it is.
    if !indexing && wire.len() > Name::LONGEST {
        return Ok((Name::Other, 0));
    }
    let mut name = [0; Name::LONGEST];
    let mut length = 0;
    huffman::decode(wire, true, |byte| {
        if let Some(place) = name.get_mut(length) {
            *place = byte;
        }
        length += 1;
    })
    .map_err(|_| Error::Huffman)?;
    let name = name.get(..length).map_or(Name::Other, Name::of);
    Ok((name, u32::try_from(length).unwrap_or(u32::MAX)))
}

/// An integer behind the top bits of the first byte (section 5.1), and the bytes that it took; none where they are not all there.
fn integer(bytes: &[u8], prefix: u32) -> Result<Option<(u32, usize)>, Error> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let most = (1 << prefix) - 1;
    let low = u32::from(first) & most;
    if low < most {
        return Ok(Some((low, 1)));
    }
    let mut value = 0_u32;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        if at > 4 {
            return Err(Error::Number);
        }
        value |= u32::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((value + most, at + 1)));
        }
    }
    // Four more bytes that all go on are too many already.
    if bytes.len() > 4 {
        return Err(Error::Number);
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

//! Reads numbers one after the other. What is cut short is `None`; the caller knows which section it was.

use object::{Endian as _, Endianness};

/// A place in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    endian: Endianness,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], endian: Endianness) -> Self {
        Self {
            bytes,
            at: 0,
            endian,
        }
    }

    /// The same bytes, from another place on; behind their end nothing can be read.
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes there are in all.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// These bytes up to `end` only.
    pub(super) fn until(self, end: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(..end)?,
            ..self
        })
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(array)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Option<u16> {
        let array = self.array()?;
        Some(self.endian.read_u16(array))
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        let [a, b, c] = self.array()?;
        Some(match self.endian {
            Endianness::Little => u32::from_le_bytes([a, b, c, 0]),
            Endianness::Big => u32::from_be_bytes([0, a, b, c]),
        })
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Option<u32> {
        let array = self.array()?;
        Some(self.endian.read_u32(array))
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Option<u64> {
        let array = self.array()?;
        Some(self.endian.read_u64(array))
    }

    /// A number of 1, 2, 4 or 8 bytes.
    #[inline]
    pub(super) fn number(&mut self, size: u8) -> Option<u64> {
        match size {
            1 => self.u8().map(u64::from),
            2 => self.u16().map(u64::from),
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            _ => None,
        }
    }

    /// Unsigned LEB128 (DWARF 5, section 7.6). Bits beyond the 64th are lost.
    #[inline]
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let first = self.u8()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7_u32;
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value);
            }
            shift = shift.saturating_add(7);
        }
    }

    /// Signed LEB128.
    #[inline]
    pub(super) fn sleb(&mut self) -> Option<i64> {
        let mut value = 0;
        let mut shift = 0_u32;
        loop {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte < 0x80 {
                let is_negative = byte & 0x40 != 0 && shift < 64;
                return Some(if is_negative {
                    value | (-1 << shift)
                } else {
                    value
                });
            }
        }
    }

    /// The next bytes, if there are as many and the first of a number is its lowest.
    #[inline]
    pub(super) fn window(&self, length: usize) -> Option<&'a [u8]> {
        match self.endian {
            Endianness::Little => self.bytes.get(self.at..)?.get(..length),
            Endianness::Big => None,
        }
    }

    #[inline]
    pub(super) fn skip_leb(&mut self) -> Option<()> {
        while self.u8()? >= 0x80 {}
        Some(())
    }

    /// Goes behind a length and so many bytes.
    #[inline]
    pub(super) fn skip_block(&mut self) -> Option<()> {
        let size = self.uleb()?;
        self.skip(size)
    }

    #[inline]
    pub(super) fn skip(&mut self, count: u64) -> Option<()> {
        let at = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))?;
        if at > self.bytes.len() {
            return None;
        }
        self.at = at;
        Some(())
    }

    pub(super) fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let start = self.at;
        self.skip(count)?;
        self.bytes.get(start..self.at)
    }

    /// The bytes up to a zero, which is skipped.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = memchr::memchr(0, rest)?;
        self.at += length + 1;
        Some(&rest[..length])
    }

    /// The length that a unit or a table begins with, and the size of offsets within (DWARF 5, section 7.4).
    pub(super) fn initial_length(&mut self) -> Option<(u64, u8)> {
        match self.u32()? {
            0xffff_ffff => Some((self.u64()?, 8)),
            0xffff_fff0.. => None,
            length => Some((u64::from(length), 4)),
        }
    }
}

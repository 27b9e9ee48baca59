//! Unit headers (DWARF 5, section 7.5.1).

use gimli::constants as dw;
use object::Endianness;

use super::{cursor::Cursor, form::Encoding, unread::Unread};
use crate::{Error, elf::sections::Section};

/// What a unit's header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Where it begins in `.debug_info`.
    pub(super) offset: u64,
    /// Bytes of the unit, this header included.
    pub(super) length: u64,
    pub(super) encoding: Encoding,
    /// Where its abbreviations begin in `.debug_abbrev`.
    pub(super) abbreviations: u64,
    /// Where its first entry is, from `offset` on.
    pub(super) root: u8,
    /// It holds one type: no address leads to it.
    pub(super) is_type: bool,
    /// What a skeleton unit and its split unit have in common (DWARF 5).
    pub(super) dwo_id: Option<u64>,
}

/// A unit's length, and its header if that can be read.
pub(super) type Measured = (u64, Result<Header, Error>);

/// The longest header: a type unit in the 64-bit format.
const MAX_HEADER: u64 = 40;
/// More than a file of many GiB has.
const MAX_UNITS: usize = 1 << 22;
/// Words of zeros between units, in all.
const MAX_PADDING: u32 = 1 << 16;
const CUT: &str = "a unit's header is cut short";

impl Header {
    /// Reads the header at an offset; `None` where there is nothing but padding. A unit of which no more can be told than its length
    /// is an error within, with that length.
    pub(super) fn read(
        info: &Section,
        offset: u64,
        size: u64,
        endian: Endianness,
    ) -> Result<Option<Measured>, Error> {
        let mut bytes = [0; MAX_HEADER as usize];
        let here = size.saturating_sub(offset).min(MAX_HEADER) as usize;
        info.read(offset, &mut bytes[..here])?;
        let mut cursor = Cursor::new(&bytes[..here], endian);
        let malformed = |why: &str| info.malformed(format!("{why} at {offset:#x}"));
        let (length, offset_size) = cursor.initial_length().ok_or_else(|| malformed(CUT))?;
        if length == 0 {
            return Ok(None);
        }
        let length = length
            .checked_add(cursor.at() as u64)
            .ok_or_else(|| malformed("a unit's length is none"))?;
        if length > size - offset {
            return Err(malformed("a unit is longer than the section"));
        }
        let header = Self::parse(&mut cursor, offset, length, offset_size);
        Ok(Some((length, header.map_err(malformed))))
    }

    fn parse(
        cursor: &mut Cursor<'_>,
        offset: u64,
        length: u64,
        offset_size: u8,
    ) -> Result<Self, &'static str> {
        let version = cursor.u16().ok_or(CUT)?;
        let mut header = Self {
            offset,
            length,
            encoding: Encoding {
                version,
                address: 0,
                offset: offset_size,
            },
            abbreviations: 0,
            root: 0,
            is_type: false,
            dwo_id: None,
        };
        match version {
            2..=4 => {
                header.abbreviations = cursor.number(offset_size).ok_or(CUT)?;
                header.encoding.address = cursor.u8().ok_or(CUT)?;
            }
            5 => header.version_5(cursor).ok_or(CUT)?,
            // A later version's length is where it always was: the unit is passed over.
            _ => header.is_type = true,
        }
        if !header.is_type && !matches!(header.encoding.address, 1 | 2 | 4 | 8) {
            return Err("a unit's address size is none");
        }
        header.root = cursor.at() as u8;
        match u64::from(header.root) <= header.length {
            true => Ok(header),
            false => Err("a unit is shorter than its header"),
        }
    }

    fn version_5(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let kind = gimli::DwUt(cursor.u8()?);
        self.encoding.address = cursor.u8()?;
        self.abbreviations = cursor.number(self.encoding.offset)?;
        match kind {
            dw::DW_UT_skeleton | dw::DW_UT_split_compile => self.dwo_id = Some(cursor.u64()?),
            dw::DW_UT_compile | dw::DW_UT_partial => {}
            _ => self.is_type = true,
        }
        Some(())
    }
}

/// All headers of a section, in order, but for those that are `unread`.
pub(super) fn headers(
    info: &Section,
    endian: Endianness,
    unread: &mut Unread,
) -> Result<Vec<Header>, Error> {
    let size = info.size()?;
    let mut headers = Vec::new();
    let (mut offset, mut padding) = (0, 0);
    while offset < size {
        match Header::read(info, offset, size, endian)? {
            Some(_) if headers.len() == MAX_UNITS => {
                return Err(info.malformed(format!("more than {MAX_UNITS} units")));
            }
            Some((length, header)) => {
                offset += length;
                match header {
                    Ok(header) => headers.push(header),
                    Err(error) => unread.add(error)?,
                }
            }
            None if padding == MAX_PADDING => {
                return Err(info.malformed(format!("nothing but zeros before {offset:#x}")));
            }
            None => {
                offset += 4;
                padding += 1;
            }
        }
    }
    headers.shrink_to_fit();
    Ok(headers)
}

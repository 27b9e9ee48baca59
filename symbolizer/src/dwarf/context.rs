//! What the values of a unit's entries count from: addresses, strings and ranges that are given as indexes or offsets.

use std::sync::Arc;

use object::Endianness;

use super::{
    cursor::Cursor,
    file::File,
    form::{Text, Value},
    header::Header,
    name::Name,
    pages::View,
    root::Root,
};
use crate::Error;

/// A unit, as far as its root tells.
#[derive(Debug)]
pub(super) struct Context {
    /// The file of its entries and strings.
    pub(super) file: Arc<File>,
    /// The file of its addresses; another one when the unit was split off.
    pub(super) linked: Arc<File>,
    pub(super) header: Header,
    pub(super) root: Root,
    /// What offsets in its range lists are added to.
    pub(super) low: u64,
    pub(super) bases: Bases,
}

/// Where the unit's part of each table begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bases {
    pub(super) str_offsets: u64,
    pub(super) addr: u64,
    /// The offsets of range lists that indexes count in.
    pub(super) rnglists: u64,
    /// What an offset into `.debug_ranges` is added to.
    pub(super) ranges: u64,
}

/// How many ranges may still be read, so that a small file can't ask for endless work by naming the same list over and over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance(pub(super) u32);

impl Bases {
    /// What a unit in a linked file says or leaves to the format.
    pub(super) fn of(header: &Header, root: &Root) -> Self {
        let implied = Self::implied(header);
        Self {
            str_offsets: root.str_offsets.unwrap_or(implied.str_offsets),
            addr: root.addr.unwrap_or(implied.addr),
            rnglists: root.rnglists.unwrap_or(implied.rnglists),
            ranges: 0,
        }
    }

    /// The first table of each section: what lies behind its header (DWARF 5, sections 7.26 to 7.28).
    pub(super) fn implied(header: &Header) -> Self {
        match (header.encoding.version, header.encoding.offset) {
            (5, 8) => Self {
                str_offsets: 16,
                addr: 16,
                rnglists: 20,
                ranges: 0,
            },
            (5, _) => Self {
                str_offsets: 8,
                addr: 8,
                rnglists: 12,
                ranges: 0,
            },
            _ => Self::default(),
        }
    }
}

impl Context {
    /// A unit of a linked file.
    pub(super) fn linked(file: Arc<File>, header: Header, root: Root) -> Result<Self, Error> {
        let mut context = Self {
            linked: file.clone(),
            file,
            bases: Bases::of(&header, &root),
            header,
            root,
            low: 0,
        };
        context.low = match context.root.low {
            Some(value) => context.address(value)?.unwrap_or(0),
            None => 0,
        };
        Ok(context)
    }

    /// Whether its entries are in another file than its addresses.
    pub(super) fn is_split(&self) -> bool {
        !Arc::ptr_eq(&self.file, &self.linked)
    }

    pub(super) fn endian(&self) -> Endianness {
        self.file.endian
    }

    /// The address that a value stands for.
    pub(super) fn address(&self, value: Value) -> Result<Option<u64>, Error> {
        match value {
            Value::Address(address) => Ok(Some(address)),
            Value::AddressIndex(index) => self
                .indexed_address(&self.linked.addr.view()?, index)
                .map(Some),
            _ => Ok(None),
        }
    }

    fn indexed_address(&self, addresses: &View<'_>, index: u64) -> Result<u64, Error> {
        let size = self.header.encoding.address;
        let offset = index
            .checked_mul(u64::from(size))
            .and_then(|offset| offset.checked_add(self.bases.addr))
            .ok_or_else(|| addresses.malformed(format!("it has no address {index}")))?;
        self.linked.number(addresses, offset, size)
    }

    /// Where a string lies. `base` is where in `.debug_info` the values were read that have it within.
    pub(super) fn string(&self, text: Text, base: u64) -> Result<Name, Error> {
        let Text::Index(index) = text else {
            return Ok(Name::string(text, base));
        };
        let view = self.file.str_offsets.view()?;
        let size = self.header.encoding.offset;
        let offset = index
            .checked_mul(u64::from(size))
            .and_then(|offset| offset.checked_add(self.bases.str_offsets))
            .ok_or_else(|| view.malformed(format!("it has no string {index}")))?;
        let offset = self.file.number(&view, offset, size)?;
        Ok(Name::string(Text::Str(offset), 0))
    }

    /// The addresses of an entry, by its `DW_AT_low_pc`, `DW_AT_high_pc` and `DW_AT_ranges`; those of code that the linker discarded
    /// are left out.
    pub(super) fn ranges(
        &self,
        (low, high, ranges): (Option<Value>, Option<Value>, Option<Value>),
        allowance: &mut Allowance,
        mut each: impl FnMut(u64, u64),
    ) -> Result<(), Error> {
        let discarded = self.discarded();
        let mut each = |low: u64, high: u64| {
            if low != 0 && low < high && low < discarded {
                each(low, high);
            }
        };
        if let Some(list) = ranges {
            return match (self.header.encoding.version, list) {
                (5, Value::Offset(offset)) => self.rnglist(offset, allowance, &mut each),
                (5, Value::ListIndex(index)) => {
                    self.rnglist(self.list_offset(index)?, allowance, &mut each)
                }
                (_, Value::Offset(offset) | Value::Constant(offset)) => {
                    self.old_ranges(offset, allowance, &mut each)
                }
                _ => Ok(()),
            };
        }
        let (Some(low), Some(high)) = (low, high) else {
            return Ok(());
        };
        let Some(low) = self.address(low)? else {
            return Ok(());
        };
        let high = match high {
            Value::Constant(length) => low.checked_add(length),
            other => self.address(other)?,
        };
        if let Some(high) = high {
            each(low, high);
        }
        Ok(())
    }

    /// Linkers let the addresses of discarded code begin at 0, or at one of the two highest (DWARF 6 draft, and lld).
    pub(super) fn discarded(&self) -> u64 {
        match self.header.encoding.address {
            8.. => u64::MAX - 1,
            size => (1 << (8 * u32::from(size))) - 2,
        }
    }

    fn list_offset(&self, index: u64) -> Result<u64, Error> {
        let view = self.file.rnglists.view()?;
        let size = self.header.encoding.offset;
        let at = index
            .checked_mul(u64::from(size))
            .and_then(|offset| offset.checked_add(self.bases.rnglists));
        match at {
            Some(at) => {
                let offset = self.file.number(&view, at, size)?;
                Ok(offset.saturating_add(self.bases.rnglists))
            }
            None => Err(view.malformed(format!("it has no list {index}"))),
        }
    }

    /// `.debug_ranges` (DWARF 4, section 2.17.3).
    fn old_ranges(
        &self,
        offset: u64,
        allowance: &mut Allowance,
        each: &mut impl FnMut(u64, u64),
    ) -> Result<(), Error> {
        let view = self.linked.ranges.view()?;
        let mut records = view.records(offset.saturating_add(self.bases.ranges), self.endian());
        let size = self.header.encoding.address;
        let mut base = self.low;
        loop {
            allowance.take(&view)?;
            let (low, high) = records.next(|cursor| {
                let low = cursor.number(size)?;
                Some((low, cursor.number(size)?))
            })?;
            if (low, high) == (0, 0) {
                return Ok(());
            }
            if low == self.discarded() + 1 {
                base = high;
            } else if low != self.discarded() {
                each(base.wrapping_add(low), base.wrapping_add(high));
            }
        }
    }

    /// `.debug_rnglists` (DWARF 5, section 2.17.3).
    fn rnglist(
        &self,
        offset: u64,
        allowance: &mut Allowance,
        each: &mut impl FnMut(u64, u64),
    ) -> Result<(), Error> {
        let view = self.file.rnglists.view()?;
        let addresses = self.linked.addr.view()?;
        let mut records = view.records(offset, self.endian());
        let mut base = self.low;
        let size = self.header.encoding.address;
        loop {
            allowance.take(&view)?;
            let range = records.next(|cursor| ListEntry::read(cursor, size))?;
            let indexed = |index| self.indexed_address(&addresses, index);
            match range {
                ListEntry::End => return Ok(()),
                ListEntry::Base(address) => base = address,
                ListEntry::BaseIndex(index) => base = indexed(index)?,
                // Code that was discarded has such a base; what is added to it may wrap.
                ListEntry::Offsets(low, high) if base < self.discarded() => {
                    each(base.wrapping_add(low), base.wrapping_add(high));
                }
                ListEntry::Offsets(..) => {}
                ListEntry::Addresses(low, high) => each(low, high),
                ListEntry::Length(low, length) => each(low, low.saturating_add(length)),
                ListEntry::IndexLength(index, length) => {
                    let low = indexed(index)?;
                    each(low, low.saturating_add(length));
                }
                ListEntry::Indexes(low, high) => each(indexed(low)?, indexed(high)?),
                ListEntry::Unknown(kind) => {
                    let at = records.at();
                    return Err(
                        view.malformed(format!("a range of the unknown kind {kind} at {at:#x}"))
                    );
                }
            }
        }
    }
}

impl Allowance {
    fn take(&mut self, view: &View<'_>) -> Result<(), Error> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                Err(view.malformed("one unit names more ranges than any program has".to_owned()))
            }
        }
    }
}

/// One entry of a range list.
enum ListEntry {
    End,
    Base(u64),
    BaseIndex(u64),
    Offsets(u64, u64),
    Addresses(u64, u64),
    Length(u64, u64),
    IndexLength(u64, u64),
    Indexes(u64, u64),
    Unknown(u8),
}

impl ListEntry {
    fn read(cursor: &mut Cursor<'_>, size: u8) -> Option<Self> {
        use gimli::constants as dw;
        Some(match gimli::DwRle(cursor.u8()?) {
            dw::DW_RLE_end_of_list => Self::End,
            dw::DW_RLE_base_addressx => Self::BaseIndex(cursor.uleb()?),
            dw::DW_RLE_startx_endx => Self::Indexes(cursor.uleb()?, cursor.uleb()?),
            dw::DW_RLE_startx_length => Self::IndexLength(cursor.uleb()?, cursor.uleb()?),
            dw::DW_RLE_offset_pair => Self::Offsets(cursor.uleb()?, cursor.uleb()?),
            dw::DW_RLE_base_address => Self::Base(cursor.number(size)?),
            dw::DW_RLE_start_end => Self::Addresses(cursor.number(size)?, cursor.number(size)?),
            dw::DW_RLE_start_length => Self::Length(cursor.number(size)?, cursor.uleb()?),
            gimli::DwRle(other) => Self::Unknown(other),
        })
    }
}

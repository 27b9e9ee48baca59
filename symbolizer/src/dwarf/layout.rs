//! Inlined calls whose values all have a fixed size: where each of them lies is known before, and reading one is a few loads.
//!
//! A program has as many inlined calls as other entries that are read in full together, and nearly all of them are like this.

use gimli::{DwAt, DwForm, constants as dw};

use super::{
    cursor::Cursor,
    entry::Entry,
    form::{Encoding, Reference, Value},
};

/// Where the values of an inlined call lie behind its code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    low: Field,
    high: Field,
    ranges: Field,
    origin: Field,
    call_file: Field,
    call_line: Field,
    call_column: Field,
}

#[derive(Clone, Copy, Debug, Default)]
struct Field {
    kind: Kind,
    /// So many bytes: 1, 2, 4 or 8.
    size: u8,
    /// Where it lies, or what it is.
    at: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Absent,
    Literal,
    Address,
    Constant,
    Offset,
    Unit,
    Info,
    Supplementary,
}

/// What a load takes, whatever the field's size.
const LOAD: usize = size_of::<u64>();

impl Layout {
    /// Notes a value that lies at an offset; a constant of the abbreviation is `literal`. Returns false for one that can't be read in
    /// this way.
    pub(super) fn add(
        &mut self,
        name: DwAt,
        form: DwForm,
        encoding: Encoding,
        (at, literal): (u32, u32),
    ) -> bool {
        let field = match name {
            dw::DW_AT_low_pc => &mut self.low,
            dw::DW_AT_high_pc => &mut self.high,
            dw::DW_AT_ranges => &mut self.ranges,
            dw::DW_AT_abstract_origin => &mut self.origin,
            dw::DW_AT_call_file => &mut self.call_file,
            dw::DW_AT_call_line => &mut self.call_line,
            dw::DW_AT_call_column => &mut self.call_column,
            _ => return true,
        };
        let (kind, size) = match form {
            dw::DW_FORM_implicit_const => (Kind::Literal, 0),
            dw::DW_FORM_addr => (Kind::Address, encoding.address),
            dw::DW_FORM_data1 => (Kind::Constant, 1),
            dw::DW_FORM_data2 => (Kind::Constant, 2),
            dw::DW_FORM_data4 => (Kind::Constant, 4),
            dw::DW_FORM_data8 => (Kind::Constant, 8),
            dw::DW_FORM_sec_offset => (Kind::Offset, encoding.offset),
            dw::DW_FORM_ref4 => (Kind::Unit, 4),
            dw::DW_FORM_ref_addr if encoding.version > 2 => (Kind::Info, encoding.offset),
            dw::DW_FORM_GNU_ref_alt => (Kind::Supplementary, encoding.offset),
            _ => return false,
        };
        let at = if kind == Kind::Literal { literal } else { at };
        *field = Field { kind, size, at };
        matches!(size, 0 | 1 | 2 | 4 | 8)
    }

    /// Reads an entry, whose values have so many bytes, and goes behind it. `None` near the end of the bytes, where a load would go
    /// beyond.
    #[inline]
    pub(super) fn read(&self, cursor: &mut Cursor<'_>, bytes: u32) -> Option<Entry> {
        let window = cursor.window(bytes as usize + LOAD)?;
        let constant = |field: Field| match field.number(window) {
            Some(number) => u32::try_from(number).unwrap_or(0),
            None => 0,
        };
        let entry = Entry {
            code: (
                self.low.value(window),
                self.high.value(window),
                self.ranges.value(window),
            ),
            origin: match self.origin.value(window) {
                Some(Value::Reference(to)) => Some(to),
                _ => None,
            },
            call_file: constant(self.call_file),
            call_line: constant(self.call_line),
            call_column: constant(self.call_column),
            ..Entry::default()
        };
        cursor.skip(u64::from(bytes))?;
        Some(entry)
    }
}

impl Field {
    #[inline]
    fn number(self, window: &[u8]) -> Option<u64> {
        if matches!(self.kind, Kind::Absent | Kind::Literal) {
            return (self.kind == Kind::Literal).then_some(u64::from(self.at));
        }
        let number = window.get(self.at as usize..)?.first_chunk::<LOAD>()?;
        Some(u64::from_le_bytes(*number) & (u64::MAX >> (64 - 8 * u32::from(self.size))))
    }

    #[inline]
    fn value(self, window: &[u8]) -> Option<Value> {
        let number = self.number(window)?;
        Some(match self.kind {
            Kind::Address => Value::Address(number),
            Kind::Offset => Value::Offset(number),
            Kind::Unit => Value::Reference(Reference::Unit(number)),
            Kind::Info => Value::Reference(Reference::Info(number)),
            Kind::Supplementary => Value::Reference(Reference::Supplementary(number)),
            Kind::Constant | Kind::Literal | Kind::Absent => Value::Constant(number),
        })
    }
}

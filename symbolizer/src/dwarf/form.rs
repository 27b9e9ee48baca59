//! Attribute forms: how long a value is, and what it says (DWARF 5, section 7.5.6; GNU's forms as in binutils' `dwarf2.def`).

use gimli::{DwForm, constants as dw};

use super::cursor::Cursor;

/// What the size of a value depends on, besides its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Encoding {
    pub(super) version: u16,
    /// Bytes of an address.
    pub(super) address: u8,
    /// Bytes of an offset: 4 in the 32-bit format, 8 in the 64-bit format.
    pub(super) offset: u8,
}

/// How long a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Fixed(u8),
    /// To be found out by reading.
    Variable,
}

/// An attribute's value, as far as one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Address(u64),
    /// An index into `.debug_addr`.
    AddressIndex(u64),
    Constant(u64),
    /// An offset into the section that the attribute's name says.
    Offset(u64),
    /// An index into the offsets of `.debug_rnglists`.
    ListIndex(u64),
    Reference(Reference),
    Text(Text),
    Other,
}

/// Another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// In the same unit, from its header on.
    Unit(u64),
    /// In the same file's `.debug_info`.
    Info(u64),
    /// In the supplementary file's `.debug_info`.
    Supplementary(u64),
}

/// Where a string lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// In `.debug_str`.
    Str(u64),
    /// In `.debug_line_str`.
    LineStr(u64),
    /// In the value itself, so many bytes from where the cursor began.
    Inline(u64),
    /// An index into `.debug_str_offsets`.
    Index(u64),
    /// In the supplementary file's `.debug_str`.
    Supplementary(u64),
}

/// How long a form's values are; `None` for a form that is not known.
#[inline]
pub(super) fn length(form: DwForm, encoding: Encoding) -> Option<Length> {
    let code = match form {
        dw::DW_FORM_GNU_addr_index | dw::DW_FORM_GNU_str_index => VARIABLE,
        dw::DW_FORM_GNU_ref_alt | dw::DW_FORM_GNU_strp_alt => OFFSET,
        DwForm(number) => *LENGTHS.get(usize::from(number))?,
    };
    Some(match code {
        UNKNOWN => return None,
        VARIABLE => Length::Variable,
        OFFSET => Length::Fixed(encoding.offset),
        ADDRESS => Length::Fixed(encoding.address),
        // DWARF 2 gave it the size of an address.
        REFERENCE if encoding.version < 3 => Length::Fixed(encoding.address),
        REFERENCE => Length::Fixed(encoding.offset),
        size => Length::Fixed(size),
    })
}

const UNKNOWN: u8 = 255;
const VARIABLE: u8 = 254;
const OFFSET: u8 = 253;
const ADDRESS: u8 = 252;
const REFERENCE: u8 = 251;

/// The lengths of the standard's forms, by their numbers.
const LENGTHS: [u8; 0x2d] = {
    let mut lengths = [UNKNOWN; 0x2d];
    let known = [
        (dw::DW_FORM_flag_present, 0),
        (dw::DW_FORM_implicit_const, 0),
        (dw::DW_FORM_data1, 1),
        (dw::DW_FORM_ref1, 1),
        (dw::DW_FORM_flag, 1),
        (dw::DW_FORM_strx1, 1),
        (dw::DW_FORM_addrx1, 1),
        (dw::DW_FORM_data2, 2),
        (dw::DW_FORM_ref2, 2),
        (dw::DW_FORM_strx2, 2),
        (dw::DW_FORM_addrx2, 2),
        (dw::DW_FORM_strx3, 3),
        (dw::DW_FORM_addrx3, 3),
        (dw::DW_FORM_data4, 4),
        (dw::DW_FORM_ref4, 4),
        (dw::DW_FORM_ref_sup4, 4),
        (dw::DW_FORM_strx4, 4),
        (dw::DW_FORM_addrx4, 4),
        (dw::DW_FORM_data8, 8),
        (dw::DW_FORM_ref8, 8),
        (dw::DW_FORM_ref_sig8, 8),
        (dw::DW_FORM_ref_sup8, 8),
        (dw::DW_FORM_data16, 16),
        (dw::DW_FORM_addr, ADDRESS),
        (dw::DW_FORM_ref_addr, REFERENCE),
        (dw::DW_FORM_strp, OFFSET),
        (dw::DW_FORM_line_strp, OFFSET),
        (dw::DW_FORM_sec_offset, OFFSET),
        (dw::DW_FORM_strp_sup, OFFSET),
        (dw::DW_FORM_udata, VARIABLE),
        (dw::DW_FORM_sdata, VARIABLE),
        (dw::DW_FORM_ref_udata, VARIABLE),
        (dw::DW_FORM_strx, VARIABLE),
        (dw::DW_FORM_addrx, VARIABLE),
        (dw::DW_FORM_loclistx, VARIABLE),
        (dw::DW_FORM_rnglistx, VARIABLE),
        (dw::DW_FORM_exprloc, VARIABLE),
        (dw::DW_FORM_block, VARIABLE),
        (dw::DW_FORM_block1, VARIABLE),
        (dw::DW_FORM_block2, VARIABLE),
        (dw::DW_FORM_block4, VARIABLE),
        (dw::DW_FORM_string, VARIABLE),
        (dw::DW_FORM_indirect, VARIABLE),
    ];
    let mut index = 0;
    while index < known.len() {
        let (form, length) = known[index];
        lengths[form.0 as usize] = length;
        index += 1;
    }
    lengths
};

/// Goes behind a value.
pub(super) fn skip(cursor: &mut Cursor<'_>, form: DwForm, encoding: Encoding) -> Option<()> {
    match form {
        dw::DW_FORM_udata
        | dw::DW_FORM_sdata
        | dw::DW_FORM_ref_udata
        | dw::DW_FORM_strx
        | dw::DW_FORM_addrx
        | dw::DW_FORM_loclistx
        | dw::DW_FORM_rnglistx
        | dw::DW_FORM_GNU_addr_index
        | dw::DW_FORM_GNU_str_index => cursor.skip_leb(),
        dw::DW_FORM_exprloc | dw::DW_FORM_block => cursor.skip_block(),
        dw::DW_FORM_block1 => {
            let size = cursor.u8()?;
            cursor.skip(u64::from(size))
        }
        dw::DW_FORM_block2 => {
            let size = cursor.u16()?;
            cursor.skip(u64::from(size))
        }
        dw::DW_FORM_block4 => {
            let size = cursor.u32()?;
            cursor.skip(u64::from(size))
        }
        dw::DW_FORM_string => cursor.string().map(drop),
        dw::DW_FORM_indirect => {
            let form = indirect(cursor)?;
            skip(cursor, form, encoding)
        }
        _ => match length(form, encoding)? {
            Length::Fixed(size) => cursor.skip(u64::from(size)),
            Length::Variable => None,
        },
    }
}

/// The form that stands before the value; one that says so again is nothing to follow.
fn indirect(cursor: &mut Cursor<'_>) -> Option<DwForm> {
    let form = DwForm(u16::try_from(cursor.uleb()?).ok()?);
    (form != dw::DW_FORM_indirect && form != dw::DW_FORM_implicit_const).then_some(form)
}

/// Reads a value.
#[inline]
pub(super) fn value(cursor: &mut Cursor<'_>, form: DwForm, encoding: Encoding) -> Option<Value> {
    Some(match form {
        dw::DW_FORM_addr => Value::Address(cursor.number(encoding.address)?),
        dw::DW_FORM_data1 => Value::Constant(u64::from(cursor.u8()?)),
        dw::DW_FORM_data2 => Value::Constant(u64::from(cursor.u16()?)),
        // Before DWARF 4 an offset, too: who asks for one takes either.
        dw::DW_FORM_data4 => Value::Constant(u64::from(cursor.u32()?)),
        dw::DW_FORM_data8 => Value::Constant(cursor.u64()?),
        dw::DW_FORM_udata => Value::Constant(cursor.uleb()?),
        dw::DW_FORM_sdata => Value::Constant(cursor.sleb()?.cast_unsigned()),
        dw::DW_FORM_flag_present => Value::Constant(1),
        dw::DW_FORM_sec_offset => Value::Offset(cursor.number(encoding.offset)?),
        dw::DW_FORM_ref1 => Value::Reference(Reference::Unit(u64::from(cursor.u8()?))),
        dw::DW_FORM_ref2 => Value::Reference(Reference::Unit(u64::from(cursor.u16()?))),
        dw::DW_FORM_ref4 => Value::Reference(Reference::Unit(u64::from(cursor.u32()?))),
        dw::DW_FORM_ref8 => Value::Reference(Reference::Unit(cursor.u64()?)),
        dw::DW_FORM_ref_udata => Value::Reference(Reference::Unit(cursor.uleb()?)),
        dw::DW_FORM_ref_addr => {
            let size = match encoding.version {
                ..3 => encoding.address,
                _ => encoding.offset,
            };
            Value::Reference(Reference::Info(cursor.number(size)?))
        }
        dw::DW_FORM_GNU_ref_alt => {
            Value::Reference(Reference::Supplementary(cursor.number(encoding.offset)?))
        }
        dw::DW_FORM_ref_sup4 => {
            Value::Reference(Reference::Supplementary(u64::from(cursor.u32()?)))
        }
        dw::DW_FORM_ref_sup8 => Value::Reference(Reference::Supplementary(cursor.u64()?)),
        dw::DW_FORM_strp => Value::Text(Text::Str(cursor.number(encoding.offset)?)),
        dw::DW_FORM_line_strp => Value::Text(Text::LineStr(cursor.number(encoding.offset)?)),
        dw::DW_FORM_strp_sup | dw::DW_FORM_GNU_strp_alt => {
            Value::Text(Text::Supplementary(cursor.number(encoding.offset)?))
        }
        dw::DW_FORM_string => {
            let at = cursor.at() as u64;
            cursor.string()?;
            Value::Text(Text::Inline(at))
        }
        dw::DW_FORM_strx | dw::DW_FORM_GNU_str_index => Value::Text(Text::Index(cursor.uleb()?)),
        dw::DW_FORM_strx1 => Value::Text(Text::Index(u64::from(cursor.u8()?))),
        dw::DW_FORM_strx2 => Value::Text(Text::Index(u64::from(cursor.u16()?))),
        dw::DW_FORM_strx3 => Value::Text(Text::Index(u64::from(cursor.u24()?))),
        dw::DW_FORM_strx4 => Value::Text(Text::Index(u64::from(cursor.u32()?))),
        dw::DW_FORM_addrx | dw::DW_FORM_GNU_addr_index => Value::AddressIndex(cursor.uleb()?),
        dw::DW_FORM_addrx1 => Value::AddressIndex(u64::from(cursor.u8()?)),
        dw::DW_FORM_addrx2 => Value::AddressIndex(u64::from(cursor.u16()?)),
        dw::DW_FORM_addrx3 => Value::AddressIndex(u64::from(cursor.u24()?)),
        dw::DW_FORM_addrx4 => Value::AddressIndex(u64::from(cursor.u32()?)),
        dw::DW_FORM_rnglistx => Value::ListIndex(cursor.uleb()?),
        dw::DW_FORM_indirect => {
            let form = indirect(cursor)?;
            value(cursor, form, encoding)?
        }
        _ => {
            skip(cursor, form, encoding)?;
            Value::Other
        }
    })
}

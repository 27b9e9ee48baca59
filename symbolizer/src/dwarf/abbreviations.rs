//! Abbreviations (DWARF 5, section 7.5.3), made into steps: what is not asked for is skipped in as few steps as it takes.
//!
//! Most entries of a unit are types, variables and parameters that no address leads to. Where all their attributes have a fixed size,
//! going behind one is a single addition.

mod parse;

use gimli::{DwAt, DwForm, DwTag, constants as dw};

use super::{
    cursor::Cursor,
    form::{self, Encoding, Reference, Value},
    layout::Layout,
};

/// The abbreviations of a unit.
#[derive(Debug)]
pub(super) struct Abbreviations {
    entries: Vec<Abbreviation>,
    /// The codes of `entries`, in order; empty where they are 1, 2, 3 and so on, as all producers but a few write them.
    codes: Vec<u64>,
    steps: Vec<Step>,
    /// Of the inlined calls with values of a fixed size; in the entry it is `layout`.
    layouts: Vec<Layout>,
    encoding: Encoding,
}

/// What an entry looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abbreviation {
    pub(super) kind: Kind,
    pub(super) has_children: bool,
    /// Where `DW_AT_sibling` lies behind the code, in four bytes; `NO_SIBLING` when it is elsewhere.
    sibling: u16,
    /// The number of its layout; `NO_LAYOUT` where values change their size.
    layout: u16,
    /// Bytes of all values, or `NOT_FIXED`.
    fixed: u32,
    first: u32,
    count: u32,
}

/// What an entry is to who looks for functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The root of a unit.
    Unit,
    Function,
    Inlined,
    /// A part of a function's body that inlined calls lie in.
    Block,
    /// What functions lie in.
    Scope,
    Other,
}

/// What to do with the next bytes of an entry.
#[derive(Clone, Copy, Debug)]
enum Step {
    Skip(u32),
    /// The two forms of changing size that most entries have.
    SkipLeb,
    SkipBlock,
    SkipForm(DwForm),
    Take(DwAt, DwForm),
    /// A value that stands in the abbreviation; larger ones than these are nobody's business here.
    Constant(DwAt, u32),
}

const NO_SIBLING: u16 = u16::MAX;
const NOT_FIXED: u32 = u32::MAX;
const NO_LAYOUT: u16 = u16::MAX;

impl Abbreviations {
    /// The abbreviation of a code.
    #[inline]
    pub(super) fn get(&self, code: u64) -> Option<&Abbreviation> {
        if self.codes.is_empty() {
            return self
                .entries
                .get(usize::try_from(code).ok()?.checked_sub(1)?);
        }
        let at = self.codes.binary_search(&code).ok()?;
        self.entries.get(at)
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.entries.capacity() * size_of::<Abbreviation>()
            + self.codes.capacity() * size_of::<u64>()
            + self.steps.capacity() * size_of::<Step>()
            + self.layouts.capacity() * size_of::<Layout>()
    }

    /// Goes behind an entry's values.
    #[inline]
    pub(super) fn skip(&self, entry: &Abbreviation, cursor: &mut Cursor<'_>) -> Option<()> {
        match entry.fixed {
            NOT_FIXED => self.skip_steps(entry, cursor),
            fixed => cursor.skip(u64::from(fixed)),
        }
    }

    fn skip_steps(&self, entry: &Abbreviation, cursor: &mut Cursor<'_>) -> Option<()> {
        for step in self.steps_of(entry) {
            match *step {
                Step::Skip(size) => cursor.skip(u64::from(size))?,
                Step::SkipLeb => cursor.skip_leb()?,
                Step::SkipBlock => cursor.skip_block()?,
                Step::SkipForm(form) | Step::Take(_, form) => {
                    form::skip(cursor, form, self.encoding)?;
                }
                Step::Constant(..) => {}
            }
        }
        Some(())
    }

    /// The layout of an inlined call's values, and how many bytes they have, when their sizes are fixed.
    #[inline]
    pub(super) fn layout_of(&self, entry: &Abbreviation) -> Option<(&Layout, u32)> {
        Some((self.layouts.get(usize::from(entry.layout))?, entry.fixed))
    }

    /// Goes behind an entry's values and hands out those that its kind wants.
    #[inline]
    pub(super) fn values(
        &self,
        entry: &Abbreviation,
        cursor: &mut Cursor<'_>,
        mut each: impl FnMut(DwAt, Value),
    ) -> Option<()> {
        for step in self.steps_of(entry) {
            match *step {
                Step::Skip(size) => cursor.skip(u64::from(size))?,
                Step::SkipLeb => cursor.skip_leb()?,
                Step::SkipBlock => cursor.skip_block()?,
                Step::SkipForm(form) => form::skip(cursor, form, self.encoding)?,
                Step::Take(name, form) => each(name, form::value(cursor, form, self.encoding)?),
                Step::Constant(name, value) => each(name, Value::Constant(u64::from(value))),
            }
        }
        Some(())
    }

    /// Goes behind an entry's values, and says where what follows its children is, from the unit's header on, if the entry does.
    #[inline]
    pub(super) fn skip_to_sibling(
        &self,
        entry: &Abbreviation,
        cursor: &mut Cursor<'_>,
    ) -> Option<Option<u64>> {
        if entry.sibling != NO_SIBLING {
            let mut there = *cursor;
            there.skip(u64::from(entry.sibling))?;
            self.skip(entry, cursor)?;
            return there.u32().map(u64::from).map(Some);
        }
        if entry.fixed != NOT_FIXED {
            cursor.skip(u64::from(entry.fixed))?;
            return Some(None);
        }
        let mut sibling = None;
        self.values(entry, cursor, |name, value| {
            if let (dw::DW_AT_sibling, Value::Reference(Reference::Unit(at))) = (name, value) {
                sibling = Some(at);
            }
        })?;
        Some(sibling)
    }

    fn steps_of(&self, entry: &Abbreviation) -> &[Step] {
        let first = entry.first as usize;
        &self.steps[first..first + entry.count as usize]
    }
}

impl Kind {
    fn of(tag: DwTag) -> Self {
        match tag {
            dw::DW_TAG_compile_unit | dw::DW_TAG_partial_unit | dw::DW_TAG_skeleton_unit => {
                Self::Unit
            }
            dw::DW_TAG_subprogram => Self::Function,
            dw::DW_TAG_inlined_subroutine => Self::Inlined,
            dw::DW_TAG_lexical_block
            | dw::DW_TAG_try_block
            | dw::DW_TAG_catch_block
            | dw::DW_TAG_with_stmt => Self::Block,
            dw::DW_TAG_namespace | dw::DW_TAG_module => Self::Scope,
            _ => Self::Other,
        }
    }

    fn wants(self, name: DwAt) -> bool {
        match self {
            Self::Unit => true,
            Self::Function | Self::Inlined => matches!(
                name,
                dw::DW_AT_sibling
                    | dw::DW_AT_name
                    | dw::DW_AT_linkage_name
                    | dw::DW_AT_MIPS_linkage_name
                    | dw::DW_AT_abstract_origin
                    | dw::DW_AT_specification
                    | dw::DW_AT_inline
                    | dw::DW_AT_low_pc
                    | dw::DW_AT_high_pc
                    | dw::DW_AT_ranges
                    | dw::DW_AT_call_file
                    | dw::DW_AT_call_line
                    | dw::DW_AT_call_column
            ),
            Self::Block | Self::Scope | Self::Other => name == dw::DW_AT_sibling,
        }
    }
}

#[cfg(test)]
mod tests;

//! One entry of a function or an inlined call, and the way from it to its name.

use gimli::constants as dw;

use super::{
    abbreviations::{Abbreviation, Abbreviations, Kind},
    context::Context,
    cursor::Cursor,
    form::{Reference, Text, Value},
    name::Name,
};
use crate::Error;

/// The attributes of an entry that say where its code is, what it is called, and who calls it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// `DW_AT_low_pc`, `DW_AT_high_pc` and `DW_AT_ranges`.
    pub(super) code: (Option<Value>, Option<Value>, Option<Value>),
    pub(super) linkage_name: Option<Text>,
    pub(super) name: Option<Text>,
    /// The entry that has what this one doesn't say: its `DW_AT_abstract_origin` or `DW_AT_specification`.
    pub(super) origin: Option<Reference>,
    /// It is one that inlined calls refer to.
    pub(super) is_abstract: bool,
    pub(super) sibling: Option<u64>,
    pub(super) call_file: u32,
    pub(super) call_line: u32,
    pub(super) call_column: u32,
}

/// From an entry to the one with its name: a concrete function, its abstract one, its declaration. A chain that is longer is a circle.
pub(super) const MAX_HOPS: u32 = 16;

impl Entry {
    /// Reads an entry's values. The cursor stands behind its code.
    #[inline]
    pub(super) fn read(
        abbreviations: &Abbreviations,
        abbreviation: &Abbreviation,
        cursor: &mut Cursor<'_>,
    ) -> Option<Self> {
        let layout = abbreviations.layout_of(abbreviation);
        if let Some(entry) = layout.and_then(|(layout, bytes)| layout.read(cursor, bytes)) {
            return Some(entry);
        }
        let mut entry = Self::default();
        let mut specification = None;
        abbreviations.values(abbreviation, cursor, |name, value| match (name, value) {
            (dw::DW_AT_low_pc, value) => entry.code.0 = Some(value),
            (dw::DW_AT_high_pc, value) => entry.code.1 = Some(value),
            (dw::DW_AT_ranges, value) => entry.code.2 = Some(value),
            (dw::DW_AT_name, Value::Text(text)) => entry.name = Some(text),
            (dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name, Value::Text(text)) => {
                entry.linkage_name = Some(text);
            }
            (dw::DW_AT_abstract_origin, Value::Reference(to)) => entry.origin = Some(to),
            (dw::DW_AT_specification, Value::Reference(to)) => specification = Some(to),
            (dw::DW_AT_inline, _) => entry.is_abstract = true,
            (dw::DW_AT_sibling, Value::Reference(Reference::Unit(to))) => entry.sibling = Some(to),
            (dw::DW_AT_call_file, Value::Constant(file)) => entry.call_file = small(file),
            (dw::DW_AT_call_line, Value::Constant(line)) => entry.call_line = small(line),
            (dw::DW_AT_call_column, Value::Constant(column)) => entry.call_column = small(column),
            _ => {}
        })?;
        entry.origin = entry.origin.or(specification);
        Some(entry)
    }

    /// Whether it has code of its own.
    pub(super) fn has_code(&self) -> bool {
        self.code.0.is_some() || self.code.2.is_some()
    }

    /// Its name. `unit` has the unit's bytes from its header on; an entry outside of them is named, but not followed.
    pub(super) fn name(
        &self,
        context: &Context,
        abbreviations: &Abbreviations,
        mut unit: Cursor<'_>,
    ) -> Result<Name, Error> {
        let mut entry = *self;
        let mut best = Name::UNKNOWN;
        for _ in 0..MAX_HOPS {
            best = entry.better(best, context)?;
            let next = match entry.origin {
                _ if best.is_linkage() => break,
                Some(Reference::Unit(next)) => next,
                // What the entry elsewhere may know better is not worth the way there.
                Some(elsewhere) if !best.is_known() => {
                    return Ok(Name::of(elsewhere, context.header.offset));
                }
                _ => break,
            };
            unit.seek(usize::try_from(next).unwrap_or(usize::MAX));
            match Self::read_function(abbreviations, &mut unit) {
                Some(found) => entry = found,
                None => break,
            }
        }
        Ok(best)
    }

    /// The better one of a name and its own: a linkage name, else the one that was there first.
    pub(super) fn better(&self, best: Name, context: &Context) -> Result<Name, Error> {
        let start = context.header.offset;
        match (self.linkage_name, self.name) {
            (Some(linkage), _) => Ok(context.string(linkage, start)?.as_linkage()),
            (None, Some(name)) if !best.is_known() => context.string(name, start),
            _ => Ok(best),
        }
    }

    /// This, read by a cursor that began `by` bytes behind the unit's header.
    pub(super) fn moved(mut self, by: u64) -> Self {
        let moved = |text: Text| match text {
            Text::Inline(at) => Text::Inline(at + by),
            other => other,
        };
        self.name = self.name.map(moved);
        self.linkage_name = self.linkage_name.map(moved);
        self
    }

    /// Reads the function's entry that the cursor stands before, if it is one.
    pub(super) fn read_function(
        abbreviations: &Abbreviations,
        cursor: &mut Cursor<'_>,
    ) -> Option<Self> {
        let abbreviation = abbreviations.get(cursor.uleb()?)?;
        match abbreviation.kind {
            Kind::Function => Self::read(abbreviations, abbreviation, cursor),
            _ => None,
        }
    }
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

//! Reads tables of abbreviations.

use gimli::{DwAt, DwForm, DwTag, constants as dw};

use super::{Abbreviation, Abbreviations, Kind, NO_LAYOUT, NO_SIBLING, NOT_FIXED, Step};
use crate::dwarf::{
    cursor::Cursor,
    form::{self, Encoding, Length},
    layout::Layout,
};

const CUT: &str = Abbreviations::CUT;
/// More than any producer writes in one abbreviation, or of them in one table.
const MAX_ATTRIBUTES: u32 = 1 << 12;
const MAX_ENTRIES: usize = 1 << 20;

impl Abbreviations {
    /// What the error says when a part of a table was not enough.
    pub(in crate::dwarf) const CUT: &'static str = "it is cut short";

    /// Reads a table, up to the code `until` or to its end. `is_all` says that nothing follows the bytes in the section: there a table
    /// needs no terminator. The error is the contradiction.
    pub(in crate::dwarf) fn parse(
        mut cursor: Cursor<'_>,
        is_all: bool,
        encoding: Encoding,
        until: Option<u64>,
    ) -> Result<Self, &'static str> {
        let mut table = Self {
            entries: Vec::with_capacity(128),
            codes: Vec::new(),
            steps: Vec::with_capacity(256),
            layouts: Vec::new(),
            encoding,
        };
        loop {
            let code = match cursor.is_at_end() && is_all {
                true => 0,
                false => cursor.uleb().ok_or(CUT)?,
            };
            if code == 0 {
                break;
            }
            if table.entries.len() == MAX_ENTRIES {
                return Err("too many abbreviations in one table");
            }
            let entry = table.entry(&mut cursor)?;
            table.push(code, entry);
            if until == Some(code) {
                break;
            }
        }
        table.order();
        table.entries.shrink_to_fit();
        table.steps.shrink_to_fit();
        table.layouts.shrink_to_fit();
        Ok(table)
    }

    fn push(&mut self, code: u64, entry: Abbreviation) {
        if self.codes.is_empty() && code != self.entries.len() as u64 + 1 {
            self.codes.extend(1..=self.entries.len() as u64);
            self.codes.push(code);
        } else if !self.codes.is_empty() {
            self.codes.push(code);
        }
        self.entries.push(entry);
    }

    fn order(&mut self) {
        if !self.codes.is_sorted() {
            let mut both: Vec<_> = self.codes.drain(..).zip(self.entries.drain(..)).collect();
            both.sort_by_key(|&(code, _)| code);
            (self.codes, self.entries) = both.into_iter().unzip();
        }
    }

    fn entry(&mut self, cursor: &mut Cursor<'_>) -> Result<Abbreviation, &'static str> {
        let tag = DwTag(u16::try_from(cursor.uleb().ok_or(CUT)?).unwrap_or(0));
        let kind = Kind::of(tag);
        let has_children = cursor.u8().ok_or(CUT)? != 0;
        if let Some(entry) = self.simple(kind, has_children, cursor) {
            return Ok(entry);
        }
        let first = u32::try_from(self.steps.len()).map_err(|_| "too many abbreviations")?;
        let (mut fixed, mut sibling) = (Some(0_u32), NO_SIBLING);
        let mut layout = (kind == Kind::Inlined).then(Layout::default);
        for _ in 0..MAX_ATTRIBUTES {
            let name = cursor.uleb().ok_or(CUT)?;
            let form = cursor.uleb().ok_or(CUT)?;
            if (name, form) == (0, 0) {
                return Ok(Abbreviation {
                    kind,
                    has_children,
                    sibling,
                    layout: self.layout(layout.filter(|_| fixed.is_some())),
                    fixed: fixed.unwrap_or(NOT_FIXED),
                    first,
                    count: self.steps.len() as u32 - first,
                });
            }
            let name = DwAt(u16::try_from(name).unwrap_or(0));
            let form = DwForm(u16::try_from(form).unwrap_or(0));
            let value = match form {
                dw::DW_FORM_implicit_const => cursor.sleb().ok_or(CUT)?,
                _ => 0,
            };
            let length = form::length(form, self.encoding).ok_or("an unknown attribute form")?;
            if name == dw::DW_AT_sibling && form == dw::DW_FORM_ref4 {
                sibling = fixed
                    .and_then(|fixed| u16::try_from(fixed).ok())
                    .unwrap_or(NO_SIBLING);
            }
            if let (Some(here), Some(at)) = (&mut layout, fixed) {
                let literal = u32::try_from(value).unwrap_or(0);
                if !here.add(name, form, self.encoding, (at, literal)) {
                    layout = None;
                }
            }
            self.step(first, kind.wants(name).then_some(name), form, length, value);
            fixed = match length {
                Length::Fixed(size) => fixed.map(|fixed| fixed + u32::from(size)),
                Length::Variable => None,
            };
        }
        Err("too many attributes in one abbreviation")
    }

    /// An entry of which nothing is wanted but where the next one is, and all values have a fixed size: it needs no steps.
    fn simple(
        &self,
        kind: Kind,
        has_children: bool,
        cursor: &mut Cursor<'_>,
    ) -> Option<Abbreviation> {
        if !matches!(kind, Kind::Block | Kind::Scope | Kind::Other) {
            return None;
        }
        let mut ahead = *cursor;
        let mut entry = Abbreviation {
            kind,
            has_children,
            sibling: NO_SIBLING,
            layout: NO_LAYOUT,
            fixed: 0,
            first: 0,
            count: 0,
        };
        loop {
            let (name, form) = (ahead.uleb()?, ahead.uleb()?);
            if (name, form) == (0, 0) {
                *cursor = ahead;
                return Some(entry);
            }
            let form = DwForm(u16::try_from(form).ok()?);
            if form == dw::DW_FORM_implicit_const {
                ahead.skip_leb()?;
            }
            let Length::Fixed(size) = form::length(form, self.encoding)? else {
                return None;
            };
            if name == u64::from(dw::DW_AT_sibling.0) {
                if form != dw::DW_FORM_ref4 {
                    return None;
                }
                entry.sibling = u16::try_from(entry.fixed).ok()?;
            }
            entry.fixed = entry.fixed.checked_add(u32::from(size))?;
        }
    }

    fn layout(&mut self, layout: Option<Layout>) -> u16 {
        match (layout, u16::try_from(self.layouts.len())) {
            (Some(layout), Ok(number)) if number != NO_LAYOUT => {
                self.layouts.push(layout);
                number
            }
            _ => NO_LAYOUT,
        }
    }

    fn step(&mut self, first: u32, name: Option<DwAt>, form: DwForm, length: Length, value: i64) {
        let step = match (name, length) {
            (Some(name), _) if form == dw::DW_FORM_implicit_const => {
                Step::Constant(name, u32::try_from(value).unwrap_or(0))
            }
            (Some(name), _) => Step::Take(name, form),
            (None, Length::Fixed(0)) => return,
            (None, Length::Fixed(size)) => {
                let size = u32::from(size);
                if let Some(Step::Skip(before)) = self.steps[first as usize..].last_mut() {
                    *before += size;
                    return;
                }
                Step::Skip(size)
            }
            (None, Length::Variable) => match form {
                dw::DW_FORM_udata | dw::DW_FORM_sdata | dw::DW_FORM_ref_udata => Step::SkipLeb,
                dw::DW_FORM_exprloc | dw::DW_FORM_block => Step::SkipBlock,
                _ => Step::SkipForm(form),
            },
        };
        self.steps.push(step);
    }
}

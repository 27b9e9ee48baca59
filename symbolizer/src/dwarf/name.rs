//! Where a function's name is to be found: eight bytes, of which a file has hundreds of thousands.

use super::form::{Reference, Text};

/// A place, and what kind of name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

/// What a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unknown,
    /// A string: in which section, where.
    String(Strings, u64),
    /// Another entry knows: in the file's `.debug_info`.
    Entry(u64),
    /// Another entry knows: in the supplementary file's `.debug_info`.
    SupplementaryEntry(u64),
}

/// The sections that names lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strings {
    Str,
    LineStr,
    /// The section that the value itself is in.
    Inline,
    SupplementaryStr,
    SupplementaryLineStr,
    SupplementaryInline,
}

const OFFSET_BITS: u32 = 56;
const LINKAGE: u64 = 1 << 63;
const UNKNOWN: u64 = 0;
const ENTRY: u64 = 7;
const SUPPLEMENTARY_ENTRY: u64 = 8;
const STRINGS: [Strings; 6] = [
    Strings::Str,
    Strings::LineStr,
    Strings::Inline,
    Strings::SupplementaryStr,
    Strings::SupplementaryLineStr,
    Strings::SupplementaryInline,
];

impl Name {
    pub(super) const UNKNOWN: Self = Self(UNKNOWN);

    fn new(kind: u64, offset: u64) -> Self {
        // No file has more bytes; one that says so has no name there.
        match offset >> OFFSET_BITS {
            0 => Self(kind << OFFSET_BITS | offset),
            _ => Self::UNKNOWN,
        }
    }

    /// A string of a unit whose `.debug_info` the value was read at `base` of. An index is to be looked up before.
    pub(super) fn string(text: Text, base: u64) -> Self {
        match text {
            Text::Str(offset) => Self::new(1, offset),
            Text::LineStr(offset) => Self::new(2, offset),
            Text::Inline(at) => Self::new(3, base.saturating_add(at)),
            Text::Supplementary(offset) => Self::new(4, offset),
            Text::Index(_) => Self::UNKNOWN,
        }
    }

    /// The name of another entry; `unit` is where this one's unit begins.
    pub(super) fn of(reference: Reference, unit: u64) -> Self {
        match reference {
            Reference::Unit(offset) => Self::new(ENTRY, unit.saturating_add(offset)),
            Reference::Info(offset) => Self::new(ENTRY, offset),
            Reference::Supplementary(offset) => Self::new(SUPPLEMENTARY_ENTRY, offset),
        }
    }

    /// The same as a linker's symbol: mangled.
    pub(super) fn as_linkage(self) -> Self {
        Self(self.0 | LINKAGE)
    }

    /// Tells it from others of the same file.
    pub(super) fn id(self) -> u64 {
        self.0 & !LINKAGE
    }

    pub(super) fn is_linkage(self) -> bool {
        self.0 & LINKAGE != 0
    }

    pub(super) fn is_known(self) -> bool {
        self.0 & !LINKAGE != UNKNOWN
    }

    /// What the supplementary file calls its own is seen from the file that refers to it.
    pub(super) fn seen_from_main(self) -> Self {
        let offset = self.0 & ((1 << OFFSET_BITS) - 1);
        let name = match self.place() {
            Place::Unknown | Place::SupplementaryEntry(_) => Self::UNKNOWN,
            Place::Entry(_) => Self::new(SUPPLEMENTARY_ENTRY, offset),
            Place::String(Strings::Str, _) => Self::new(4, offset),
            Place::String(Strings::LineStr, _) => Self::new(5, offset),
            Place::String(Strings::Inline, _) => Self::new(6, offset),
            Place::String(..) => Self::UNKNOWN,
        };
        Self(name.0 | (self.0 & LINKAGE))
    }

    pub(super) fn place(self) -> Place {
        let offset = self.0 & ((1 << OFFSET_BITS) - 1);
        match (self.0 & !LINKAGE) >> OFFSET_BITS {
            kind @ 1..=6 => Place::String(STRINGS[kind as usize - 1], offset),
            ENTRY => Place::Entry(offset),
            SUPPLEMENTARY_ENTRY => Place::SupplementaryEntry(offset),
            _ => Place::Unknown,
        }
    }
}

//! Walks over entries (DWARF 5, section 7.5.2): stops at those that somebody wants, and goes past the others as fast as it can.

use super::{
    abbreviations::{Abbreviation, Abbreviations, Kind},
    cursor::Cursor,
};

/// A place among the entries of a unit.
pub(super) struct Entries<'a> {
    abbreviations: &'a Abbreviations,
    cursor: Cursor<'a>,
    /// How many entries are gone into.
    depth: u32,
    /// Where the bytes begin, from the unit's header on.
    start: u64,
}

/// Why the walk stops.
pub(super) enum Event<'a> {
    /// At an entry, that begins there: behind its code, before its values.
    Entry(usize, &'a Abbreviation),
    /// Behind the last one of the entries within another one.
    Closed,
    /// At the end of the bytes.
    End,
}

impl<'a> Entries<'a> {
    /// From where the cursor stands on; its first byte is so many bytes behind the unit's header.
    pub(super) fn new(abbreviations: &'a Abbreviations, cursor: Cursor<'a>, start: u64) -> Self {
        Self {
            abbreviations,
            cursor,
            depth: 0,
            start,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.cursor.at()
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    pub(super) fn cursor(&mut self) -> &mut Cursor<'a> {
        &mut self.cursor
    }

    /// Goes on to the next entry of a kind that is wanted, or out to the depth `floor`. What is within an entry of a kind that may be
    /// jumped over is not looked at, if the entry says where it ends. `None` when there is no whole entry.
    #[inline]
    pub(super) fn next(
        &mut self,
        floor: u32,
        is_wanted: impl Fn(Kind) -> bool,
        may_jump: impl Fn(Kind) -> bool,
    ) -> Option<Event<'a>> {
        let abbreviations = self.abbreviations;
        let mut cursor = self.cursor;
        let mut depth = self.depth;
        let event = loop {
            if cursor.is_at_end() {
                break Event::End;
            }
            let at = cursor.at();
            let code = cursor.uleb()?;
            if code == 0 {
                depth = depth.saturating_sub(1);
                if depth <= floor {
                    break Event::Closed;
                }
                continue;
            }
            let entry = abbreviations.get(code)?;
            if is_wanted(entry.kind) {
                break Event::Entry(at, entry);
            }
            if !entry.has_children {
                abbreviations.skip(entry, &mut cursor)?;
                continue;
            }
            if may_jump(entry.kind) {
                let sibling = abbreviations.skip_to_sibling(entry, &mut cursor)?;
                if let Some(next) = self.target(&cursor, sibling) {
                    cursor.seek(next);
                    continue;
                }
            } else {
                abbreviations.skip(entry, &mut cursor)?;
            }
            depth += 1;
        };
        (self.cursor, self.depth) = (cursor, depth);
        Some(event)
    }

    /// Goes behind what is within the entry whose values were read, if it has nothing within or its sibling is known, and returns
    /// true; or goes into it.
    pub(super) fn leave(&mut self, entry: &Abbreviation, sibling: Option<u64>) -> bool {
        if !entry.has_children {
            return true;
        }
        match self.target(&self.cursor, sibling) {
            Some(next) => {
                self.cursor.seek(next);
                true
            }
            None => {
                self.depth += 1;
                false
            }
        }
    }

    /// A sibling that leads backwards, or out of the bytes, is not followed.
    fn target(&self, cursor: &Cursor<'_>, sibling: Option<u64>) -> Option<usize> {
        let next = usize::try_from(sibling?.checked_sub(self.start)?).ok()?;
        (next > cursor.at() && next <= cursor.end()).then_some(next)
    }
}

//! The functions of a unit: one pass over its entries that goes into no function's body.

use std::sync::OnceLock;

use super::{
    abbreviations::{Abbreviation, Abbreviations, Kind},
    body::Body,
    context::{Allowance, Context},
    cursor::Cursor,
    entries::{Entries, Event},
    entry::Entry,
    name::Name,
    spans::{Painter, Spans},
};
use crate::Error;

/// Which function an address is in.
#[derive(Debug)]
pub(super) struct Functions {
    /// What the addresses in `spans` are counted from.
    base: u64,
    spans: Spans<u32>,
    all: Vec<Function>,
    /// What is inlined in each, when it was asked for.
    pub(super) bodies: Vec<OnceLock<Body>>,
    /// The entries that inlined calls refer to, by their offset in the unit, and their names.
    origins: Vec<u32>,
    origin_names: Vec<Name>,
}

/// A function with code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) name: Name,
    /// Its lowest address.
    pub(super) low: u64,
    /// Where its entry begins, and where its body ends, from the unit's header on.
    pub(super) start: u32,
    pub(super) end: u32,
}

/// How far the pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Over the entries that say where the next one is, as GCC's do: namespaces only are gone into.
    Shallow,
    /// Into everything: functions within functions, and within types.
    Deep,
}

/// What compilers align functions to. A gap before such an address that is smaller is padding; in another one there may be a function
/// that lies within another one's entry.
const ALIGNMENT: u64 = 16;
/// How many ranges the functions of one unit may have.
const MAX_RANGES: u32 = 1 << 20;

impl Functions {
    /// Finds the functions of a unit, whose bytes these are. The painter is empty, and only to work with.
    pub(super) fn find_all(
        context: &Context,
        abbreviations: &Abbreviations,
        (unit, painter): (&[u8], &mut Painter),
        reach: Reach,
    ) -> Result<Self, Error> {
        let mut walk = Walk {
            context,
            abbreviations,
            unit: Cursor::new(unit, context.endian()),
            allowance: Allowance(MAX_RANGES),
            painter,
            all: Vec::new(),
            origins: Vec::new(),
            origin_names: Vec::new(),
            open: Vec::new(),
        };
        walk.run(reach)?;
        let base = walk.painter.lowest().unwrap_or(0);
        let bodies = walk.all.iter().map(|_| OnceLock::new()).collect();
        walk.all.shrink_to_fit();
        walk.origins.shrink_to_fit();
        walk.origin_names.shrink_to_fit();
        Ok(Self {
            base,
            spans: walk
                .painter
                .flatten(|address| u32::try_from(address - base).ok()),
            all: walk.all,
            bodies,
            origins: walk.origins,
            origin_names: walk.origin_names,
        })
    }

    /// The number of the function that an address is in.
    pub(super) fn find(&self, address: u64) -> Option<usize> {
        let at = u32::try_from(address.checked_sub(self.base)?).ok()?;
        self.spans.find(at).map(|index| index as usize)
    }

    pub(super) fn get(&self, index: usize) -> &Function {
        &self.all[index]
    }

    /// Whether there may be a function at an address that a shallow pass did not find.
    pub(super) fn may_miss(&self, address: u64) -> bool {
        let Some(Ok(at)) = address.checked_sub(self.base).map(u32::try_from) else {
            return true;
        };
        match self.spans.gap(at) {
            None => false,
            Some((Some(start), Some(end))) => {
                let (length, end) = (u64::from(end - start), self.base + u64::from(end));
                length >= ALIGNMENT || end % ALIGNMENT != 0
            }
            Some(_) => true,
        }
    }

    /// The name of an entry that inlined calls refer to.
    pub(super) fn origin(&self, offset: u64) -> Option<Name> {
        let offset = u32::try_from(offset).ok()?;
        let at = self.origins.binary_search(&offset).ok()?;
        Some(self.origin_names[at])
    }

    /// Bytes of memory that this takes, without the bodies' own.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.spans.bytes()
            + self.all.capacity() * size_of::<Function>()
            + self.bodies.capacity() * size_of::<OnceLock<Body>>()
            + self.origins.capacity() * size_of::<u32>()
            + self.origin_names.capacity() * size_of::<Name>()
    }
}

struct Walk<'a> {
    context: &'a Context,
    abbreviations: &'a Abbreviations,
    unit: Cursor<'a>,
    allowance: Allowance,
    painter: &'a mut Painter,
    all: Vec<Function>,
    origins: Vec<u32>,
    origin_names: Vec<Name>,
    /// Functions whose end is not known yet, and how deep they lie.
    open: Vec<(u32, usize)>,
}

impl Walk<'_> {
    fn run(&mut self, reach: Reach) -> Result<(), Error> {
        let is_shallow = reach == Reach::Shallow;
        let mut cursor = self.unit;
        cursor.seek(usize::from(self.context.header.root));
        let mut entries = Entries::new(self.abbreviations, cursor, 0);
        loop {
            let floor = self.open.last().map_or(0, |&(depth, _)| depth);
            let may_jump = |kind| is_shallow && !matches!(kind, Kind::Unit | Kind::Scope);
            let event = entries.next(floor, |kind| kind == Kind::Function, may_jump);
            match event.ok_or_else(|| self.malformed(entries.at()))? {
                Event::Entry(start, abbreviation) => {
                    let number = self.all.len();
                    let sibling = self.function(start, abbreviation, entries.cursor())?;
                    let depth = entries.depth();
                    let is_behind = entries.leave(abbreviation, sibling.filter(|_| is_shallow));
                    if is_behind {
                        self.end(number, entries.at());
                    } else if number < self.all.len() {
                        self.open.push((depth, number));
                    }
                }
                Event::Closed => {
                    self.close(entries.depth(), entries.at());
                    if entries.depth() == 0 {
                        return Ok(());
                    }
                }
                Event::End => {
                    self.close(0, entries.at());
                    return Ok(());
                }
            }
        }
    }

    /// Says where the function with a number ends, if the last entry was one.
    fn end(&mut self, number: usize, end: usize) {
        if let Some(function) = self.all.get_mut(number) {
            function.end = end as u32;
        }
    }

    fn close(&mut self, depth: u32, end: usize) {
        while let Some((_, number)) = self.open.pop_if(|(at, _)| *at >= depth) {
            self.end(number, end);
        }
    }

    /// Reads a function's entry; what is returned is its sibling.
    fn function(
        &mut self,
        start: usize,
        abbreviation: &Abbreviation,
        cursor: &mut Cursor<'_>,
    ) -> Result<Option<u64>, Error> {
        let entry = Entry::read(self.abbreviations, abbreviation, cursor)
            .ok_or_else(|| self.malformed(start))?;
        if entry.is_abstract {
            let name = entry.name(self.context, self.abbreviations, self.unit)?;
            self.origins.push(start as u32);
            self.origin_names.push(name);
        } else if entry.has_code() {
            let number = self.all.len() as u32;
            let painter = &mut *self.painter;
            let mut lowest = u64::MAX;
            self.context
                .ranges(entry.code, &mut self.allowance, |low, high| {
                    lowest = lowest.min(low);
                    painter.paint(low, high, number);
                })?;
            if lowest < u64::MAX {
                self.all.push(Function {
                    name: entry.name(self.context, self.abbreviations, self.unit)?,
                    low: lowest,
                    start: start as u32,
                    end: start as u32,
                });
            }
        }
        Ok(entry.sibling)
    }

    fn malformed(&self, at: usize) -> Error {
        let at = self.context.header.offset + at as u64;
        let info = &self.context.file.info;
        info.malformed(format!("from {at:#x} on there is no whole entry"))
    }
}

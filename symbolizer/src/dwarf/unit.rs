//! One unit, and what was read of it so far.

use std::sync::{Arc, OnceLock};

use super::{
    body::Body,
    context::Context,
    cursor::Cursor,
    entry::Entry,
    file::Table,
    functions::{Functions, Reach},
    lines::Lines,
    meter::{Charge, Meter},
    name::{Name, Place},
    scratch::Reading,
};
use crate::Error;

/// A unit. Each part is read when it is first asked for; all go together.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) context: Context,
    table: Arc<Table>,
    shallow: OnceLock<Functions>,
    deep: OnceLock<Functions>,
    lines: OnceLock<Option<Lines>>,
    /// The unit that this one's entries were split off to, when this is a skeleton and it was found.
    pub(super) split: OnceLock<Option<Box<Unit>>>,
    charge: Charge,
}

/// How much is read to find one entry; the next try takes sixteen times as much.
const ENTRY_AT_FIRST: u64 = 256;

impl Unit {
    pub(super) fn new(context: Context, table: Arc<Table>, meter: &Meter) -> Self {
        Self {
            charge: meter.charge(size_of::<Self>()),
            context,
            table,
            shallow: OnceLock::new(),
            deep: OnceLock::new(),
            lines: OnceLock::new(),
            split: OnceLock::new(),
        }
    }

    /// Counts memory that goes with the unit.
    pub(super) fn holds(&self, bytes: usize) {
        self.charge.add(bytes);
    }

    /// The functions among which the one at an address is, and its number. `number` is the unit's.
    pub(super) fn function(
        &self,
        address: u64,
        number: u32,
        reading: &mut Reading<'_>,
    ) -> Result<Option<(&Functions, usize)>, Error> {
        let functions = self.functions(&self.shallow, Reach::Shallow, number, reading)?;
        if let Some(index) = functions.find(address) {
            return Ok(Some((functions, index)));
        }
        if !functions.may_miss(address) {
            return Ok(None);
        }
        let functions = self.functions(&self.deep, Reach::Deep, number, reading)?;
        Ok(functions.find(address).map(|index| (functions, index)))
    }

    fn functions<'a>(
        &'a self,
        slot: &'a OnceLock<Functions>,
        reach: Reach,
        number: u32,
        reading: &mut Reading<'_>,
    ) -> Result<&'a Functions, Error> {
        if let Some(functions) = slot.get() {
            return Ok(functions);
        }
        let header = &self.context.header;
        if u32::try_from(header.length).is_err() {
            let why = format!(
                "the unit at {:#x} has {} bytes",
                header.offset, header.length
            );
            return Err(self.context.file.info.malformed(why));
        }
        let (bytes, painter, _) = reading.whole(number, &self.context)?;
        let found = Functions::find_all(
            &self.context,
            &self.table.abbreviations,
            (bytes, painter),
            reach,
        )?;
        Ok(self.keep(slot, found, Functions::bytes))
    }

    /// What is inlined in a function. `number` is the unit's.
    pub(super) fn body<'a>(
        &'a self,
        functions: &'a Functions,
        index: usize,
        number: u32,
        reading: &mut Reading<'_>,
    ) -> Result<&'a Body, Error> {
        let slot = &functions.bodies[index];
        if let Some(body) = slot.get() {
            return Ok(body);
        }
        let function = functions.get(index);
        let part = function.start..function.end;
        let body = Body::read(
            &self.context,
            &self.table.abbreviations,
            functions,
            function,
            reading.part(number, &self.context, part)?,
        )?;
        Ok(self.keep(slot, body, Body::bytes))
    }

    /// The line table.
    pub(super) fn lines(&self) -> Result<Option<&Lines>, Error> {
        if let Some(lines) = self.lines.get() {
            return Ok(lines.as_ref());
        }
        let lines = Lines::read(&self.context)?;
        let bytes = |lines: &Option<Lines>| lines.as_ref().map_or(0, Lines::bytes);
        Ok(self.keep(&self.lines, lines, bytes).as_ref())
    }

    /// The better one of a name and that of the function's entry at an offset of `.debug_info`, and the entry that may know more.
    /// `None` when it is not a function's, or not of this unit.
    pub(super) fn step(
        &self,
        offset: u64,
        best: Name,
    ) -> Result<Option<(Name, Option<Name>)>, Error> {
        let start = self.context.header.offset;
        let known = self.shallow.get();
        if let Some(name) = known.and_then(|known| known.origin(offset.checked_sub(start)?)) {
            return Ok(Some(match name.place() {
                Place::String(..) if name.is_linkage() || !best.is_known() => (name, None),
                Place::String(..) | Place::Unknown => (best, None),
                Place::Entry(_) | Place::SupplementaryEntry(_) => (best, Some(name)),
            }));
        }
        let Some(entry) = self.entry(offset)? else {
            return Ok(None);
        };
        let best = entry.better(best, &self.context)?;
        Ok(Some((best, entry.origin.map(|to| Name::of(to, start)))))
    }

    /// The function's entry at an offset of `.debug_info`, if it is one of this unit's.
    fn entry(&self, offset: u64) -> Result<Option<Entry>, Error> {
        let header = &self.context.header;
        let left = (header.offset + header.length).saturating_sub(offset);
        if offset < header.offset + u64::from(header.root) {
            return Ok(None);
        }
        let info = &self.context.file.info;
        let mut work = self.context.file.scratch.borrow();
        let mut wanted = ENTRY_AT_FIRST;
        loop {
            let length = wanted.min(left);
            let bytes = work.bytes(info.within_limit(length)?);
            info.read(offset, bytes)?;
            let mut cursor = Cursor::new(bytes, self.context.endian());
            match Entry::read_function(&self.table.abbreviations, &mut cursor) {
                Some(entry) => return Ok(Some(entry.moved(offset - header.offset))),
                None if length == left => return Ok(None),
                None => wanted *= 16,
            }
        }
    }

    /// Keeps what was read, unless somebody else did meanwhile.
    fn keep<'a, T>(
        &self,
        slot: &'a OnceLock<T>,
        value: T,
        bytes: impl FnOnce(&T) -> usize,
    ) -> &'a T {
        let mut is_mine = false;
        let kept = slot.get_or_init(|| {
            is_mine = true;
            value
        });
        if is_mine {
            self.charge.add(bytes(kept));
        }
        kept
    }
}

//! Looks up one address after the other. What one leaves is there for the next, which mostly asks for the same unit: whoever has many
//! addresses asks for them in order.

use std::sync::{Arc, PoisonError};

use super::{
    Dwarf, DwarfFrame, DwarfText,
    entry::MAX_HOPS,
    name::{Name, Place},
    scratch::Reading,
    unit::Unit,
};
use crate::Error;

/// The way through the units of one file. It holds the unit that was asked last.
pub(crate) struct Visit<'d> {
    dwarf: &'d Dwarf,
    unit: Option<(u32, Arc<Unit>)>,
    reading: Reading<'d>,
}

/// Whose names are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    All,
    /// Those of inlined functions: that of the function that the code lies in is known from elsewhere.
    Inlined,
}

impl<'d> Visit<'d> {
    pub(super) fn new(dwarf: &'d Dwarf) -> Self {
        Self {
            dwarf,
            unit: None,
            reading: Reading::new(&dwarf.units.file.scratch),
        }
    }

    /// Hands out what is at an address of the file's own address space, the innermost frame first. Returns whether there was any.
    ///
    /// # Errors
    /// When a part that it takes can't be read or contradicts itself. Frames that were handed out before are right.
    pub(crate) fn frames(
        &mut self,
        address: u64,
        named: Named,
        each: &mut dyn FnMut(DwarfFrame<'_>),
    ) -> Result<bool, Error> {
        let dwarf = self.dwarf;
        let Some(index) = dwarf.index.find(address) else {
            return match dwarf.unread.error(&dwarf.units.file.info) {
                Some(error) => Err(error),
                None => Ok(false),
            };
        };
        let unit = match self.unit.take() {
            Some((held, unit)) if held == index => unit,
            _ => dwarf.units.get(index as usize)?,
        };
        let unit = &*self.unit.insert((index, unit)).1;
        let lines = unit.lines()?;
        let row = lines.and_then(|lines| lines.find(address));
        let file = |number| {
            lines
                .filter(|lines| lines.has_file(number))
                .map(|lines| DwarfText::file(index, unit, lines, number))
        };
        let mut frame = DwarfFrame {
            name: None,
            is_linkage_name: false,
            language: 0,
            file: row.and_then(|row| file(u32::from(row.file))),
            line: row.map_or(0, |row| row.line),
            column: row.map_or(0, |row| u32::from(row.column)),
            inlined: false,
        };
        let code = dwarf.code(unit)?;
        frame.language = code.context.root.language;
        let Some((functions, number)) = code.function(address, index, &mut self.reading)? else {
            if row.is_some() {
                each(frame);
            }
            return Ok(row.is_some());
        };
        let function = functions.get(number);
        let body = code.body(functions, number, index, &mut self.reading)?;
        let mut hand_out = |frame: DwarfFrame<'_>, name: Name| -> Result<(), Error> {
            let name = dwarf.resolve(code, name)?;
            each(DwarfFrame {
                name: DwarfText::name(index, code, name),
                is_linkage_name: name.is_linkage(),
                ..frame
            });
            Ok(())
        };
        let mut call = body.find(address - function.low);
        while let Some(inlined) = call {
            frame.inlined = true;
            hand_out(frame, inlined.callee)?;
            frame.file = file(inlined.file);
            frame.line = inlined.line;
            frame.column = u32::from(inlined.column);
            call = body.parent(inlined);
        }
        frame.inlined = false;
        match named {
            Named::All => hand_out(frame, function.name)?,
            Named::Inlined => each(frame),
        }
        Ok(true)
    }
}

impl Dwarf {
    /// The unit that has a unit's functions: itself, or the one that they were split off to.
    fn code<'a>(&self, unit: &'a Unit) -> Result<&'a Unit, Error> {
        if unit.context.root.dwo_name.is_none() {
            return Ok(unit);
        }
        if unit.split.get().is_none() {
            if self.split.is_full() {
                self.units.shrink(self.meter.bytes() / 2);
            }
            let split = self.split.find(&unit.context, &*self.found)?;
            // Another thread may have been as fast.
            let _ = unit.split.set(split.map(Box::new));
        }
        Ok(unit.split.get().and_then(Option::as_deref).unwrap_or(unit))
    }

    /// Where the string of a name is, when another entry knows.
    fn resolve(&self, unit: &Unit, name: Name) -> Result<Name, Error> {
        if !matches!(name.place(), Place::Entry(_) | Place::SupplementaryEntry(_)) {
            return Ok(name);
        }
        if unit.context.is_split() {
            return self.follow(unit, name);
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = names.get(&name) {
            return Ok(known);
        }
        drop(names);
        let found = self.follow(unit, name)?;
        self.names
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, found);
        Ok(found)
    }

    /// Goes from entry to entry until one has a linkage name, or no other one is left.
    fn follow(&self, split: &Unit, name: Name) -> Result<Name, Error> {
        let mut best = Name::UNKNOWN;
        let mut next = name;
        for _ in 0..MAX_HOPS {
            let step = match next.place() {
                Place::Entry(offset) if split.context.is_split() => split.step(offset, best)?,
                Place::Entry(offset) => self.units.step(offset, best)?,
                Place::SupplementaryEntry(offset) => match self.units.file.supplementary()? {
                    // What is better there is seen from here.
                    Some(other) => other.step(offset, Name::UNKNOWN)?.map(|(name, next)| {
                        let name = name.seen_from_main();
                        let is_better = !best.is_known() || name.is_linkage();
                        let name = if is_better { name } else { best };
                        (name, next.map(Name::seen_from_main))
                    }),
                    None => None,
                },
                _ => None,
            };
            let Some((name, origin)) = step else {
                break;
            };
            best = name;
            match origin {
                Some(origin) if !best.is_linkage() => next = origin,
                _ => break,
            }
        }
        Ok(best)
    }
}

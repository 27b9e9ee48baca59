//! What is inlined in a function: for each of its addresses the innermost call, and from there the way out.

use super::{
    abbreviations::{Abbreviations, Kind},
    context::{Allowance, Context},
    cursor::Cursor,
    entries::{Entries, Event},
    entry::Entry,
    form::Reference,
    functions::{Function, Functions},
    name::Name,
    scratch::Parts,
    spans::{Painter, Spans},
};
use crate::Error;

/// The calls that were inlined in a function.
#[derive(Debug)]
pub(super) struct Body {
    /// By addresses from the function's lowest one on.
    spans: Spans<u32>,
    calls: Box<[Call]>,
}

/// One inlined call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// The function that was inlined.
    pub(super) callee: Name,
    /// The call that this one lies in; `NO_CALL` for the function itself.
    pub(super) parent: u32,
    /// Where it is called from.
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) column: u16,
}

pub(super) const NO_CALL: u32 = u32::MAX;
/// How many ranges the calls of one function may have.
const MAX_RANGES: u32 = 1 << 20;
/// How many calls are inlined in one function at most.
const MAX_CALLS: usize = 1 << 20;
/// How deep inlined calls lie within one another at most. Who walks out of a deeper one would do so again for each address.
const MAX_DEPTH: usize = 512;

impl Body {
    /// Reads a function's body, whose bytes these are, from its own entry on. The other two are empty, and only to work with.
    pub(super) fn read(
        context: &Context,
        abbreviations: &Abbreviations,
        functions: &Functions,
        function: &Function,
        (bytes, painter, calls): Parts<'_>,
    ) -> Result<Self, Error> {
        let mut walk = Walk {
            context,
            abbreviations,
            functions,
            allowance: Allowance(MAX_RANGES),
            painter,
            calls,
            parents: Vec::new(),
            start: context.header.offset + u64::from(function.start),
            unit: context.header.offset,
        };
        walk.run(Cursor::new(bytes, context.endian()))?;
        let low = function.low;
        Ok(Self {
            spans: walk.painter.flatten(|address| {
                address
                    .checked_sub(low)
                    .and_then(|address| u32::try_from(address).ok())
            }),
            calls: walk.calls.as_slice().into(),
        })
    }

    /// The innermost call at an address, counted from the function's lowest one.
    pub(super) fn find(&self, address: u64) -> Option<&Call> {
        let index = self.spans.find(u32::try_from(address).ok()?)?;
        self.calls.get(index as usize)
    }

    /// The call that another one lies in.
    pub(super) fn parent(&self, call: &Call) -> Option<&Call> {
        self.calls.get(call.parent as usize)
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        self.spans.bytes() + self.calls.len() * size_of::<Call>()
    }
}

struct Walk<'a> {
    context: &'a Context,
    abbreviations: &'a Abbreviations,
    functions: &'a Functions,
    allowance: Allowance,
    painter: &'a mut Painter,
    calls: &'a mut Vec<Call>,
    /// The calls that are gone into, and how deep they lie.
    parents: Vec<(u32, u32)>,
    /// Where the bytes, and where the unit begin in `.debug_info`.
    start: u64,
    unit: u64,
}

impl Walk<'_> {
    fn run(&mut self, cursor: Cursor<'_>) -> Result<(), Error> {
        let abbreviations = self.abbreviations;
        let mut entries = Entries::new(abbreviations, cursor, self.start - self.unit);
        // How deep the function lies that is within this one, and has its own body.
        let mut other: Option<u32> = None;
        loop {
            let parent = self.parents.last().map_or(0, |&(depth, _)| depth);
            let floor = other.unwrap_or(0).max(parent);
            let is_wanted = |kind| matches!(kind, Kind::Inlined | Kind::Function);
            let event = entries.next(floor, is_wanted, |kind| kind == Kind::Other);
            match event.ok_or_else(|| self.malformed(entries.at()))? {
                Event::Entry(at, abbreviation) if abbreviation.kind == Kind::Inlined => {
                    let entry = Entry::read(abbreviations, abbreviation, entries.cursor())
                        .ok_or_else(|| self.malformed(at))?;
                    let depth = entries.depth();
                    let is_behind = entries.leave(abbreviation, None);
                    if other.is_none() {
                        let number = self.call(&entry)?;
                        if !is_behind && self.parents.len() < MAX_DEPTH {
                            self.parents.push((depth, number));
                        }
                    }
                }
                Event::Entry(at, abbreviation) => {
                    abbreviations
                        .skip(abbreviation, entries.cursor())
                        .ok_or_else(|| self.malformed(at))?;
                    let depth = entries.depth();
                    let is_behind = entries.leave(abbreviation, None);
                    if at > 0 && !is_behind {
                        other.get_or_insert(depth);
                    } else if at == 0 && is_behind {
                        return Ok(());
                    }
                }
                Event::Closed => {
                    let depth = entries.depth();
                    self.parents.pop_if(|(deep, _)| *deep >= depth);
                    other = other.filter(|&deep| deep < depth);
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Event::End => return Ok(()),
            }
        }
    }

    fn call(&mut self, entry: &Entry) -> Result<u32, Error> {
        if self.calls.len() == MAX_CALLS {
            let info = &self.context.file.info;
            let why = format!(
                "more than {MAX_CALLS} inlined calls in the entry at {:#x}",
                self.start
            );
            return Err(info.malformed(why));
        }
        let number = self.calls.len() as u32;
        let callee = match entry.origin {
            Some(Reference::Unit(offset)) => self.functions.origin(offset),
            _ => None,
        };
        let elsewhere = || {
            entry
                .origin
                .map_or(Name::UNKNOWN, |origin| Name::of(origin, self.unit))
        };
        self.calls.push(Call {
            callee: callee.unwrap_or_else(elsewhere),
            parent: self.parents.last().map_or(NO_CALL, |&(_, number)| number),
            file: entry.call_file,
            line: entry.call_line,
            column: u16::try_from(entry.call_column).unwrap_or(0),
        });
        let painter = &mut *self.painter;
        self.context
            .ranges(entry.code, &mut self.allowance, |low, high| {
                painter.paint(low, high, number);
            })?;
        Ok(number)
    }

    fn malformed(&self, at: usize) -> Error {
        let at = self.start + at as u64;
        self.context
            .file
            .info
            .malformed(format!("from {at:#x} on there is no whole entry"))
    }
}

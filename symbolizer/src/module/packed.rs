//! Frames in twenty bytes each, as they are kept: a program's answers are many, and its names and files are few. Answers that follow one
//! another in the order of addresses mostly differ in their innermost frame, and share the others.

use super::pool::Pool;
use crate::{Frame, Frames, Name, Source, SourceFile};

/// Kept frames, and the names and files in them.
#[derive(Debug, Default)]
pub(super) struct Packed {
    frames: Vec<PackedFrame>,
    names: Pool<Name>,
    files: Pool<SourceFile>,
    /// The frames of what was kept last, the outermost first.
    last: Vec<u32>,
}

/// Where an answer's innermost frame is, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Span {
    first: u32,
    count: u32,
}

impl Span {
    pub(super) fn has_several(self) -> bool {
        self.count > 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedFrame {
    name: u32,
    file: u32,
    line: u32,
    /// In the lowest byte whether it is inlined and its source, above it the column.
    rest: u32,
    /// The frame that it is inlined into.
    outer: u32,
}

/// The number of no name, no file and no frame.
const NONE: u32 = u32::MAX;
const NOTHING: PackedFrame = PackedFrame {
    name: NONE,
    file: NONE,
    line: 0,
    rest: 0,
    outer: NONE,
};
const SOURCES: [Source; 9] = [
    Source::Dwarf,
    Source::SymbolTable,
    Source::DynamicSymbols,
    Source::MiniDebugInfo,
    Source::Plt,
    Source::Go,
    Source::Kallsyms,
    Source::PerfMap,
    Source::JitDump,
];

impl Packed {
    /// Keeps the frames of an answer. None when they can't be: a column is larger than any line's, or there are too many.
    pub(super) fn keep(&mut self, frames: &[Frame]) -> Option<Span> {
        let mut outer = NONE;
        for (depth, frame) in frames.iter().rev().enumerate() {
            let packed = self.pack(frame, outer)?;
            outer = match self.last.get(depth) {
                Some(&last) if self.frames.get(last as usize) == Some(&packed) => last,
                _ => {
                    let number = u32::try_from(self.frames.len()).ok()?;
                    self.frames.push(packed);
                    self.last.truncate(depth);
                    self.last.push(number);
                    number
                }
            };
        }
        self.last.truncate(frames.len());
        Some(Span {
            first: outer,
            count: u32::try_from(frames.len()).ok()?,
        })
    }

    fn pack(&mut self, frame: &Frame, outer: u32) -> Option<PackedFrame> {
        let name = match &frame.name {
            Some(name) => self.names.number(name)?,
            None => NONE,
        };
        let file = match &frame.file {
            Some(file) => self.files.number(file)?,
            None => NONE,
        };
        let column = frame.column.checked_mul(1 << u8::BITS)?;
        Some(PackedFrame {
            name,
            file,
            line: frame.line,
            rest: column | (frame.source as u32) << 1 | u32::from(frame.inlined),
            outer,
        })
    }

    /// The frames of an answer that was kept.
    pub(super) fn frames(&self, span: Span) -> Frames {
        let mut next = span.first;
        Frames::new((0..span.count as usize).map(|_| {
            let frame = self.frames.get(next as usize).copied().unwrap_or(NOTHING);
            next = frame.outer;
            Frame {
                name: self.names.get(frame.name).cloned(),
                file: self.files.get(frame.file).cloned(),
                line: frame.line,
                column: frame.rest >> u8::BITS,
                inlined: frame.rest & 1 != 0,
                source: SOURCES[(frame.rest as u8 >> 1) as usize % SOURCES.len()],
            }
        }))
    }

    /// Bytes of memory, less what names and files take.
    pub(super) fn bytes(&self) -> usize {
        self.frames.capacity() * size_of::<PackedFrame>()
            + self.last.capacity() * size_of::<u32>()
            + self.names.bytes()
            + self.files.bytes()
    }
}

#[cfg(test)]
mod tests;

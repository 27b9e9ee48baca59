//! Code that a compiler made while the program ran: what is at an address now.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Name, SourceFile, frame::Numbered as _};

/// Functions by address. What comes later stands where something stood before: a compiler uses memory again.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_start: BTreeMap<u64, Code>,
    bytes: usize,
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) end: u64,
    pub(crate) name: Name,
    /// None where lines are not known.
    pub(crate) lines: Option<Arc<Lines>>,
    /// How far it was moved since its lines were written.
    pub(crate) moved: u64,
}

/// The lines of a function, by address.
#[derive(Debug)]
pub(crate) struct Lines {
    all: Box<[Line]>,
    bytes: usize,
}

/// From an address on, which line the code is of.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) address: u64,
    pub(crate) file: SourceFile,
    pub(crate) line: u32,
}

/// What a node of the tree takes, and the heads of what it points to.
const NODE: usize = 2 * size_of::<(u64, Code)>();

impl Codes {
    /// Puts a function at `start`, and takes away what it covers of others.
    pub(crate) fn insert(&mut self, start: u64, code: Code) {
        let end = code.end;
        if start >= end {
            return;
        }
        // What begins before and reaches into it keeps its beginning and, beyond it, its end.
        if let Some((_, before)) = self.by_start.range_mut(..start).next_back()
            && before.end > start
        {
            let behind = before.end;
            let rest = (behind > end).then(|| before.clone());
            before.end = start;
            if let Some(rest) = rest {
                self.put(end, rest);
            }
        }
        while let Some((&covered, _)) = self.by_start.range(start..end).next() {
            let Some(old) = self.by_start.remove(&covered) else {
                break;
            };
            self.bytes -= bytes(&old);
            if old.end > end {
                self.put(end, old);
            }
        }
        self.put(start, code);
    }

    /// The function at an address.
    pub(crate) fn find(&self, address: u64) -> Option<&Code> {
        let (_, code) = self.by_start.range(..=address).next_back()?;
        (address < code.end).then_some(code)
    }

    /// Takes the function away that begins at `start`.
    pub(crate) fn remove(&mut self, start: u64) -> Option<Code> {
        let code = self.by_start.remove(&start)?;
        self.bytes -= bytes(&code);
        Some(code)
    }

    /// Bytes of memory, those that parts of one function share counted for each.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn put(&mut self, start: u64, code: Code) {
        self.bytes += bytes(&code);
        if let Some(old) = self.by_start.insert(start, code) {
            self.bytes -= bytes(&old);
        }
    }
}

impl Code {
    /// The line at an address.
    pub(crate) fn line(&self, address: u64) -> Option<&Line> {
        let lines = &self.lines.as_ref()?.all;
        let written = address.wrapping_sub(self.moved);
        let behind = lines.partition_point(|line| line.address <= written);
        lines.get(behind.checked_sub(1)?)
    }
}

impl Lines {
    pub(crate) fn new(mut all: Vec<Line>) -> Self {
        all.sort_by_key(|line| line.address);
        let names_another = |index: usize| index == 0 || !all[index].file.is(&all[index - 1].file);
        let files = (0..all.len()).filter(|&index| names_another(index));
        let files: usize = files.map(|index| all[index].file.bytes()).sum();
        Self {
            bytes: size_of::<Self>() + size_of_val(&*all) + files,
            all: all.into(),
        }
    }

    /// Bytes of memory, those of a file counted wherever the lines come back to it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes(code: &Code) -> usize {
    let lines = code.lines.as_ref().map_or(0, |lines| lines.bytes());
    NODE + code.name.bytes() + lines
}

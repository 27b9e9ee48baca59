//! Code that a compiler made while the program ran: what is at an address now.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Name, SourceFile};

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
    /// By address; empty where lines are not known.
    pub(crate) lines: Arc<[Line]>,
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
        let behind = self.lines.partition_point(|line| line.address <= address);
        self.lines.get(behind.checked_sub(1)?)
    }
}

fn bytes(code: &Code) -> usize {
    NODE + code.name.bytes() + size_of_val(&*code.lines)
}

//! What was answered before, and texts that many answers share.

use foldhash::{HashMap, HashSet};

use super::{
    memo::Memo,
    packed::{Packed, Span},
};
use crate::{Frames, Gear, Name, SourceFile, dwarf::TextId};

/// Answers of one module.
#[derive(Default)]
pub(super) struct Answers {
    names: HashMap<u64, Span>,
    lines: HashMap<u64, Span>,
    symbols: HashMap<SymbolKey, Span>,
    packed: Packed,
    /// Answers of several frames that were asked for again of late: whoever asks once more shares them.
    again: Memo<Span, Frames>,
    dwarf_names: HashMap<TextId, Name>,
    dwarf_files: HashMap<TextId, SourceFile>,
    files: HashSet<SourceFile>,
    /// Source files of symbols, by where their names are.
    symbol_files: HashMap<SymbolKey, SourceFile>,
    /// What keys and values point to.
    texts: usize,
}

/// Names a symbol: which table, and which name in it.
pub(super) type SymbolKey = (u8, u32);

impl Answers {
    pub(super) fn known(&mut self, gear: Gear, address: u64) -> Option<Frames> {
        let answers = match gear {
            Gear::Names => &self.names,
            Gear::Lines => &self.lines,
        };
        let answer = *answers.get(&address)?;
        Some(if answer.has_several() {
            let packed = &self.packed;
            self.again.get_or(answer, || packed.frames(answer))
        } else {
            self.packed.frames(answer)
        })
    }

    /// Makes room for so many more answers at once: a table that grows is filled anew each time.
    pub(super) fn expect(&mut self, gear: Gear, count: usize) {
        match gear {
            Gear::Names => self.names.reserve(count),
            Gear::Lines => self.lines.reserve(count),
        }
    }

    pub(super) fn keep(&mut self, gear: Gear, address: u64, frames: &Frames) {
        let Some(answer) = self.packed.keep(frames) else {
            return;
        };
        let answers = match gear {
            Gear::Names => &mut self.names,
            Gear::Lines => &mut self.lines,
        };
        answers.insert(address, answer);
    }

    pub(super) fn symbol(&self, key: SymbolKey) -> Option<Frames> {
        self.symbols
            .get(&key)
            .map(|&answer| self.packed.frames(answer))
    }

    pub(super) fn keep_symbol(&mut self, key: SymbolKey, frames: &Frames) {
        if let Some(answer) = self.packed.keep(frames)
            && self.symbols.insert(key, answer).is_none()
        {
            let names = frames.iter().filter_map(|frame| frame.name.as_ref());
            self.texts += names.map(Name::bytes).sum::<usize>();
        }
    }

    /// The name that debug information has as a text, if it was read before.
    pub(super) fn name(&self, id: TextId) -> Option<Name> {
        self.dwarf_names.get(&id).cloned()
    }

    /// Keeps a name, unless another thread was as fast; what is returned is the one that is kept.
    pub(super) fn keep_name(&mut self, id: TextId, name: Name) -> Name {
        let texts = &mut self.texts;
        let kept = self.dwarf_names.entry(id).or_insert_with(|| {
            *texts += name.bytes();
            name
        });
        kept.clone()
    }

    /// The path that debug information has as a text, if it was read before.
    pub(super) fn path(&self, id: TextId) -> Option<SourceFile> {
        self.dwarf_files.get(&id).cloned()
    }

    pub(super) fn keep_path(&mut self, id: TextId, path: &str) -> SourceFile {
        // Units have the same files under numbers of their own.
        let file = self.file(path);
        self.dwarf_files.insert(id, file.clone());
        file
    }

    /// The one copy of a source file's path.
    pub(super) fn file(&mut self, path: &str) -> SourceFile {
        if let Some(file) = self.files.get(path) {
            return file.clone();
        }
        let file = SourceFile::new(path);
        self.texts += file.bytes();
        self.files.insert(file.clone());
        file
    }

    /// The source file whose name is at a place, if it was read before.
    pub(super) fn symbol_file(&self, key: SymbolKey) -> Option<SourceFile> {
        self.symbol_files.get(&key).cloned()
    }

    pub(super) fn keep_symbol_file(&mut self, key: SymbolKey, path: &str) -> SourceFile {
        let file = self.file(path);
        self.symbol_files.insert(key, file.clone());
        file
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        const ANSWER: usize = size_of::<(u64, Span)>() + 1;
        const SYMBOL: usize = size_of::<(SymbolKey, Span)>() + 1;
        const DWARF_NAME: usize = size_of::<(TextId, Name)>() + 1;
        const DWARF_FILE: usize = size_of::<(TextId, SourceFile)>() + 1;
        const FILE: usize = size_of::<SourceFile>() + 1;
        const SYMBOL_FILE: usize = size_of::<(SymbolKey, SourceFile)>() + 1;
        // A hash table is filled to seven eighths.
        let slots = ANSWER * (self.names.capacity() + self.lines.capacity())
            + SYMBOL * self.symbols.capacity()
            + DWARF_NAME * self.dwarf_names.capacity()
            + DWARF_FILE * self.dwarf_files.capacity()
            + FILE * self.files.capacity()
            + SYMBOL_FILE * self.symbol_files.capacity();
        slots * 8 / 7 + self.packed.bytes() + self.again.bytes() + self.texts
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

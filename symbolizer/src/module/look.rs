//! A look through a file's sources for one address after the other, with what the last ones leave for the next.

use std::sync::Arc;

use super::{
    Module, Whereabouts,
    answers::{Answers, SymbolKey},
    memo::Memo,
};
use crate::{
    Error, Frame, Frames, Name, Source, SourceFile,
    debug_files::Finder,
    dwarf::{Dwarf, DwarfFrame, DwarfText, Named, TextId, Visit},
    elf::windows::Windows,
};

/// What is looked up with, and what was met last. Addresses that come in their order find most of what they need here.
pub(super) struct Look<'s> {
    pub(super) shared: Shared<'s>,
    visit: Option<Visit<'s>>,
    texts: Texts,
    symbol: Option<(SymbolKey, Frames)>,
    /// Names of the table with a number.
    symbol_names: (u8, Windows),
    frames: Vec<Frame>,
}

/// Names and files that were met last.
#[derive(Default)]
struct Texts {
    names: Memo<TextId, Name>,
    files: Memo<TextId, SourceFile>,
    windows: Windows,
}

/// What all answers of a module share: texts that are kept once, and where other files are.
#[derive(Clone, Copy)]
pub(super) struct Shared<'s> {
    pub(super) module: &'s Module,
    pub(super) finder: &'s Arc<Finder>,
}

impl<'s> Look<'s> {
    pub(super) fn new(shared: Shared<'s>) -> Self {
        Self {
            shared,
            visit: None,
            texts: Texts::default(),
            symbol: None,
            symbol_names: (0, Windows::default()),
            frames: Vec::new(),
        }
    }

    /// What DWARF says of an address. The function that the code lies in is called as `outermost` says, if that is known.
    pub(super) fn dwarf(
        &mut self,
        dwarf: &'s Dwarf,
        address: u64,
        outermost: Option<&Frame>,
    ) -> Result<&mut Vec<Frame>, Error> {
        let Self {
            shared,
            visit,
            texts,
            frames,
            ..
        } = self;
        frames.clear();
        let mut failed = None;
        let named = match outermost {
            Some(Frame { name: Some(_), .. }) => Named::Inlined,
            _ => Named::All,
        };
        visit.get_or_insert_with(|| dwarf.visit()).frames(
            address,
            named,
            &mut |frame| match texts.frame(&frame, *shared) {
                Ok(frame) => frames.push(frame),
                Err(error) => drop(failed.get_or_insert(error)),
            },
        )?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let (Some(last), Some(outermost)) = (frames.last_mut(), outermost) {
            last.name.clone_from(&outermost.name);
            if last.file.is_none() {
                last.file.clone_from(&outermost.file);
            }
        }
        Ok(frames)
    }

    /// Takes back what [`Self::dwarf`] gave, to be used again.
    pub(super) fn reuse(&mut self, frames: Vec<Frame>) {
        self.frames = frames;
    }

    /// The answer of a symbol, made if it was not before.
    pub(super) fn symbol(
        &mut self,
        key: SymbolKey,
        make: impl FnOnce(Shared<'s>, &mut Windows) -> Result<Frame, Error>,
    ) -> Result<Frames, Error> {
        if let Some((_, known)) = self.symbol.as_ref().filter(|(last, _)| *last == key) {
            return Ok(known.clone());
        }
        let known = self.shared.answers(|answers| answers.symbol(key));
        let frames = match known {
            Some(known) => known,
            None => {
                let (table, _) = key;
                if self.symbol_names.0 != table {
                    self.symbol_names = (table, Windows::default());
                }
                let frames = Frames::one(make(self.shared, &mut self.symbol_names.1)?);
                self.shared
                    .answers(|answers| answers.keep_symbol(key, &frames));
                frames
            }
        };
        self.symbol = Some((key, frames.clone()));
        Ok(frames)
    }
}

impl Texts {
    fn frame(&mut self, frame: &DwarfFrame<'_>, shared: Shared<'_>) -> Result<Frame, Error> {
        let name = match &frame.name {
            Some(text) => Some(self.name(text, frame.is_linkage_name, shared)?),
            None => None,
        };
        let file = match &frame.file {
            Some(text) => Some(self.file(text, shared)?),
            None => None,
        };
        Ok(Frame {
            // A name without letters is none, and would end an answer in llvm-symbolizer's form.
            name: name.filter(|name| !name.linkage().is_empty()),
            file,
            line: frame.line,
            column: frame.column,
            inlined: frame.inlined,
            source: Source::Dwarf,
        })
    }

    fn name(
        &mut self,
        text: &DwarfText<'_>,
        is_linkage: bool,
        shared: Shared<'_>,
    ) -> Result<Name, Error> {
        let id = text.id();
        let windows = &mut self.windows;
        self.names.get(id, || {
            if let Some(known) = shared.answers(|answers| answers.name(id)) {
                return Ok(known);
            }
            let text = text.read(windows)?;
            let name = if is_linkage {
                Name::new(text)
            } else {
                Name::readable(text)
            };
            Ok(shared.answers(|answers| answers.keep_name(id, name)))
        })
    }

    fn file(&mut self, text: &DwarfText<'_>, shared: Shared<'_>) -> Result<SourceFile, Error> {
        let id = text.id();
        let windows = &mut self.windows;
        self.files.get(id, || {
            if let Some(known) = shared.answers(|answers| answers.path(id)) {
                return Ok(known);
            }
            let path = text.read(windows)?;
            Ok(shared.answers(|answers| answers.keep_path(id, &path)))
        })
    }
}

impl Shared<'_> {
    pub(super) fn answers<T>(&self, take: impl FnOnce(&mut Answers) -> T) -> T {
        take(&mut self.module.state().answers)
    }

    pub(super) fn whereabouts(&self) -> Option<&Whereabouts> {
        self.module.0.whereabouts.as_ref()
    }
}

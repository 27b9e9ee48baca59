//! Functions that tables know by name, and the one answer for each.

use super::{
    answers::SymbolKey,
    lazy::Lazy,
    look::{Look, Shared},
};
use crate::{
    Error, Frame, Frames, Name, Source,
    debug_files::DebugFile,
    elf::{
        Elf,
        strings::Strings,
        symbols::{Symbols, Which},
        windows::Windows,
    },
    go::Pclntab,
};

/// Tell the tables of one file apart.
pub(super) const OWN: u8 = 0;
pub(super) const PACKED: u8 = 1;
pub(super) const SEPARATE: u8 = 2;
pub(super) const GO: u8 = 3;
pub(super) const DYNAMIC: u8 = 4;

/// Another file that has the symbols which this one lost.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) file: DebugFile,
    symbols: Lazy<Symbols>,
}

/// A function that a table knows.
pub(super) struct Found<'a> {
    key: SymbolKey,
    names: &'a Strings,
    /// Where its source file's name is; 0 for none.
    file: u32,
    source: Source,
}

impl Apart {
    pub(super) fn new(file: DebugFile) -> Self {
        Self {
            file,
            symbols: Lazy::default(),
        }
    }

    pub(super) fn function(
        &self,
        address: u64,
        source: Source,
        table: u8,
        look: &mut Look<'_>,
    ) -> Result<Option<Frames>, Error> {
        let DebugFile { input, elf } = &self.file;
        let symbols = self.symbols.get(|| Symbols::open(input, elf, Which::All))?;
        let Some(symbols) = symbols else {
            return Ok(None);
        };
        let found = found(symbols, elf, address, source, table)?;
        found.map(|found| symbol(&found, look)).transpose()
    }

    pub(super) fn bytes(&self) -> usize {
        self.file.elf.bytes()
            + self.file.input.bytes_held()
            + self.symbols.ready().map_or(0, Symbols::bytes)
    }
}

pub(super) fn found<'a>(
    symbols: &'a Symbols,
    elf: &Elf,
    address: u64,
    source: Source,
    table: u8,
) -> Result<Option<Found<'a>>, Error> {
    let function = symbols.find(elf, address)?;
    Ok(function.map(|function| Found {
        key: (table, function.name),
        names: &symbols.names,
        file: function.file,
        source,
    }))
}

/// The one answer for all addresses of a symbol.
pub(super) fn symbol(found: &Found<'_>, look: &mut Look<'_>) -> Result<Frames, Error> {
    look.symbol(found.key, |shared, windows| found.read(shared, windows))
}

impl Found<'_> {
    fn read(&self, shared: Shared<'_>, windows: &mut Windows) -> Result<Frame, Error> {
        let (table, name) = self.key;
        let name =
            self.names
                .with_windows(windows, name, |name| match std::str::from_utf8(name) {
                    Ok(name) => Name::new(name),
                    Err(_) => Name::new(String::from_utf8_lossy(name)),
                })?;
        let mut frame = Frame::named(name, self.source);
        if self.file != 0 {
            let key = (table, self.file);
            frame.file = match shared.answers(|answers| answers.symbol_file(key)) {
                Some(known) => Some(known),
                None => self.names.with(self.file, |file| {
                    let file = String::from_utf8_lossy(file);
                    Some(shared.answers(|answers| answers.keep_symbol_file(key, &file)))
                })?,
            };
        }
        Ok(frame)
    }
}

/// The one answer for all addresses of a function of Go's.
pub(super) fn go_symbol(table: &Pclntab, name: u32, look: &mut Look<'_>) -> Result<Frames, Error> {
    look.symbol((GO, name), |_, _| {
        Ok(Frame::named(Name::readable(table.name(name)?), Source::Go))
    })
}

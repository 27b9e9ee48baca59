//! What a file says of its addresses, in the order in which it is asked.

use super::{
    lazy::Lazy,
    look::{Look, Shared},
    symbols::{Apart, DYNAMIC, OWN, PACKED, SEPARATE, found, go_symbol, symbol},
};
use crate::{
    Error, Frame, Frames, Gear, Name, Source,
    debug_files::{beside::Beside, packed::debug_data},
    dwarf::Dwarf,
    elf::{
        Elf, Input,
        plt::Plt,
        symbols::{Symbols, Which},
    },
    go::{GoFrame, Pclntab},
};

/// All of a file that can name an address. Each part is read when the parts before it know nothing.
pub(super) struct Sources {
    input: Input,
    elf: Elf,
    /// What `elf` takes.
    headers: usize,
    symbols: Lazy<Symbols>,
    dynamic: Lazy<Symbols>,
    plt: Lazy<Plt>,
    go: Lazy<Pclntab>,
    apart: Lazy<Apart>,
    packed: Lazy<Apart>,
    dwarf: Lazy<Dwarf>,
}

/// What can be asked what it knows of an address.
#[derive(Clone, Copy)]
enum Part {
    Dwarf,
    GoLines,
    Own,
    Stub,
    GoFunction,
    Unpacked,
    Separate,
}

/// What is asked in each gear. In this order each part has more than those before, or takes longer to be read.
const LINES: &[Part] = &[
    Part::Dwarf,
    Part::GoLines,
    Part::Own,
    Part::Stub,
    Part::GoFunction,
    Part::Unpacked,
    Part::Separate,
];
const NAMES: &[Part] = LINES.split_at(2).1;

impl Sources {
    pub(super) fn open(input: Input) -> Result<Self, Error> {
        let elf = Elf::read(&input.source()?)?;
        Ok(Self {
            input,
            headers: elf.bytes(),
            elf,
            symbols: Lazy::default(),
            dynamic: Lazy::default(),
            plt: Lazy::default(),
            go: Lazy::default(),
            apart: Lazy::default(),
            packed: Lazy::default(),
            dwarf: Lazy::default(),
        })
    }

    /// What is known of an address, and the first error of a part that could have known more.
    pub(super) fn frames<'s>(
        &'s self,
        gear: Gear,
        address: u64,
        look: &mut Look<'s>,
    ) -> Result<(Frames, Option<Error>), Error> {
        let parts = match gear {
            Gear::Names => NAMES,
            Gear::Lines => LINES,
        };
        let mut failed = None;
        for part in parts {
            match self.ask(*part, address, look) {
                Ok(Some(frames)) => return Ok((frames, failed)),
                Ok(None) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Ok((Frames::default(), failed))
    }

    fn ask<'s>(
        &'s self,
        part: Part,
        address: u64,
        look: &mut Look<'s>,
    ) -> Result<Option<Frames>, Error> {
        match part {
            Part::Dwarf => self.dwarf(address, look),
            Part::GoLines => self.go_lines(address, look),
            Part::Own => self.own(address, look),
            Part::Stub => self.stub(address),
            Part::GoFunction => self.go_function(address, look),
            Part::Unpacked => self.unpacked(address, look),
            Part::Separate => self.separate(address, look),
        }
    }

    /// By DWARF: the file's own, or that of its debug file. The function that the code lies in is called as the file's own symbol table
    /// calls it, which tells apart what a compiler made of one function (`.cold`, `.part.0`), as llvm-symbolizer does.
    fn dwarf<'s>(&'s self, address: u64, look: &mut Look<'s>) -> Result<Option<Frames>, Error> {
        let Some(dwarf) = self.debug_information(&look.shared)? else {
            return Ok(None);
        };
        // What can't be read here is said where it is asked for itself.
        let symbol = self.own(address, look).ok().flatten();
        let outermost = symbol.as_ref().and_then(Frames::outermost);
        let frames = look.dwarf(dwarf, address, outermost)?;
        if frames.is_empty() {
            return Ok(None);
        }
        let mut frames = std::mem::take(frames);
        if let Some(outermost) = frames.last_mut()
            && outermost.name.is_none()
            && let Ok(Some(symbol)) = self.separate(address, look)
        {
            outermost.name = symbol.outermost().and_then(|symbol| symbol.name.clone());
        }
        let answer = Frames::new(frames.drain(..));
        look.reuse(frames);
        Ok(Some(answer))
    }

    fn debug_information(&self, shared: &Shared<'_>) -> Result<Option<&Dwarf>, Error> {
        self.dwarf.get(|| {
            let open = |input: &Input| {
                let beside = Beside::new(shared.finder, input, shared.whereabouts());
                Dwarf::open(input.sections()?, beside)
            };
            if let Some(own) = open(&self.input)? {
                return Ok(Some(own));
            }
            let apart = self.debug_file(shared)?;
            apart.map_or(Ok(None), |apart| open(&apart.file.input))
        })
    }

    fn pclntab(&self) -> Result<Option<&Pclntab>, Error> {
        self.go.get(|| Pclntab::read(&self.input, &self.elf))
    }

    fn go_lines<'s>(&'s self, address: u64, look: &mut Look<'s>) -> Result<Option<Frames>, Error> {
        let Some(table) = self.pclntab()? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        table.frames(address, |frame| found.push(frame))?;
        let mut frames = Vec::with_capacity(found.len());
        for GoFrame {
            name,
            file,
            line,
            inlined,
        } in found
        {
            let symbol = go_symbol(table, name, look)?;
            let file = file.map(|file| look.shared.answers(|answers| answers.file(&file)));
            frames.extend(symbol.iter().map(|symbol| Frame {
                file: file.clone(),
                line,
                inlined,
                ..symbol.clone()
            }));
        }
        Ok((!frames.is_empty()).then(|| Frames::new(frames.into_iter())))
    }

    fn go_function<'s>(
        &'s self,
        address: u64,
        look: &mut Look<'s>,
    ) -> Result<Option<Frames>, Error> {
        let Some(table) = self.pclntab()? else {
            return Ok(None);
        };
        let name = table.function(address)?;
        name.map(|name| go_symbol(table, name, look)).transpose()
    }

    /// By the file's own tables: a file that has `.symtab` has all of `.dynsym` in it.
    fn own<'s>(&'s self, address: u64, look: &mut Look<'s>) -> Result<Option<Frames>, Error> {
        if let Some(symbols) = self.symbol_table()? {
            let found = found(symbols, &self.elf, address, Source::SymbolTable, OWN)?;
            if found.is_some() || !symbols.is_empty() {
                return found.map(|found| symbol(&found, look)).transpose();
            }
        }
        let symbols = self
            .dynamic
            .get(|| Symbols::open(&self.input, &self.elf, Which::Dynamic))?;
        let Some(symbols) = symbols else {
            return Ok(None);
        };
        let found = found(symbols, &self.elf, address, Source::DynamicSymbols, DYNAMIC)?;
        found.map(|found| symbol(&found, look)).transpose()
    }

    fn unpacked<'s>(&'s self, address: u64, look: &mut Look<'s>) -> Result<Option<Frames>, Error> {
        let apart = self.packed.get(|| {
            let file = debug_data(&self.input, &self.elf)?;
            Ok(file.map(Apart::new))
        })?;
        apart.map_or(Ok(None), |apart| {
            apart.function(address, Source::MiniDebugInfo, PACKED, look)
        })
    }

    fn separate<'s>(&'s self, address: u64, look: &mut Look<'s>) -> Result<Option<Frames>, Error> {
        self.debug_file(&look.shared)?.map_or(Ok(None), |apart| {
            apart.function(address, Source::SymbolTable, SEPARATE, look)
        })
    }

    fn debug_file(&self, shared: &Shared<'_>) -> Result<Option<&Apart>, Error> {
        self.apart.get(|| {
            let whereabouts = shared.whereabouts();
            let file = shared
                .finder
                .debug_file(&self.input, &self.elf, whereabouts)?;
            Ok(file.map(Apart::new))
        })
    }

    fn symbol_table(&self) -> Result<Option<&Symbols>, Error> {
        self.symbols
            .get(|| Symbols::open(&self.input, &self.elf, Which::All))
    }

    fn stub(&self, address: u64) -> Result<Option<Frames>, Error> {
        // Nothing is read for an address that can't be a stub's.
        if !crate::elf::plt::sections(&self.elf).any(|part| part.addresses().contains(&address)) {
            return Ok(None);
        }
        let Some(plt) = self.plt.get(|| Plt::read(&self.input, &self.elf))? else {
            return Ok(None);
        };
        let found = plt.find(address)?;
        Ok(found.map(|(name, _)| Frames::one(Frame::named(Name::new(name), Source::Plt))))
    }

    /// Where the function of a name begins, by the symbol table.
    pub(super) fn symbol_address(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(symbols) = self.symbol_table()? else {
            return Ok(None);
        };
        let table = symbols.table(&self.elf)?;
        for at in table.names() {
            if symbols.names.with(at, |other| other == name.as_bytes())? {
                return Ok(table.address_of(at));
            }
        }
        Ok(None)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let table = |table: &Lazy<Symbols>| table.ready().map_or(0, Symbols::bytes);
        size_of::<Self>()
            + self.headers
            + table(&self.symbols)
            + table(&self.dynamic)
            + self.plt.ready().map_or(0, Plt::bytes)
            + self.go.ready().map_or(0, Pclntab::bytes)
            + self.dwarf.ready().map_or(0, Dwarf::bytes)
            + [&self.apart, &self.packed]
                .into_iter()
                .filter_map(Lazy::ready)
                .map(Apart::bytes)
                .sum::<usize>()
    }

    /// Gives back what can be given back without reading the symbol tables again.
    pub(super) fn shrink(&self, to: usize) {
        let Some(dwarf) = self.dwarf.ready() else {
            return;
        };
        let others = self.bytes().saturating_sub(dwarf.bytes());
        dwarf.shrink(to.saturating_sub(others));
    }
}

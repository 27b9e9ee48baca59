//! A kernel object, taken apart: its sections of instructions, its calls, and the functions that BTF describes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context, Result, bail, ensure};
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind,
    SymbolKind, SymbolSection,
};

/// An instruction's size (linux/bpf.h, `struct bpf_insn`).
const INSTRUCTION: usize = 8;
/// `BPF_JMP | BPF_CALL`.
const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_CALL | BPF_X`: a call through a register.
const CALL_REGISTER: u8 = 0x8d;
/// `BPF_LD | BPF_IMM | BPF_DW`: the only instruction of two slots.
const LOAD_WIDE: u8 = 0x18;
/// What a call's source register says: a helper, a function of the same object, a function of the kernel.
const PSEUDO_HELPER: u8 = 0;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_KERNEL: u8 = 2;

/// A place among the instructions: the section and the offset in bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub section: String,
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.section, self.offset)
    }
}

/// What a call instruction calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A helper of the kernel, by its number.
    Helper(u32),
    /// A function of the same object, by where it begins.
    Function(Place),
    /// A function of the kernel, by its BTF id.
    KernelFunction(u32),
    /// Whatever a register points at.
    Register,
    /// A kind that this reader does not know, by its source register.
    Unknown(u8),
}

/// A kernel object.
#[derive(Debug, Default)]
pub struct Image {
    /// Instruction slots of each section that holds instructions.
    sections: BTreeMap<String, usize>,
    /// Every call, where it is.
    calls: Vec<(Place, Call)>,
    /// Functions whose address is taken: callbacks.
    taken: Vec<(Place, Place)>,
    /// Where functions begin, with their names and sizes.
    functions: BTreeMap<Place, (String, u64)>,
    /// Where functions begin that BTF describes.
    info: BTreeSet<Place>,
    /// Symbols that nothing defines.
    undefined: Vec<String>,
}

impl Image {
    /// Takes an ELF object apart.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes)?;
        ensure!(
            file.architecture() == object::Architecture::Bpf && file.is_little_endian(),
            "not an object for little-endian BPF"
        );
        let mut image = Self::default();
        for symbol in file.symbols() {
            let name = symbol.name().unwrap_or_default();
            match symbol.section() {
                SymbolSection::Undefined if !name.is_empty() => {
                    image.undefined.push(name.to_owned());
                }
                SymbolSection::Section(index) if symbol.kind() == SymbolKind::Text => {
                    let place = Place {
                        section: file.section_by_index(index)?.name()?.to_owned(),
                        offset: symbol.address(),
                    };
                    image
                        .functions
                        .insert(place, (name.to_owned(), symbol.size()));
                }
                _ => {}
            }
        }
        for section in file
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
        {
            image.read_section(&file, &section)?;
        }
        if let Some(ext) = file.section_by_name(".BTF.ext") {
            let btf = file
                .section_by_name(".BTF")
                .context("the object has .BTF.ext and no .BTF")?;
            image.info = func_info(ext.data()?, btf.data()?)?;
        }
        Ok(image)
    }

    fn read_section(
        &mut self,
        file: &object::File<'_>,
        section: &object::Section<'_, '_>,
    ) -> Result<()> {
        let name = section.name()?.to_owned();
        let data = section.data()?;
        ensure!(
            data.len().is_multiple_of(INSTRUCTION),
            "section {name} has {} bytes, not a whole number of instructions",
            data.len()
        );
        if data.is_empty() {
            return Ok(());
        }
        let mut relocations = BTreeMap::new();
        for (offset, relocation) in section.relocations() {
            if let (RelocationTarget::Symbol(index), RelocationFlags::Elf { .. }) =
                (relocation.target(), relocation.flags())
            {
                relocations.insert(offset, file.symbol_by_index(index)?);
            }
        }
        let mut slots = data.chunks_exact(INSTRUCTION).enumerate();
        while let Some((index, slot)) = slots.next() {
            let offset = u64::try_from(index * INSTRUCTION)?;
            let place = Place {
                section: name.clone(),
                offset,
            };
            let source = slot[1] >> 4;
            let immediate = i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]);
            let symbol = relocations.get(&offset);
            match slot[0] {
                CALL => {
                    // A call that the linker has not resolved is marked as one of a function whatever its register says.
                    let call = match (symbol, source) {
                        (Some(symbol), _) => {
                            match callee(file, symbol, i64::from(immediate) + 1)? {
                                Some(target) => Call::Function(target),
                                None => bail!(
                                    "{place}: calls the symbol {}, which is nowhere",
                                    symbol.name()?
                                ),
                            }
                        }
                        (None, PSEUDO_HELPER) => Call::Helper(immediate.cast_unsigned()),
                        (None, PSEUDO_CALL) => Call::Function(Place {
                            section: name.clone(),
                            offset: shifted(offset, i64::from(immediate) + 1)?,
                        }),
                        (None, PSEUDO_KERNEL) => Call::KernelFunction(immediate.cast_unsigned()),
                        (None, other) => Call::Unknown(other),
                    };
                    self.calls.push((place, call));
                }
                CALL_REGISTER => self.calls.push((place, Call::Register)),
                LOAD_WIDE => {
                    let second = slots.next();
                    ensure!(
                        second.is_some(),
                        "{place}: half of an instruction ends the section"
                    );
                    if let Some(symbol) = symbol
                        && let Some(target) = callee(file, symbol, i64::from(immediate) / 8)?
                    {
                        self.taken.push((place, target));
                    }
                }
                _ => {}
            }
        }
        self.sections.insert(name, data.len() / INSTRUCTION);
        Ok(())
    }

    /// The sections that hold instructions.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// All instruction slots.
    pub fn instruction_count(&self) -> usize {
        self.sections.values().sum()
    }

    /// Every call of the object, reachable or not.
    pub fn calls(&self) -> impl Iterator<Item = (&Place, Call)> {
        self.calls.iter().map(|(place, call)| (place, call.clone()))
    }

    /// Symbols that nothing defines.
    pub fn undefined(&self) -> &[String] {
        &self.undefined
    }

    /// Where programs begin: the functions outside of `.text`.
    pub fn programs(&self) -> impl Iterator<Item = &Place> {
        self.functions
            .keys()
            .filter(|place| place.section != ".text")
    }

    /// The name of the function that begins at `place`.
    pub fn function(&self, place: &Place) -> Option<&str> {
        self.functions.get(place).map(|(name, _)| name.as_str())
    }

    /// Whether BTF describes the function that begins at `place`.
    pub fn has_info(&self, place: &Place) -> bool {
        self.info.contains(place)
    }

    /// The helpers that the function at `program` calls, and those that it reaches.
    pub fn helpers_of(&self, program: &Place) -> BTreeSet<u32> {
        let functions = self.reached_from([program.clone()]);
        self.calls
            .iter()
            .filter(|(place, _)| functions.keys().any(|function| self.holds(function, place)))
            .filter_map(|(_, call)| match call {
                Call::Helper(id) => Some(*id),
                _ => None,
            })
            .collect()
    }

    /// Whether `place` lies in the function that begins at `function`.
    fn holds(&self, function: &Place, place: &Place) -> bool {
        self.functions.get(function).is_some_and(|(_, size)| {
            place.section == function.section
                && (function.offset..function.offset + size).contains(&place.offset)
        })
    }

    /// Every function that a program reaches, by calls or callbacks, with one place that leads to it; programs lead to
    /// themselves.
    pub fn reachable(&self) -> BTreeMap<Place, Place> {
        self.reached_from(self.programs().cloned())
    }

    /// The same of some programs.
    fn reached_from(&self, programs: impl IntoIterator<Item = Place>) -> BTreeMap<Place, Place> {
        let mut open: Vec<(Place, Place)> = programs
            .into_iter()
            .map(|program| (program.clone(), program))
            .collect();
        let mut found = BTreeMap::new();
        while let Some((from, function)) = open.pop() {
            if found.contains_key(&function) {
                continue;
            }
            found.insert(function.clone(), from);
            let inside = |place: &Place| self.holds(&function, place);
            for (place, call) in &self.calls {
                if let (true, Call::Function(target)) = (inside(place), call) {
                    open.push((place.clone(), target.clone()));
                }
            }
            for (place, target) in &self.taken {
                if inside(place) {
                    open.push((place.clone(), target.clone()));
                }
            }
        }
        found
    }
}

/// Where a relocated instruction leads when its symbol lies among instructions; `slots` is what the instruction adds
/// when the symbol stands for a whole section.
fn callee(
    file: &object::File<'_>,
    symbol: &object::Symbol<'_, '_>,
    slots: i64,
) -> Result<Option<Place>> {
    let SymbolSection::Section(index) = symbol.section() else {
        return Ok(None);
    };
    let section = file.section_by_index(index)?;
    if section.kind() != SectionKind::Text {
        return Ok(None);
    }
    let offset = if symbol.kind() == SymbolKind::Section {
        shifted(0, slots)?
    } else {
        symbol.address()
    };
    Ok(Some(Place {
        section: section.name()?.to_owned(),
        offset,
    }))
}

/// The offset `slots` instructions away from `offset`.
fn shifted(offset: u64, slots: i64) -> Result<u64> {
    slots
        .checked_mul(8)
        .and_then(|bytes| offset.checked_add_signed(bytes))
        .context("a call leads out of its section")
}

/// The functions that `.BTF.ext` describes (Documentation/bpf/btf.rst, "func_info").
fn func_info(ext: &[u8], btf: &[u8]) -> Result<BTreeSet<Place>> {
    let strings = {
        let header = word(btf, 4)?;
        let (offset, size) = (word(btf, 16)?, word(btf, 20)?);
        part(btf, header + offset, size)?
    };
    let header = word(ext, 4)?;
    let (offset, size) = (word(ext, 8)?, word(ext, 12)?);
    let table = part(ext, header + offset, size)?;
    let mut places = BTreeSet::new();
    if table.is_empty() {
        return Ok(places);
    }
    let record = word(table, 0)?;
    ensure!(record >= 8, "func_info records of {record} bytes");
    let mut at = 4;
    while at < table.len() {
        let name = strings
            .get(word(table, at)?..)
            .and_then(|rest| rest.split(|byte| *byte == 0).next())
            .context("a section's name lies outside of BTF's strings")?;
        let section = std::str::from_utf8(name)?.to_owned();
        let count = word(table, at + 4)?;
        at += 8;
        for _ in 0..count {
            places.insert(Place {
                section: section.clone(),
                offset: u64::try_from(word(table, at)?)?,
            });
            at += record;
        }
    }
    Ok(places)
}

/// The little-endian u32 at `at`.
fn word(bytes: &[u8], at: usize) -> Result<usize> {
    let field = part(bytes, at, 4)?;
    Ok(usize::try_from(u32::from_le_bytes(field.try_into()?))?)
}

fn part(bytes: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    at.checked_add(size)
        .and_then(|end| bytes.get(at..end))
        .context("BTF ends early")
}

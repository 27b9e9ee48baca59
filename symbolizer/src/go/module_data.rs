//! Where Go's linker says what no header does: `runtime.firstmoduledata`, a structure whose first word is the address of the
//! table.
//!
//! A stripped program has no name for it, so it is looked for among the words of the data sections, and taken only where what it says of the
//! code agrees with the program's headers (`moduledata` in runtime/symtab.go).

use std::collections::HashMap;

use object::{Endian as _, Endianness, elf};

use super::header::{Header, Version};
use crate::{
    Error,
    elf::{Elf, Input, Section},
};

/// What it says.
#[derive(Debug)]
pub(super) struct ModuleData {
    /// Where the code begins that functions are counted from.
    pub(super) text: u64,
    /// Where the tables of functions are, those of inlined functions among them (`go:func.*`).
    pub(super) functions_data: Option<u64>,
}

/// In which words its fields are: behind the header's address come six slices.
const TEXT: u64 = 22;
/// The slice of functions' list; its last word but one is their number, and one more.
const LIST_LENGTH: u64 = 17;
const FUNCTIONS_DATA_118: u64 = 38;
/// 1.20 has two words more before it, for coverage.
const FUNCTIONS_DATA_120: u64 = 40;
/// More than all data of a program that holds it is read.
const MAX_DATA: u64 = 1 << 30;
const AT_ONCE: usize = 1 << 20;

/// Finds it in a program of 64 bits and of Go 1.18 or later: before, the table says all.
pub(super) fn find(
    input: &Input,
    elf: &Elf,
    header: &Header,
    table: &Section,
) -> Result<Option<ModuleData>, Error> {
    if header.version < Version::Go118 || header.word != 8 {
        return Ok(None);
    }
    let words = Words {
        input,
        elf,
        moved: moved(input, elf)?,
    };
    for address in words.places(table.address)? {
        if let Some(found) = words.module_data(address, header)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A program's words, as its loader makes them.
struct Words<'a> {
    input: &'a Input,
    elf: &'a Elf,
    /// Words that the loader fills in, by address.
    moved: HashMap<u64, u64>,
}

impl Words<'_> {
    /// Where a word is that has a value.
    fn places(&self, value: u64) -> Result<Vec<u64>, Error> {
        let mut places: Vec<_> = self
            .moved
            .iter()
            .filter(|(_, moved)| **moved == value)
            .map(|(&at, _)| at)
            .collect();
        places.sort_unstable();
        let data = self.elf.sections.iter().filter(|section| {
            section.kind == elf::SHT_PROGBITS && section.flags & u64::from(elf::SHF_WRITE) != 0
        });
        let bytes = match self.elf.endian {
            Endianness::Little => value.to_le_bytes(),
            Endianness::Big => value.to_be_bytes(),
        };
        for section in data.filter(|section| section.size <= MAX_DATA) {
            let mut buffer = vec![0; AT_ONCE.min(section.size as usize)];
            let mut at = 0;
            while at < section.size {
                let wanted = buffer.len().min((section.size - at) as usize);
                let read = self.input.read_at(
                    WHAT,
                    &mut buffer[..wanted],
                    section.offset.saturating_add(at),
                )?;
                if read < 8 {
                    break;
                }
                let words = buffer[..read].chunks_exact(8);
                let found = words.enumerate().filter(|(_, word)| *word == bytes);
                places.extend(
                    found.map(|(index, _)| section.address.wrapping_add(at + 8 * index as u64)),
                );
                at += read as u64 / 8 * 8;
            }
        }
        Ok(places)
    }

    fn module_data(&self, at: u64, header: &Header) -> Result<Option<ModuleData>, Error> {
        let word = |index: u64| self.word(at.wrapping_add(8 * index));
        let Some(text) = word(TEXT)? else {
            return Ok(None);
        };
        let is_code = |address: u64| {
            self.elf
                .sections
                .iter()
                .any(|section| section.is_code() && section.addresses().contains(&address))
        };
        let agrees = is_code(text)
            && word(LIST_LENGTH)? == Some(header.count() + 1)
            && (header.text == 0 || header.text == text);
        if !agrees {
            return Ok(None);
        }
        let functions_data = word(match header.version {
            Version::Go120 => FUNCTIONS_DATA_120,
            _ => FUNCTIONS_DATA_118,
        })?;
        Ok(Some(ModuleData {
            text,
            functions_data,
        }))
    }

    fn word(&self, at: u64) -> Result<Option<u64>, Error> {
        if let Some(&moved) = self.moved.get(&at) {
            return Ok(Some(moved));
        }
        let Some(offset) = self.elf.offset_of(at) else {
            return Ok(None);
        };
        let mut bytes = [0; 8];
        let read = self.input.read_at(WHAT, &mut bytes, offset)?;
        Ok((read == 8).then(|| self.elf.endian.read_u64(bytes)))
    }
}

const WHAT: &str = "runtime.firstmoduledata";

/// The words that the loader of a program that may lie anywhere fills in: `R_X86_64_RELATIVE`, `R_AARCH64_RELATIVE`. Go's table and what
/// points to it are near each other, so that those of other sections are left out.
fn moved(input: &Input, elf: &Elf) -> Result<HashMap<u64, u64>, Error> {
    const RELA: usize = 24;
    let kind = match elf.machine {
        elf::EM_X86_64 => elf::R_X86_64_RELATIVE,
        elf::EM_AARCH64 => elf::R_AARCH64_RELATIVE,
        _ => return Ok(HashMap::new()),
    };
    let Some(section) = elf
        .sections
        .iter()
        .find(|section| &*section.name == b".rela.dyn")
    else {
        return Ok(HashMap::new());
    };
    let source = input.source()?;
    let bytes = section.read("the section .rela.dyn", &source)?;
    let number = |bytes: &[u8]| elf.endian.read_u64(bytes.try_into().unwrap_or_default());
    let relocations = bytes.chunks_exact(RELA);
    let moved = relocations.filter(|rela| number(&rela[8..16]) == u64::from(kind));
    Ok(moved
        .map(|rela| (number(&rela[..8]), number(&rela[16..])))
        .collect())
}

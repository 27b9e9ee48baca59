//! Procedure linkage tables: what the stub at an address calls.
//!
//! A linker gives stubs no symbols. Each jumps through a slot of the global offset table, and the relocation of that slot names
//! the function: so a stub's code is read for the slot's address. x86-64 psABI, section 5.2 ("Procedure Linkage Table"); AArch64
//! ELF ABI, section "Procedure linkage table".

use std::{collections::HashMap, ops::Range};

use object::elf;

use super::{Class, Elf, Input, Section, strings::Strings};
use crate::Error;

/// Stubs by address.
#[derive(Debug)]
pub(crate) struct Plt {
    /// In the order of their addresses.
    stubs: Box<[Stub]>,
    names: Strings,
}

/// A stub's addresses, and the slot that it jumps through.
type Jump = (Range<u64>, u64);

#[derive(Debug)]
struct Stub {
    address: u64,
    size: u32,
    /// Where the function's name is in the string table of `.dynsym`.
    name: u32,
}

/// More than the largest program that we know of has, a hundred times over.
const MAX_PART: u64 = 1 << 26;
/// `R_X86_64_GLOB_DAT`, `R_X86_64_JUMP_SLOT`.
const SLOTS_X86_64: [u32; 2] = [elf::R_X86_64_GLOB_DAT, elf::R_X86_64_JUMP_SLOT];
const SLOTS_AARCH64: [u32; 2] = [elf::R_AARCH64_GLOB_DAT, elf::R_AARCH64_JUMP_SLOT];

impl Plt {
    /// The stubs of a file of x86-64 or aarch64; none where it has none that a relocation names.
    ///
    /// # Errors
    /// When a part that they are told from lies beyond the file.
    pub(crate) fn read(input: &Input, elf: &Elf) -> Result<Option<Self>, Error> {
        let parse: fn(&[u8], u64) -> Vec<Jump> = match (elf.machine, &elf.class) {
            (elf::EM_X86_64, Class::Elf64) => x86_64,
            (elf::EM_AARCH64, Class::Elf64) => aarch64,
            _ => return Ok(None),
        };
        let mut found = Vec::new();
        for section in sections(elf) {
            let bytes = part(input, "a procedure linkage table", section)?;
            found.extend(parse(&bytes, section.address));
        }
        let dynamic = elf
            .sections
            .iter()
            .find(|section| section.kind == elf::SHT_DYNSYM);
        let names = dynamic.and_then(|dynamic| elf.sections.get(dynamic.link as usize));
        let (false, Some(dynamic), Some(names)) = (found.is_empty(), dynamic, names) else {
            return Ok(None);
        };
        let slots = slots(input, elf, dynamic)?;
        let mut stubs: Vec<_> = found
            .into_iter()
            .filter_map(|(addresses, slot)| {
                Some(Stub {
                    address: addresses.start,
                    size: u32::try_from(addresses.end - addresses.start).ok()?,
                    name: *slots.get(&slot)?,
                })
            })
            .collect();
        stubs.sort_by_key(|stub| stub.address);
        Ok((!stubs.is_empty()).then(|| Self {
            stubs: stubs.into(),
            names: Strings::new(
                input.clone(),
                "the string table of .dynsym",
                names.offset,
                names.size,
            ),
        }))
    }

    /// The name of what the stub at an address calls, with `@plt`, and the stub's addresses.
    pub(crate) fn find(&self, address: u64) -> Result<Option<(String, Range<u64>)>, Error> {
        let behind = self.stubs.partition_point(|stub| stub.address <= address);
        let stub = behind.checked_sub(1).map(|index| &self.stubs[index]);
        let Some(stub) = stub.filter(|stub| address - stub.address < u64::from(stub.size)) else {
            return Ok(None);
        };
        let name = self
            .names
            .with(stub.name, |name| String::from_utf8_lossy(name).into_owned())?;
        let addresses = stub.address..stub.address + u64::from(stub.size);
        Ok(Some((name + "@plt", addresses)))
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.stubs)
    }
}

/// Where stubs are.
pub(crate) fn sections(elf: &Elf) -> impl Iterator<Item = &Section> {
    let names: [&[u8]; 4] = [b".plt", b".plt.sec", b".plt.got", b".plt.bnd"];
    elf.sections
        .iter()
        .filter(move |section| names.contains(&&*section.name) && section.is_code())
}

fn part(input: &Input, what: &'static str, section: &Section) -> Result<Vec<u8>, Error> {
    if section.size > MAX_PART {
        return Err(Error::TooLarge {
            file: input.name().to_string(),
            what,
            size: section.size,
            limit: MAX_PART as usize,
        });
    }
    section.read(what, &input.source()?)
}

/// For each slot of the global offset table the name of the function that it is for.
fn slots(input: &Input, elf: &Elf, dynamic: &Section) -> Result<HashMap<u64, u32>, Error> {
    const RELA: usize = 24;
    const SYMBOL: usize = 24;
    let kinds = match elf.machine {
        elf::EM_X86_64 => SLOTS_X86_64,
        _ => SLOTS_AARCH64,
    };
    let symbols = part(input, "the section .dynsym", dynamic)?;
    let mut slots = HashMap::new();
    let relocations = elf.sections.iter().filter(|section| {
        section.kind == elf::SHT_RELA && matches!(&*section.name, b".rela.plt" | b".rela.dyn")
    });
    let number = |bytes: &[u8]| {
        let mut number = [0; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(number)
    };
    for section in relocations {
        let bytes = part(input, "the relocations", section)?;
        for rela in bytes.chunks_exact(RELA) {
            let (slot, info) = (number(&rela[..8]), number(&rela[8..16]));
            let (symbol, kind) = ((info >> 32) as usize, info as u32);
            if !kinds.contains(&kind) {
                continue;
            }
            let name = symbol
                .checked_mul(SYMBOL)
                .and_then(|at| symbols.get(at..at + 4));
            if let Some(name) = name
                .map(|name| number(name) as u32)
                .filter(|&name| name != 0)
            {
                slots.insert(slot, name);
            }
        }
    }
    Ok(slots)
}

/// Stubs are of 16 bytes, or of 8 in `.plt.got`; each has one `jmp *slot(%rip)` (`ff 25`), before which there may be an
/// `endbr64` or a prefix for bounds.
fn x86_64(code: &[u8], address: u64) -> Vec<Jump> {
    const JUMP: [u8; 2] = [0xff, 0x25];
    let mut stubs = Vec::new();
    let mut at = 0;
    for jump in memchr::memmem::find_iter(code, &JUMP) {
        // A displacement may hold the same two bytes.
        if jump < at {
            continue;
        }
        let Some(displacement) = code.get(jump + 2..jump + 6) else {
            break;
        };
        let displacement = i32::from_le_bytes(displacement.try_into().unwrap_or_default());
        let next = address.wrapping_add(jump as u64 + 6);
        let slot = next.wrapping_add_signed(i64::from(displacement));
        let end = (jump + 6).next_multiple_of(8);
        let starts_on_16 = jump / 16 * 16;
        // Of 16 bytes unless the eight before are another stub's.
        let start = starts_on_16.max(at);
        let end = if starts_on_16 >= at && jump - starts_on_16 < 8 && !has_jump(code, end) {
            starts_on_16 + 16
        } else {
            end
        };
        let end = end.min(code.len());
        at = end;
        stubs.push((
            address.wrapping_add(start as u64)..address.wrapping_add(end as u64),
            slot,
        ));
    }
    stubs
}

/// Whether a stub of eight bytes is at an offset.
fn has_jump(code: &[u8], at: usize) -> bool {
    code.get(at..at + 2) == Some(&[0xff, 0x25])
}

/// Stubs of 16 bytes, or of 24 with `bti c` before them: `adrp x16, page`, `ldr x17, [x16, #offset]`, `add`, `br x17`.
fn aarch64(code: &[u8], address: u64) -> Vec<Jump> {
    const BTI_C: u32 = 0xd503_245f;
    let words: Vec<u32> = code
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
        .collect();
    let mut stubs = Vec::new();
    for (index, pair) in words.windows(2).enumerate() {
        let (adrp, ldr) = (pair[0], pair[1]);
        // adrp x16, …; ldr x17, [x16, #…]
        if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
            continue;
        }
        let pages = i64::from(adrp >> 5 & 0x7_ffff) << 2 | i64::from(adrp >> 29 & 3);
        let pages = pages << 43 >> 43;
        let at = address.wrapping_add(index as u64 * 4);
        let slot = (at & !0xfff)
            .wrapping_add_signed(pages << 12)
            .wrapping_add(u64::from(ldr >> 10 & 0xfff) * 8);
        let has_bti = index > 0 && words[index - 1] == BTI_C;
        let (start, size) = if has_bti { (at - 4, 24) } else { (at, 16) };
        stubs.push((start..start.wrapping_add(size), slot));
    }
    stubs
}

#[cfg(test)]
mod tests;

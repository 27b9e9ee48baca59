//! Where the parts of the table are, by the version that its first bytes name.

use object::{Endian as _, Endianness};

use super::{Function, reader::Reader};
use crate::{
    Error,
    elf::{Elf, Section},
};

/// Which version of Go's linker wrote the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// Go 1.2 to 1.15.
    Go12,
    /// 1.16 and 1.17: files by compilation unit.
    Go116,
    /// 1.18 and 1.19: addresses by their distance from the code's begin.
    Go118,
    /// 1.20 and later: records have the line that the function begins in.
    Go120,
}

/// What the table's first bytes say. All places are offsets into the section.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: Version,
    pub(super) endian: Endianness,
    /// The least size of an instruction.
    pub(super) quantum: u8,
    pub(super) word: u8,
    count: u64,
    /// Where the code begins that functions are counted from.
    pub(super) text: u64,
    pub(super) names: u64,
    pub(super) units: u64,
    pub(super) files: u64,
    pub(super) pc_tables: u64,
    /// The list of functions; their records are counted from here, too.
    pub(super) functions: u64,
    list: u64,
}

/// Where the fields of a function's record are.
pub(super) struct Fields {
    pub(super) name: usize,
    pub(super) files: usize,
    pub(super) lines: usize,
    pub(super) pc_tables: usize,
    pub(super) unit: Option<usize>,
    /// Its last byte is the number of tables behind those by address.
    pub(super) size: usize,
}

/// Where the fields of an entry for an inlined function are.
pub(super) struct InlinedCallLayout {
    pub(super) size: usize,
    pub(super) name: usize,
    pub(super) parent: usize,
}

/// More functions than any program has.
const MAX_FUNCTIONS: u64 = 1 << 26;

/// The section of the table: its name tells whether the loader moves it.
pub(super) fn section(elf: &Elf) -> Option<&Section> {
    elf.section(b".gopclntab")
        .or_else(|| elf.section(b".data.rel.ro.gopclntab"))
}

impl Header {
    /// `None` for what does not begin as a table does, or one of a version that is not known.
    pub(super) fn read(reader: &Reader, endian: Endianness) -> Result<Option<Self>, Error> {
        if reader.size() < 16 {
            return Ok(None);
        }
        let mut start = [0; 8];
        reader.fill(0, &mut start)?;
        let [.., pad, other_pad, quantum, word] = start;
        let magic = endian.read_u32([start[0], start[1], start[2], start[3]]);
        let version = match magic {
            0xffff_fffb => Version::Go12,
            0xffff_fffa => Version::Go116,
            0xffff_fff0 => Version::Go118,
            0xffff_fff1 => Version::Go120,
            _ => return Ok(None),
        };
        if (pad, other_pad) != (0, 0) || !matches!(quantum, 1 | 2 | 4) || !matches!(word, 4 | 8) {
            return Ok(None);
        }
        let number = |index: u64| {
            let at = 8 + index * u64::from(word);
            if word == 4 {
                return reader.u32(at, endian).map(u64::from);
            }
            let mut bytes = [0; 8];
            reader.fill(at, &mut bytes)?;
            Ok(endian.read_u64(bytes))
        };
        let count = number(0)?;
        if count > MAX_FUNCTIONS {
            return Err(reader.malformed(format!("{count} functions")));
        }
        let mut header = Self {
            version,
            endian,
            quantum,
            word,
            count,
            text: 0,
            names: 0,
            units: 0,
            files: 0,
            pc_tables: 0,
            functions: 0,
            list: 0,
        };
        if version == Version::Go12 {
            header.list = 8 + u64::from(word);
            let behind = header.list + (2 * count + 1) * u64::from(word);
            header.files = reader.u32(behind, endian)?.into();
            return Ok(Some(header));
        }
        // Behind the numbers of functions and of files; from 1.18 on the address of the code is there, too.
        let parts = if version == Version::Go116 { 2 } else { 3 };
        if version >= Version::Go118 {
            header.text = number(2)?;
        }
        header.names = number(parts)?;
        header.units = number(parts + 1)?;
        header.files = number(parts + 2)?;
        header.pc_tables = number(parts + 3)?;
        header.functions = number(parts + 4)?;
        header.list = header.functions;
        let places = [
            header.names,
            header.units,
            header.files,
            header.pc_tables,
            header.functions,
        ];
        if let Some(beyond) = places.into_iter().find(|&place| place > reader.size()) {
            return Err(reader.malformed(format!("it has a part at {beyond:#x}, beyond its end")));
        }
        Ok(Some(header))
    }

    /// How many functions there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// All functions, and where the last one ends. Before 1.18 the list has addresses, and the code begins with the first.
    pub(super) fn functions(
        &mut self,
        reader: &Reader,
        limit: usize,
    ) -> Result<(Box<[Function]>, u64), Error> {
        let field = if self.version >= Version::Go118 {
            4
        } else {
            usize::from(self.word)
        };
        let length = (2 * self.count + 1) * field as u64;
        if length > limit as u64 || length > reader.size() {
            return Err(
                reader.malformed(format!("a list of {} functions does not fit", self.count))
            );
        }
        let mut bytes = vec![0; length as usize];
        reader.fill(self.list, &mut bytes)?;
        let number = |index: usize| match field {
            4 => u64::from(self.u32(&bytes, index * 4)),
            _ => {
                let part = bytes[index * 8..][..8].try_into().unwrap_or_default();
                self.endian.read_u64(part)
            }
        };
        let count = self.count as usize;
        let is_relative = self.version >= Version::Go118;
        let base = if is_relative || count == 0 {
            0
        } else {
            number(0)
        };
        let mut functions = Vec::with_capacity(count);
        for index in 0..count {
            let (start, record) = (number(2 * index).checked_sub(base), number(2 * index + 1));
            let (Some(Ok(start)), Ok(record)) = (start.map(u32::try_from), u32::try_from(record))
            else {
                return Err(reader.malformed(format!("function {index} is out of reach")));
            };
            functions.push(Function { start, record });
        }
        if !functions.is_sorted_by_key(|function| function.start) {
            return Err(reader.malformed("its functions are in no order"));
        }
        let end = number(2 * count);
        if !is_relative {
            self.text = base;
            return Ok((functions.into(), end));
        }
        Ok((functions.into(), self.text.saturating_add(end)))
    }

    /// Of a function's record (`_func` in runtime/runtime2.go).
    pub(super) fn fields(&self) -> Fields {
        // The first field is the function's address, or how far it is from the code's begin.
        let name = if self.version >= Version::Go118 {
            4
        } else {
            usize::from(self.word)
        };
        let unit = name + 28;
        let size = match self.version {
            Version::Go12 => name + 32,
            Version::Go116 | Version::Go118 => name + 36,
            Version::Go120 => name + 40,
        };
        Fields {
            name,
            files: name + 16,
            lines: name + 20,
            pc_tables: name + 24,
            unit: (self.version != Version::Go12).then_some(unit),
            size,
        }
    }

    /// Of an entry for an inlined function (`inlinedCall` in runtime/symtab.go and runtime/symtabinl.go).
    pub(super) fn inlined_call(&self) -> InlinedCallLayout {
        if self.version >= Version::Go120 {
            InlinedCallLayout {
                size: 16,
                name: 4,
                parent: 8,
            }
        } else {
            InlinedCallLayout {
                size: 20,
                name: 12,
                parent: 16,
            }
        }
    }

    /// A number in bytes that are known to be long enough.
    pub(super) fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
        self.endian.read_u32(part.unwrap_or_default())
    }
}

//! Go's own table of functions, files and lines (`pclntab`), which every Go program has, stripped or not: its run time needs it.
//!
//! Format: Go's runtime/symtab.go and runtime/symtabinl.go, and cmd/link/internal/ld/pcln.go, from Go 1.2 to Go 1.26. Nothing but the list of
//! functions is held; what is asked of a function is read then.

use std::sync::Arc;

use self::{
    header::{Header, Version},
    pc_value::pc_value,
    reader::Reader,
};
use crate::{
    Error,
    elf::{Elf, Input},
};

mod header;
mod module_data;
mod pc_value;
mod reader;

/// The table of one program.
#[derive(Debug)]
pub(crate) struct Pclntab {
    reader: Reader,
    header: Header,
    /// By address.
    functions: Box<[Function]>,
    /// Where the last function ends.
    end: u64,
    /// Where the tables of inlined functions are in the file, which other versions than these don't tell or lay out in another way.
    inline_tables: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    /// From where the code begins.
    start: u32,
    /// Where its record is.
    record: u32,
}

/// A function at an address, the innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoFrame {
    /// The number of its name.
    pub(crate) name: u32,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: u32,
    pub(crate) inlined: bool,
}

/// A function's record, `_func`.
#[derive(Debug)]
struct Record {
    /// Its first address.
    entry: u64,
    name: u32,
    files: u32,
    lines: u32,
    /// Where its compilation unit's files are in the list of all.
    unit: u32,
    /// Which inlined function an address is of.
    inlined: Option<u32>,
    /// Where its table of inlined functions is, from where they all are.
    inline_table: Option<u32>,
}

/// Go inlines not nearly as deep.
const MAX_DEPTH: usize = 128;
/// `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree` of internal/abi/symtab.go.
const INLINED: u32 = 2;
const INLINE_TABLE: u32 = 3;

impl Pclntab {
    /// The table of a program, if it is one of Go's.
    ///
    /// # Errors
    /// When the table contradicts itself or the file, or is over the input's limit.
    pub(crate) fn read(input: &Input, elf: &Elf) -> Result<Option<Self>, Error> {
        let Some(section) = header::section(elf) else {
            return Ok(None);
        };
        let reader = Reader::new(input.clone(), section);
        let Some(mut header) = Header::read(&reader, elf.endian)? else {
            return Ok(None);
        };
        let module = module_data::find(input, elf, &header, section)?;
        header.text = match module.as_ref().map(|module| module.text) {
            Some(text) => text,
            // It may be 0 in a file that the loader moves.
            None if header.text != 0 => header.text,
            None => elf.section(b".text").map_or(0, |text| text.address),
        };
        let (functions, end) = header.functions(&reader, input.limit())?;
        Ok(Some(Self {
            inline_tables: module.and_then(|module| elf.offset_of(module.functions_data?)),
            reader,
            header,
            functions,
            end,
        }))
    }

    /// Hands on the functions at an address, the innermost first; whether there are any.
    ///
    /// # Errors
    /// When what the table says of the address contradicts itself.
    pub(crate) fn frames(
        &self,
        address: u64,
        mut each: impl FnMut(GoFrame),
    ) -> Result<bool, Error> {
        let Some(record) = self.record(address)? else {
            return Ok(false);
        };
        let mut at = address;
        for _ in 0..MAX_DEPTH {
            let inlined = self.inlined(&record, at)?;
            let (file, line) = self.line(&record, at)?;
            each(GoFrame {
                name: inlined.as_ref().map_or(record.name, |call| call.name),
                file,
                line,
                inlined: inlined.is_some(),
            });
            let Some(call) = inlined else {
                return Ok(true);
            };
            at = record.entry.wrapping_add(u64::from(call.parent));
        }
        Err(self.reader.malformed(format!(
            "{address:#x} is in more than {MAX_DEPTH} inlined functions"
        )))
    }

    /// The number of the name of the function that an address lies in.
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub(crate) fn function(&self, address: u64) -> Result<Option<u32>, Error> {
        Ok(self.record(address)?.map(|record| record.name))
    }

    /// A function's name by its number.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn name(&self, number: u32) -> Result<String, Error> {
        self.reader.text(self.header.names + u64::from(number))
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.functions)
    }

    fn record(&self, address: u64) -> Result<Option<Record>, Error> {
        let Some(into) = address
            .checked_sub(self.header.text)
            .filter(|_| address < self.end)
        else {
            return Ok(None);
        };
        let behind = self
            .functions
            .partition_point(|function| u64::from(function.start) <= into);
        let Some(function) = behind.checked_sub(1).map(|index| self.functions[index]) else {
            return Ok(None);
        };
        let fields = self.header.fields();
        let at = self.header.functions + u64::from(function.record);
        let mut bytes = [0; 64];
        let bytes = &mut bytes[..fields.size];
        self.reader.fill(at, bytes)?;
        let field = |at: usize| self.header.u32(bytes, at);
        let tables = field(fields.pc_tables);
        let pc_table = |index: u32| {
            let at = at + fields.size as u64 + 4 * u64::from(index);
            let table = (index < tables).then(|| self.reader.u32(at, self.header.endian));
            table.transpose()
        };
        let has_inlines = self.inline_tables.is_some() && self.header.version >= Version::Go118;
        let function_tables = u32::from(bytes[fields.size - 1]);
        let inline_table = if has_inlines && INLINE_TABLE < function_tables {
            let index = u64::from(tables) + u64::from(INLINE_TABLE);
            let at = at + fields.size as u64 + 4 * index;
            Some(self.reader.u32(at, self.header.endian)?).filter(|&offset| offset != u32::MAX)
        } else {
            None
        };
        Ok(Some(Record {
            entry: self.header.text.wrapping_add(u64::from(function.start)),
            name: field(fields.name),
            files: field(fields.files),
            lines: field(fields.lines),
            unit: fields.unit.map_or(0, field),
            inlined: if inline_table.is_some() {
                pc_table(INLINED)?
            } else {
                None
            },
            inline_table,
        }))
    }

    fn inlined(&self, record: &Record, address: u64) -> Result<Option<InlinedCall>, Error> {
        let (Some(table), Some(inlined), Some(all)) =
            (record.inline_table, record.inlined, self.inline_tables)
        else {
            return Ok(None);
        };
        let index = self.value(inlined, record, address)?;
        let Some(index) = index.and_then(|index| u64::try_from(index).ok()) else {
            return Ok(None);
        };
        let layout = self.header.inlined_call();
        let at = all + u64::from(table) + index * layout.size as u64;
        let mut bytes = [0; 20];
        let bytes = &mut bytes[..layout.size];
        self.reader.fill_from_file(at, bytes)?;
        Ok(Some(InlinedCall {
            name: self.header.u32(bytes, layout.name),
            parent: self.header.u32(bytes, layout.parent),
        }))
    }

    fn line(&self, record: &Record, address: u64) -> Result<(Option<Arc<str>>, u32), Error> {
        let line = self.value(record.lines, record, address)?.unwrap_or(0);
        let file = match self.value(record.files, record, address)? {
            Some(file) => self.file(record, file)?,
            None => None,
        };
        Ok((file, u32::try_from(line).unwrap_or(0)))
    }

    fn file(&self, record: &Record, index: i32) -> Result<Option<Arc<str>>, Error> {
        let Ok(index) = u64::try_from(index) else {
            return Ok(None);
        };
        let at = match self.header.version {
            Version::Go12 => self.header.files + 4 * index,
            _ => self.header.units + 4 * (u64::from(record.unit) + index),
        };
        let name = self.reader.u32(at, self.header.endian)?;
        let from = match self.header.version {
            Version::Go12 => 0,
            // A file that was left out of the program.
            _ if name == u32::MAX => return Ok(None),
            _ => self.header.files,
        };
        self.reader
            .text(from + u64::from(name))
            .map(|file| Some(file.into()))
    }

    /// What one of a function's tables says of an address.
    fn value(&self, table: u32, record: &Record, address: u64) -> Result<Option<i32>, Error> {
        if table == 0 {
            return Ok(None);
        }
        let at = self.header.pc_tables + u64::from(table);
        let into = address.wrapping_sub(record.entry);
        self.reader
            .with_table(at, |bytes| pc_value(bytes, self.header.quantum, into))
    }
}

/// An entry of a function's table of inlined functions.
#[derive(Debug)]
struct InlinedCall {
    name: u32,
    /// Where in the function the call stood that was replaced.
    parent: u32,
}

#[cfg(test)]
mod tests;

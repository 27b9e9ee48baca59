//! Call frame information to compact tables that a kernel program can search.
//!
//! `.eh_frame` says for every address of a program how a frame is unwound, in a form made to be small. A kernel program needs
//! one that can be searched: here it is a list of rows in pages of 64 KiB. A [`Row`] has four bytes, the lowest 16 bits of the
//! address from which on it holds and the number of a rule; the rules, a few hundred to a file and mostly the same ones, are in
//! one [`Rules`] table that all files share. To look an address up, take it less the load bias, find the page by its upper 48
//! bits, find the last row in it whose [`Row::low`] is not above its lowest 16 bits, and take the [`Rule`] by its number. Where
//! there is no page, there is no rule. [`Table::find`] does just that.
//!
//! What the rows are made of, in this order:
//!
//! 1. `.eh_frame`, found by its section header, or else by `PT_GNU_EH_FRAME`;
//! 2. `.debug_frame`, where the first says nothing: Go's own code, for one. It may be compressed with zlib or zstd;
//! 3. code that no table covers and whose shape is known: the trampolines of musl, Go and the vDSO that signal handlers return
//!    to, procedure linkage tables, the first instructions of a program, V8's builtins where a symbol table names them;
//! 4. frame pointers ([`Rule::FramePointer`]), for what is left of a Go program and for files without any table;
//! 5. [`Rule::None`].
//!
//! A trampoline counts even where a table says otherwise, and so does the end of Go's stacks: Go's tables have neither. A rule that can't be expressed is a [`Rule::Unsupported`], and counted
//! by kind. Files are read, never mapped into memory; memory is bounded by the section that is read, about a third of its size
//! for the list of its entries, and one page of rows.
//!
//! ```
//! use std::{env, fs::File};
//!
//! use fathom_symbolizer::unwind::{Cfa, Rule, Rules, Table, convert_file};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = env::current_exe()?;
//! let mut rules = Rules::new();
//! let mut table = Table::default();
//! let conversion = convert_file(
//!     &File::open(&path)?,
//!     &path.to_string_lossy(),
//!     256 << 20,
//!     &mut rules,
//!     |page| table.push(page),
//! )?;
//! println!("{} rows of {} entries", conversion.rows, conversion.entries);
//! let page = table.pages().next().ok_or("no code")?;
//! let address = page.number << 16 | u64::from(page.rows[0].low);
//! match rules.get(table.find(address)) {
//!     Some(Rule::Frame(frame)) => match frame.cfa {
//!         Cfa::Offset(register, offset) => println!("CFA = {register:?} + {offset}"),
//!         other => println!("{other:?}"),
//!     },
//!     other => println!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

use std::fs::File;

use crate::{Error, elf::source::Source};

mod convert;
mod frames;
mod go;
mod image;
mod known;
mod numbers;
mod pages;
mod rule;
mod rules;
mod store;
mod symbols;
mod table;
mod translate;
mod v8;

pub use self::{
    pages::{Page, Row},
    rule::{Cfa, Frame, Machine, Register, Rule, Saved, Unsupported},
    rules::Rules,
    store::{Origin, Store},
    table::Table,
};

/// What was found in a file, and what was made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conversion {
    /// What the file's code runs on.
    pub machine: Machine,
    /// Bytes of `.eh_frame`; 0 where there is none.
    pub eh_frame: u64,
    /// Bytes of `.debug_frame`, unpacked; 0 where there is none.
    pub debug_frame: u64,
    /// Frame description entries that rows were made of.
    pub entries: u64,
    /// Entries that are for no code of this file, as linkers leave them behind.
    pub elsewhere: u64,
    /// Entries that are for the same addresses as others before them, in part or as a whole: the first counts, and `.eh_frame`
    /// before `.debug_frame`.
    pub overlapping: u64,
    /// Rows of the entries, as they are.
    pub rows: u64,
    /// Rows handed on: without those that say the same as the one before, with those that begin a page or a gap.
    pub kept: u64,
    /// Pages handed on.
    pub pages: u64,
    unsupported: [u64; Unsupported::ALL.len()],
}

impl Conversion {
    /// How many rows, or entries for [`Unsupported::Encoding`], have no rule for a reason.
    pub fn unsupported(&self, kind: Unsupported) -> u64 {
        self.unsupported[kind as usize]
    }

    /// Nothing yet.
    fn of(machine: Machine) -> Self {
        Self {
            machine,
            eh_frame: 0,
            debug_frame: 0,
            entries: 0,
            elsewhere: 0,
            overlapping: 0,
            rows: 0,
            kept: 0,
            pages: 0,
            unsupported: [0; Unsupported::ALL.len()],
        }
    }

    fn count(&mut self, kind: Unsupported, by: u64) {
        self.unsupported[kind as usize] += by;
    }
}

/// Makes the pages of a file and hands each to `sink`, in the order of their addresses. New rules are added to `rules`. `name`
/// is what errors call the file, `limit` the most bytes that a section, or what is unpacked of it, may have.
///
/// # Errors
/// [`Error::NotUnwindable`] for a file of another machine or kind, and otherwise when the file can't be read, contradicts
/// itself or is over the limit. Pages may have been handed on before. A file without any table is no error.
pub fn convert_file(
    file: &File,
    name: &str,
    limit: usize,
    rules: &mut Rules,
    sink: impl FnMut(Page<'_>),
) -> Result<Conversion, Error> {
    convert::convert(&Source::file(file, name, limit)?, rules, sink)
}

/// As [`convert_file`], of an image in memory: a vDSO, or a file that was read whole.
///
/// # Errors
/// As [`convert_file`].
pub fn convert_bytes(
    bytes: &[u8],
    name: &str,
    limit: usize,
    rules: &mut Rules,
    sink: impl FnMut(Page<'_>),
) -> Result<Conversion, Error> {
    convert::convert(&Source::bytes(bytes, name, limit), rules, sink)
}

#[cfg(test)]
mod tests;

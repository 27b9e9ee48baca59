//! Addresses to names: ELF symbol tables, `/proc/kallsyms` and a process's mappings; and call frame information to tables for
//! unwinding ([`unwind`]).
//!
//! Parse once, resolve many times: an [`Elf`] or a [`Kernel`] holds a compact, sorted table of function names that any
//! number of addresses is looked up in. Nothing is mapped into memory, so that a file that shrinks while it is read is
//! an error and not a SIGBUS. Every byte that is parsed is taken as hostile: a bad file is an [`Error`] that names
//! the file and the part, never a panic, and no read is larger than the limit that the caller gave.
//!
//! ```no_run
//! use fathom_symbolizer::{Elf, Mapping, demangle, mappings, open_mapped};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (pid, address) = (4321, 0x7f12_3456_789a);
//! for mapping in mappings(pid)?.iter().filter(|mapping| mapping.contains(address)) {
//!     let elf = Elf::from_file(&open_mapped(pid, mapping)?, &mapping.name(), 64 << 20)?;
//!     let at = elf.address_of(mapping.file_offset(address));
//!     if let Some(symbol) = at.and_then(|at| elf.symbol(at)) {
//!         println!("{}", demangle(&symbol.name));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod cache;
mod demangle;
mod elf;
mod error;
mod kernel;
mod process;
mod table;
pub mod unwind;

pub use cache::Cache;
pub use demangle::demangle;
pub use elf::Elf;
pub use error::Error;
pub use kernel::{Kernel, KernelSymbol};
pub use process::{FileId, Mapping, MappingKind, mappings, open_mapped, parse_mappings, read_vdso};
pub use table::Symbol;

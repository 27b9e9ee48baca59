#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod debug_files;
mod demangle;
mod dwarf;
mod elf;
mod error;
mod frame;
mod go;
mod jit;
mod kernel;
mod module;
mod process;
mod root;
mod symbolizer;
mod table;
pub mod unwind;

pub use debug_files::DebugFiles;
pub use demangle::{demangle, demangle_full};
pub use elf::build_id;
pub use error::Error;
pub use frame::{Frame, Frames, Name, Source, SourceFile};
pub use jit::{JitCode, JitFormat};
pub use kernel::{Kernel, KernelSymbol};
pub use module::Module;
pub use process::{FileId, Mapping, MappingKind, mappings, open_mapped, parse_mappings, read_vdso};
pub use root::open_in;
pub use symbolizer::{Gear, Located, Mapped, Memory, Options, Symbolizer};

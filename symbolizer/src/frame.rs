//! Answers: what is at an address.

use std::{fmt, sync::atomic::AtomicU32};

pub use self::{frames::Frames, name::Name, source_file::SourceFile};

mod frames;
mod name;
mod source_file;

/// What is kept once and known by a number where it is kept.
pub(crate) trait Numbered {
    /// Where its number is noted.
    fn number(&self) -> &AtomicU32;

    /// Whether both are the same, not only alike.
    fn is(&self, other: &Self) -> bool;
}

/// Which kind of information a frame was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// DWARF debug information: of the file itself, of a separate debug file, or of split DWARF.
    Dwarf,
    /// `.symtab`: of the file, or of its separate debug file.
    SymbolTable,
    /// `.dynsym`: only what other files may call.
    DynamicSymbols,
    /// `.symtab` of the file that is packed into `.gnu_debugdata` ("MiniDebugInfo").
    MiniDebugInfo,
    /// A stub of the procedure linkage table, named for what it calls.
    Plt,
    /// Go's own table, `pclntab`.
    Go,
    /// `/proc/kallsyms`.
    Kallsyms,
    /// A map that a JIT compiler writes: `/tmp/perf-PID.map`.
    PerfMap,
    /// A dump that a JIT compiler writes: `jit-PID.dump`.
    JitDump,
}

impl Source {
    /// One word for it, the same in every version.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dwarf => "dwarf",
            Self::SymbolTable => "symtab",
            Self::DynamicSymbols => "dynsym",
            Self::MiniDebugInfo => "minidebuginfo",
            Self::Plt => "plt",
            Self::Go => "pclntab",
            Self::Kallsyms => "kallsyms",
            Self::PerfMap => "perf-map",
            Self::JitDump => "jitdump",
        }
    }
}

/// One function at an address. At one address there are several where the compiler put one function into another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The function; none where only a line is known.
    pub name: Option<Name>,
    /// The source file as the debug information has it: mostly an absolute path on the machine that compiled it.
    pub file: Option<SourceFile>,
    /// The line in `file`, from 1 on; 0 where it is not known.
    pub line: u32,
    /// The column in `line`, from 1 on; 0 where it is not known.
    pub column: u32,
    /// Whether the compiler put it into the function of the frame after this one.
    pub inlined: bool,
    /// What knew of it.
    pub source: Source,
}

impl Frame {
    pub(crate) fn named(name: Name, source: Source) -> Self {
        Self {
            name: Some(name),
            file: None,
            line: 0,
            column: 0,
            inlined: false,
            source,
        }
    }
}

/// `name at file:line:column`, as much of it as is known.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name.as_str())?,
            None => f.write_str("??")?,
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        write!(f, " at {file}")?;
        match (self.line, self.column) {
            (0, _) => Ok(()),
            (line, 0) => write!(f, ":{line}"),
            (line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

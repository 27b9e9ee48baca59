//! Builds programs.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
};

use object::{
    LittleEndian, Object as _, ObjectSection as _, elf,
    read::elf::{FileHeader as _, SectionHeader as _},
};

/// A compiler of this machine.
#[derive(Clone, Copy)]
pub(in crate::dwarf) enum Tool {
    C,
    Cxx,
}

/// A program in a folder of its own, which goes with it.
pub(in crate::dwarf) struct Program {
    folder: tempfile::TempDir,
    code: Range<u64>,
}

impl Program {
    pub(in crate::dwarf) fn build(tool: Tool, source: &str, flags: &str) -> Self {
        Self::try_build(tool, source, flags)
            .unwrap_or_else(|| panic!("the compiler refuses {flags}"))
    }

    /// `None` when the compiler doesn't know the flags.
    pub(in crate::dwarf) fn try_build(tool: Tool, source: &str, flags: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (compiler, file) = match tool {
            Tool::C => ("gcc", "program.c"),
            Tool::Cxx => ("g++", "program.cc"),
        };
        fs::write(folder.path().join(file), source).expect("the source");
        let status = Command::new(compiler)
            .current_dir(folder.path())
            .args(["-o", "program", file])
            .args(flags.split_whitespace())
            .output()
            .expect("the compiler")
            .status;
        if !status.success() {
            return None;
        }
        let mut bytes = fs::read(folder.path().join("program")).expect("the program");
        hide_symbols(&mut bytes);
        fs::write(folder.path().join("program"), &bytes).expect("the program");
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let text = file.section_by_name(".text").expect("its code");
        let code = text.address()..text.address() + text.size();
        Some(Self { folder, code })
    }

    /// Its folder.
    pub(in crate::dwarf) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(in crate::dwarf) fn path(&self) -> PathBuf {
        self.folder().join("program")
    }

    /// The addresses of its code.
    pub(in crate::dwarf) fn code(&self) -> Range<u64> {
        self.code.clone()
    }
}

/// Makes the symbol table one that nobody knows: where there is one, `llvm-symbolizer` takes the outermost function's name from it.
fn hide_symbols(bytes: &mut [u8]) {
    let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).expect("an ELF file");
    let sections = header
        .section_headers(LittleEndian, &*bytes)
        .expect("its sections");
    let table = sections
        .iter()
        .position(|section| section.sh_type(LittleEndian) == elf::SHT_SYMTAB)
        .expect("its symbols");
    let start = header.e_shoff(LittleEndian) as usize + 64 * table + 4;
    bytes[start..start + 4].copy_from_slice(&elf::SHT_NOTE.to_le_bytes());
}

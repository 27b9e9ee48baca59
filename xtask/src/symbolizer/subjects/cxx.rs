//! A C++ program with much inlining, built in the ways in which compilers write debug information.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{Subject, built, make, source};
use crate::{shell, symbolizer::packages::Packages};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Gcc,
    Clang,
}

/// One way of building.
struct Way {
    name: &'static str,
    kind: &'static str,
    compiler: Compiler,
    flags: &'static [&'static str],
}

const fn way(
    name: &'static str,
    kind: &'static str,
    compiler: Compiler,
    flags: &'static [&'static str],
) -> Way {
    Way {
        name,
        kind,
        compiler,
        flags,
    }
}

const WAYS: [Way; 10] = [
    way("gcc-dwarf5", "g++, DWARF 5", Compiler::Gcc, &["-gdwarf-5"]),
    way(
        "gcc-dwarf4",
        "g++, DWARF 4, type units",
        Compiler::Gcc,
        &["-gdwarf-4", "-fdebug-types-section"],
    ),
    way(
        "gcc-split5",
        "g++, DWARF 5, .dwo",
        Compiler::Gcc,
        &["-gdwarf-5", "-gsplit-dwarf"],
    ),
    way(
        "gcc-split4",
        "g++, DWARF 4, .dwo",
        Compiler::Gcc,
        &["-gdwarf-4", "-gsplit-dwarf"],
    ),
    way(
        "gcc-zlib",
        "g++, sections compressed with zlib",
        Compiler::Gcc,
        &["-g", "-gz=zlib", "-Wl,--compress-debug-sections=zlib"],
    ),
    way(
        "clang-dwarf5",
        "clang, DWARF 5, a section for each function",
        Compiler::Clang,
        &["-gdwarf-5", "-ffunction-sections", "-Wl,--gc-sections"],
    ),
    way(
        "clang-dwarf4",
        "clang, DWARF 4",
        Compiler::Clang,
        &["-gdwarf-4"],
    ),
    way(
        "clang-lines",
        "clang, line tables only",
        Compiler::Clang,
        &["-gline-tables-only"],
    ),
    way(
        "clang-zstd",
        "clang, sections compressed with zstd",
        Compiler::Clang,
        &["-g", "-gz=zstd", "-Wl,--compress-debug-sections=zstd"],
    ),
    way(
        "clang-dwp",
        "clang, DWARF 5, .dwp",
        Compiler::Clang,
        &["-gdwarf-5", "-gsplit-dwarf"],
    ),
];

/// Builds those that are wanted.
pub fn build(packages: &Packages, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for way in WAYS.iter().filter(|way| wanted(way.name)) {
        let program = match way.compiler {
            Compiler::Gcc => {
                ensure!(
                    shell::find("g++").is_some(),
                    "no g++: `cargo xtask setup` installs it"
                );
                PathBuf::from("g++")
            }
            Compiler::Clang => clang(packages)?,
        };
        let output = compile(way, &program)?;
        if way.name == "clang-dwp" {
            pack(&output)?;
        }
        subjects.push(Subject::of(way.name, way.kind, output));
    }
    if wanted("musl") {
        subjects.push(musl(packages)?);
    }
    Ok(subjects)
}

/// Compiles in a folder of its own: split debug information lies beside the objects.
fn compile(way: &Way, program: &Path) -> Result<PathBuf> {
    let folder = built()?.join(way.name);
    std::fs::create_dir_all(&folder)?;
    let (source, object, output) = (
        source("inlining.cpp"),
        folder.join("inlining.o"),
        folder.join("inlining"),
    );
    let mut compile = Command::new(program);
    compile
        .current_dir(&folder)
        .args(["-std=c++17", "-O2", "-c", "-o", "inlining.o"])
        .args(way.flags)
        .arg(&source);
    // A linker's flag is none of the compiler's.
    if way.compiler == Compiler::Clang {
        compile.arg("-Wno-unused-command-line-argument");
    }
    make(&object, &[&source], &mut compile)?;
    let mut link = Command::new(program);
    link.current_dir(&folder)
        .args(["-o", "inlining", "inlining.o"])
        .args(way.flags);
    make(&output, &[&object], &mut link)?;
    Ok(output)
}

/// Packs the split files into one and takes them away, so that only the package can answer.
fn pack(program: &Path) -> Result<()> {
    let dwp = program.with_extension("dwp");
    let split = program.with_extension("dwo");
    if split.is_file() {
        let newest = (14..40)
            .rev()
            .map(|version| format!("llvm-dwp-{version}"))
            .find(|name| shell::find(name).is_some());
        let mut pack = shell::command(newest.as_deref().unwrap_or("llvm-dwp"));
        shell::run(pack.arg("-e").arg(program).arg("-o").arg(&dwp))?;
        std::fs::remove_file(&split)?;
    }
    ensure!(dwp.is_file(), "no {}", dwp.display());
    Ok(())
}

/// clang of a package, which is unpacked; it runs over the machine's LLVM.
fn clang(packages: &Packages) -> Result<PathBuf> {
    for package in [
        "clang-22",
        "libclang-common-22-dev",
        "libclang-cpp22",
        "libllvm22",
    ] {
        packages.need(package)?;
    }
    Ok(packages.root().join("usr/lib/llvm-22/bin/clang++"))
}

/// A static program over musl, whose own functions have symbols and no debug information.
fn musl(packages: &Packages) -> Result<Subject> {
    packages.need("musl-dev")?;
    let lib = packages.root().join("usr/lib/x86_64-linux-musl");
    let (source, output) = (source("inlining.c"), built()?.join("musl"));
    let mut gcc = shell::command("gcc");
    gcc.args(["-O2", "-g", "-static", "-nostdinc", "-nostdlib", "-isystem"])
        .arg(packages.root().join("usr/include/x86_64-linux-musl"))
        .arg("-o")
        .arg(&output)
        .args([
            lib.join("crt1.o"),
            lib.join("crti.o"),
            source.clone(),
            lib.join("libc.a"),
        ])
        .arg("-lgcc")
        .arg(lib.join("crtn.o"));
    make(&output, &[&source], &mut gcc)?;
    Ok(Subject::of("musl", "static, musl", output))
}

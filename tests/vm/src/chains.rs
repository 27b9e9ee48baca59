//! The programs whose call chains are known (`tests/programs/chains`), compiled as their users would: optimized, without frame pointers
//! and without debug information.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{path::find, subjects::process};

/// How C and C++ are compiled. A call in the last place must leave its caller's frame, or the chain would not be the one that the source shows.
const FLAGS: [&str; 4] = [
    "-O2",
    "-fomit-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-Wall",
];

/// With frame pointers, also in functions that call none.
const FRAME_POINTERS: [&str; 4] = [
    "-O2",
    "-fno-omit-frame-pointer",
    "-mno-omit-leaf-frame-pointer",
    "-fno-optimize-sibling-calls",
];

/// A program, and how it is made of its source.
struct Recipe {
    program: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
    source: &'static str,
    /// Behind the source, as the linker wants its libraries.
    links: &'static [&'static str],
}

/// All of them; what links a library comes behind it.
const RECIPES: [Recipe; 9] = [
    Recipe {
        program: "chains",
        compiler: "cc",
        flags: &FLAGS,
        source: "chains.c",
        links: &["-pthread"],
    },
    Recipe {
        program: "chains-fp",
        compiler: "cc",
        flags: &FRAME_POINTERS,
        source: "chains.c",
        links: &["-pthread"],
    },
    Recipe {
        program: "chains-static",
        compiler: "cc",
        flags: &FLAGS,
        source: "chains.c",
        links: &["-static", "-pthread"],
    },
    Recipe {
        program: "chains-musl",
        compiler: "musl-gcc",
        flags: &FLAGS,
        source: "chains.c",
        links: &["-static", "-pthread"],
    },
    Recipe {
        program: "libchains.so",
        compiler: "cc",
        flags: &FLAGS,
        source: "library.c",
        links: &["-shared", "-fPIC", "-Wl,-z,lazy"],
    },
    Recipe {
        program: "chain-loads",
        compiler: "cc",
        flags: &FLAGS,
        source: "loads.c",
        links: &["-L.", "-lchains", "-Wl,-z,lazy", "-Wl,-rpath,$ORIGIN"],
    },
    Recipe {
        program: "chain-cpp",
        compiler: "c++",
        flags: &FLAGS,
        source: "chains.cpp",
        links: &[],
    },
    Recipe {
        program: "chain-rust",
        compiler: "rustc",
        flags: &["-O", "--edition", "2024"],
        source: "chains.rs",
        links: &[],
    },
    // As many are released: without an entry for the function through which `main` is called.
    Recipe {
        program: "chain-abort",
        compiler: "rustc",
        flags: &["-O", "--edition", "2024", "-C", "panic=abort"],
        source: "chains.rs",
        links: &[],
    },
];

/// The program in Go.
const GO: &str = "chain-go";

/// Compiles all for which there is a compiler into `dir`. A scenario says which it did without.
pub fn compile(dir: &Path) -> Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../programs/chains")
        .canonicalize()
        .context("no tests/programs/chains")?;
    for recipe in &RECIPES {
        if find(recipe.compiler).is_none() {
            continue;
        }
        let mut command = process::command(recipe.compiler)?;
        command.current_dir(dir).args(recipe.flags);
        command.args(["-o", recipe.program]);
        command.arg(sources.join(recipe.source)).args(recipe.links);
        process::run(command).with_context(|| format!("{} does not compile", recipe.source))?;
    }
    if find("go").is_some() {
        let mut go = process::command("go")?;
        go.args(["build", "-o"]).arg(dir.join(GO));
        go.arg(sources.join("chains.go")).envs([
            ("GOPROXY", "off"),
            ("GO111MODULE", "off"),
            ("CGO_ENABLED", "0"),
        ]);
        if std::env::var_os("HOME").is_none() {
            go.env("GOCACHE", dir.join("go-cache"));
        }
        process::run(go).context("chains.go does not compile")?;
    }
    Ok(())
}

/// Where `program` is in `dir`, if it could be compiled.
pub fn path(dir: &Path, program: &str) -> Option<PathBuf> {
    Some(dir.join(program)).filter(|path| path.is_file())
}

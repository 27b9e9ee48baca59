//! Programs of Go's own distribution, with debug information and without: the stripped ones have `.gopclntab` and no more.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use object::{Object as _, ObjectSection as _};

use super::{Set, Subject, built, stripped::objcopy};
use crate::shell;

/// Builds those that are wanted. gofmt is stripped by Go's linker; go, whose code has the linker's flags within, by objcopy.
pub fn build(set: Set, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    if wanted("gofmt-stripped") {
        let whole = compile("gofmt", "gofmt", "-compressdwarf=true")?;
        let bare = compile("gofmt", "gofmt-stripped", "-s -w")?;
        ensure!(
            code(&whole)? == code(&bare)?,
            "gofmt: stripping changed the code"
        );
        subjects.push(stripped("gofmt-stripped", bare, &whole)?);
    }
    if wanted("gofmt") {
        let whole = compile("gofmt", "gofmt", "-compressdwarf=true")?;
        subjects.push(Subject::of("gofmt", "Go, DWARF compressed", whole));
    }
    if set == Set::All && wanted("go-stripped") {
        let whole = compile("go", "go", "-compressdwarf=false")?;
        let bare = whole.with_extension("stripped");
        objcopy(&["--strip-all"], &whole, &bare)?;
        subjects.push(stripped("go-stripped", bare, &whole)?);
    }
    if set == Set::All && wanted("go") {
        let whole = compile("go", "go", "-compressdwarf=false")?;
        subjects.push(Subject::of("go", "Go", whole));
    }
    Ok(subjects)
}

/// The truth is the program with its debug information and without symbols: those have names that Go's own table does not know (`.abi0`).
fn stripped(name: &str, bare: PathBuf, whole: &Path) -> Result<Subject> {
    let truth = whole.with_extension("without-symbols");
    objcopy(&["--strip-all", "--keep-section=.debug_*"], whole, &truth)?;
    Ok(Subject {
        truth,
        ..Subject::of(name, "Go, stripped: .gopclntab only", bare)
    })
}

/// Go's own cache makes a second build cheap.
fn compile(program: &str, name: &str, linker: &str) -> Result<PathBuf> {
    let output = built()?.join(name);
    shell::run(
        shell::command("go")
            .env("CGO_ENABLED", "0")
            .args(["build", "-ldflags", linker, "-o"])
            .arg(&output)
            .arg(format!("cmd/{program}")),
    )?;
    Ok(output)
}

fn code(file: &Path) -> Result<Vec<u8>> {
    let data = std::fs::read(file)?;
    let object = object::File::parse(&*data)?;
    let text = object.section_by_name(".text");
    Ok(text
        .map(|text| text.data().map(<[u8]>::to_vec))
        .transpose()?
        .unwrap_or_default())
}

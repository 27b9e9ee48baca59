//! The ELF files of one file system.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::shell;

/// Which of them.
#[derive(Args)]
pub struct Selection {
    /// Where to look for files; other file systems below are left out
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// Folders to leave out; this repository is left out anyway: its seeds are damaged on purpose
    #[arg(long, value_name = "FOLDER")]
    skip: Vec<PathBuf>,
    /// The most ELF files
    #[arg(long, default_value_t = 20_000)]
    files: usize,
}

impl Selection {
    /// Finds them.
    pub fn find(&self) -> Result<Vec<PathBuf>> {
        let mut skip = self.skip.clone();
        skip.push(shell::root());
        elf_files(&self.root, &skip, self.files)
    }
}

/// Up to `most` ELF files below a folder and not in one of `skip`, each once however many names it has. What can't be read is left out, and so is a name
/// that is no line of text.
fn elf_files(root: &Path, skip: &[PathBuf], most: usize) -> Result<Vec<PathBuf>> {
    let device = fs::metadata(root)
        .with_context(|| format!("cannot look at {}", root.display()))?
        .dev();
    let mut folders = vec![root.to_path_buf()];
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if metadata.dev() != device {
                continue;
            }
            if metadata.is_dir() {
                if !skip.contains(&path) {
                    folders.push(path);
                }
            } else if metadata.is_file() && seen.insert(metadata.ino()) && is_elf(&path) {
                if found.len() == most {
                    return Ok(found);
                }
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn is_elf(path: &Path) -> bool {
    let is_line = path.to_str().is_some_and(|name| !name.contains('\n'));
    let mut magic = [0; 4];
    is_line
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok()
        && magic == *b"\x7fELF"
}

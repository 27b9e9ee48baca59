//! Debian's packages, unpacked below `target/symbolizer/root` and never installed.

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    apt::Release,
    shell,
    vm::apt::{Apt, Mirror},
};

/// A root folder that packages are unpacked into as they are asked for.
pub struct Packages {
    folder: PathBuf,
    apt: OnceCell<Apt>,
}

impl Packages {
    /// Fetches nothing yet.
    pub fn new() -> Self {
        Self {
            folder: shell::target().join("symbolizer"),
            apt: OnceCell::new(),
        }
    }

    /// Where the packages' files lie.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Unpacks `package` unless it was before.
    pub fn need(&self, package: &str) -> Result<()> {
        self.once(package, |apt| apt.unpack(package, &self.root()))
    }

    /// Unpacks of the newest package that matches `pattern`, an extended regular expression, the `files` that match, unless it was
    /// done before.
    pub fn need_newest(&self, pattern: &str, files: &str) -> Result<()> {
        self.once(pattern, |apt| {
            let newest = apt
                .names(pattern)?
                .into_iter()
                .max_by_key(|name| numbers(name))
                .with_context(|| format!("the mirror shows no package {pattern}"))?;
            apt.unpack_files(&newest, files, &self.root())
        })
    }

    fn once(&self, what: &str, unpack: impl FnOnce(&Apt) -> Result<()>) -> Result<()> {
        let stamps = self.folder.join("unpacked");
        let name: String = what
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || "-+.".contains(*letter))
            .collect();
        let stamp = stamps.join(name);
        if stamp.is_file() {
            return Ok(());
        }
        println!("unpacks {what} below {}", self.root().display());
        unpack(self.apt()?)?;
        fs::create_dir_all(&stamps)
            .and_then(|()| fs::write(&stamp, ""))
            .with_context(|| format!("cannot write {}", stamp.display()))
    }

    fn apt(&self) -> Result<&Apt> {
        if let Some(apt) = self.apt.get() {
            return Ok(apt);
        }
        let release = Release::here()
            .context("the files come from Debian's packages, and this is no Debian")?;
        let (updates, security) = (
            format!("{}-updates", release.codename),
            format!("{}-security", release.codename),
        );
        let suites = [
            (release.codename.as_str(), Mirror::Main),
            (&updates, Mirror::Main),
            (&security, Mirror::Security),
        ];
        let apt = Apt::new(&self.folder.join("apt"), &suites)?;
        apt.update()?;
        Ok(self.apt.get_or_init(|| apt))
    }
}

/// The numbers in a package's name, by which a later release is told from an earlier one.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Where the unpacked packages keep their separate debug files.
pub fn debug_files(root: &Path) -> PathBuf {
    root.join("usr/lib/debug")
}

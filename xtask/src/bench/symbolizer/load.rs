//! What the symbolizers are asked: files of addresses.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{contender::Contender, folder};
use crate::symbolizer::{
    addresses::{self, Random},
    subjects::Subject,
};

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One address.
    First,
    /// Some addresses, each once.
    Some,
    /// Ten times as many, each once.
    Many,
    /// As many, but those of `Some` again and again.
    Repeated,
}

/// Addresses in a file, one a line.
#[derive(Debug)]
pub struct Load {
    pub kind: Kind,
    pub file: PathBuf,
    pub addresses: u32,
}

/// All that one file's symbolizers are asked.
pub struct Loads {
    ordinary: Vec<Load>,
    /// For those that need milliseconds for an address.
    few: Vec<Load>,
}

/// As many distinct addresses, at most.
const MANY: u32 = 100_000;
const FEW: u32 = 1_000;

impl Loads {
    /// Writes the files.
    pub fn make(subject: &Subject) -> Result<Self> {
        let mut code = addresses::executable(&subject.file)?;
        code.retain(|section| !section.is_plt);
        let bytes: u64 = code.iter().map(|section| section.size).sum();
        ensure!(
            bytes > 4 * u64::from(MANY),
            "{}: too little code",
            subject.file.display()
        );
        let mut random = Random::of(&subject.name, 0);
        let mut seen = HashSet::new();
        let mut distinct = Vec::new();
        while distinct.len() < MANY as usize {
            distinct.extend(
                addresses::pick(&code, &mut random, 1)
                    .into_iter()
                    .filter(|&address| seen.insert(address)),
            );
        }
        let make = |many: u32| -> Result<Vec<Load>> {
            let load =
                |kind, addresses: Vec<u64>| Load::write(&subject.name, many, kind, &addresses);
            let (many, some) = (&distinct[..many as usize], &distinct[..many as usize / 10]);
            Ok(vec![
                load(Kind::First, some[..1].to_vec())?,
                load(Kind::Some, some.to_vec())?,
                load(Kind::Many, many.to_vec())?,
                load(Kind::Repeated, some.repeat(10))?,
            ])
        };
        Ok(Self {
            ordinary: make(MANY)?,
            few: make(FEW)?,
        })
    }

    /// Those for one symbolizer.
    pub fn of(&self, contender: &Contender) -> &[Load] {
        if contender.is_slow() {
            &self.few
        } else {
            &self.ordinary
        }
    }

    /// The file with the most addresses.
    pub fn most(&self) -> &Path {
        &self.ordinary[2].file
    }
}

impl Load {
    fn write(subject: &str, many: u32, kind: Kind, addresses: &[u64]) -> Result<Self> {
        let file = folder()?.join(format!("{subject}-{many}-{kind:?}"));
        let mut text = String::new();
        for address in addresses {
            // Writing to a string can't fail.
            let _ = writeln!(text, "0x{address:x}");
        }
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self {
            kind,
            file,
            addresses: u32::try_from(addresses.len())?,
        })
    }
}

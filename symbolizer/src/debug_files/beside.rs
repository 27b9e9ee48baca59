//! The other files that a file's debug information is spread over.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Finder, links::AltLink};
use crate::{
    Error,
    dwarf::Companions,
    elf::{Input, sections::Sections},
    module::Whereabouts,
};

/// Finds them for one file.
#[derive(Debug)]
pub(crate) struct Beside {
    finder: Arc<Finder>,
    /// Where the file is that is symbolized; the one with its debug information may be another.
    whereabouts: Option<Whereabouts>,
    /// That other one, as its own path names it.
    path: PathBuf,
}

impl Beside {
    pub(crate) fn new(
        finder: &Arc<Finder>,
        input: &Input,
        whereabouts: Option<&Whereabouts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            finder: Arc::clone(finder),
            whereabouts: whereabouts.cloned(),
            path: PathBuf::from(&**input.name()),
        })
    }

    fn open(&self, path: &Path) -> Result<Option<Sections>, Error> {
        if !path.is_absolute() {
            return Ok(None);
        }
        let found = self.finder.by_path(path, self.whereabouts.as_ref());
        found.map(|found| found.input.sections()).transpose()
    }

    fn program(&self) -> Option<&Path> {
        self.whereabouts.as_ref().map(|at| at.path.as_path())
    }
}

impl Companions for Beside {
    fn supplementary(&self, path: &str, build_id: &[u8]) -> Result<Option<Sections>, Error> {
        let link = AltLink {
            path: PathBuf::from(path),
            build_id: build_id.to_vec(),
        };
        // The path counts from the file that has it.
        let from = self.whereabouts.as_ref().map(|at| Whereabouts {
            root: at.root.clone(),
            path: if self.path.is_absolute() {
                self.path.clone()
            } else {
                at.path.clone()
            },
        });
        let found = self.finder.supplementary(&link, from.as_ref())?;
        found.map(|found| found.input.sections()).transpose()
    }

    /// Beside the program, or beside its debug file, with `.dwp` behind the whole name.
    fn package(&self) -> Result<Option<Sections>, Error> {
        for path in self.program().into_iter().chain([self.path.as_path()]) {
            let mut package = path.as_os_str().to_owned();
            package.push(".dwp");
            if let Some(found) = self.open(Path::new(&package))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where the compiler put it, or beside the program.
    fn split(&self, directory: &str, name: &str) -> Result<Option<Sections>, Error> {
        if let Some(found) = self.open(&Path::new(directory).join(name))? {
            return Ok(Some(found));
        }
        let folder = self.program().and_then(Path::parent);
        let file = Path::new(name).file_name();
        match (folder, file) {
            (Some(folder), Some(file)) => self.open(&folder.join(file)),
            _ => Ok(None),
        }
    }
}

//! Where debug files lie that are apart from the file that they are for.
//!
//! Each is known by the build id of that file, or by a name and a checksum that the file has of it (GDB's documentation, "Debugging
//! Information in Separate Files"). It is looked for in the root of the process that has the file mapped, then in our own.

use std::{
    error,
    fmt::Debug,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Error,
    elf::{Elf, Image, Input},
    module::Whereabouts,
    root::open_in,
};

pub(crate) mod beside;
mod checksum;
pub(crate) mod links;
pub(crate) mod packed;

/// Where debug files may be had that are not on this machine: a debuginfod server, a store of symbols. Threads ask at the same time.
///
/// It is asked when no file here has what is wanted, once for each file as long as that is in memory. An answer may take as long as the caller of the
/// symbolizer wants to wait: keep a time limit.
pub trait DebugFiles: Debug + Send + Sync {
    /// The file with the debug information of whatever has a build id; `None` where there is none.
    ///
    /// # Errors
    /// When that can't be told.
    fn debug_file(
        &self,
        build_id: &[u8],
    ) -> Result<Option<File>, Box<dyn error::Error + Send + Sync>>;
}

/// Looks for debug files.
#[derive(Debug)]
pub(crate) struct Finder {
    directories: Vec<PathBuf>,
    elsewhere: Option<Arc<dyn DebugFiles>>,
    limit: usize,
}

/// A debug file with its headers.
#[derive(Debug)]
pub(crate) struct DebugFile {
    pub(crate) input: Input,
    pub(crate) elf: Elf,
}

/// Build ids of fewer bytes name nothing: their first byte is a folder.
const MIN_BUILD_ID: usize = 2;

impl Finder {
    pub(crate) fn new(
        directories: Vec<PathBuf>,
        elsewhere: Option<Arc<dyn DebugFiles>>,
        limit: usize,
    ) -> Self {
        Self {
            directories,
            elsewhere,
            limit,
        }
    }

    /// The debug file of a file, by its build id, then by its link, then from elsewhere.
    ///
    /// # Errors
    /// When a link contradicts itself, or when what is elsewhere can't be told.
    pub(crate) fn debug_file(
        &self,
        input: &Input,
        elf: &Elf,
        whereabouts: Option<&Whereabouts>,
    ) -> Result<Option<DebugFile>, Error> {
        let build_id = elf.build_id.as_deref();
        if let Some(found) = build_id.and_then(|id| self.by_build_id(id, whereabouts)) {
            return Ok(Some(found));
        }
        if let Some(link) = links::debug_link(input, elf)?
            && let Some(found) = self.by_link(&link, build_id, whereabouts)
        {
            return Ok(Some(found));
        }
        build_id.map_or(Ok(None), |id| self.elsewhere(id))
    }

    /// The file that others share their debug information in (`.gnu_debugaltlink`), for a file that lies at `whereabouts`.
    pub(crate) fn supplementary(
        &self,
        link: &links::AltLink,
        whereabouts: Option<&Whereabouts>,
    ) -> Result<Option<DebugFile>, Error> {
        let beside = whereabouts.and_then(|at| Some(at.path.parent()?.join(&link.path)));
        let paths = beside.into_iter().chain([link.path.clone()]);
        for path in paths.filter(|path| path.is_absolute()) {
            for root in roots(whereabouts) {
                if let Some(found) = self.open(root, &path, Some(&link.build_id)) {
                    return Ok(Some(found));
                }
            }
        }
        let shared = self.shared(link, whereabouts);
        if let Some(found) = shared.or_else(|| self.by_build_id(&link.build_id, whereabouts)) {
            return Ok(Some(found));
        }
        self.elsewhere(&link.build_id)
    }

    /// The same in our directories, where it lies as distributions have it: `.dwz` and what follows in its path.
    fn shared(
        &self,
        link: &links::AltLink,
        whereabouts: Option<&Whereabouts>,
    ) -> Option<DebugFile> {
        let parts = link.path.components();
        let below: PathBuf = parts
            .skip_while(|part| part.as_os_str() != ".dwz")
            .collect();
        if below.as_os_str().is_empty() {
            return None;
        }
        roots(whereabouts).into_iter().find_map(|root| {
            self.directories.iter().find_map(|directory| {
                self.open(root, &directory.join(&below), Some(&link.build_id))
            })
        })
    }

    /// A file by its path, in the roots of whoever names it; for a relative path also beside that file.
    pub(crate) fn by_path(
        &self,
        path: &Path,
        whereabouts: Option<&Whereabouts>,
    ) -> Option<DebugFile> {
        roots(whereabouts)
            .into_iter()
            .find_map(|root| self.open(root, path, None))
    }

    fn by_build_id(&self, id: &[u8], whereabouts: Option<&Whereabouts>) -> Option<DebugFile> {
        if id.len() < MIN_BUILD_ID {
            return None;
        }
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!(".build-id/{}/{}.debug", &hex[..2], &hex[2..]);
        roots(whereabouts).into_iter().find_map(|root| {
            self.directories
                .iter()
                .find_map(|directory| self.open(root, &directory.join(&name), Some(id)))
        })
    }

    fn by_link(
        &self,
        link: &links::DebugLink,
        build_id: Option<&[u8]>,
        whereabouts: Option<&Whereabouts>,
    ) -> Option<DebugFile> {
        let folder = whereabouts?.path.parent()?;
        let in_folder = folder.strip_prefix("/").unwrap_or(folder);
        let beside = [
            folder.join(&link.name),
            folder.join(".debug").join(&link.name),
        ];
        let apart = self.directories.iter();
        let apart = apart.map(|directory| directory.join(in_folder).join(&link.name));
        let paths: Vec<_> = beside.into_iter().chain(apart).collect();
        roots(whereabouts).into_iter().find_map(|root| {
            paths.iter().find_map(|path| {
                let found = self.open(root, path, build_id)?;
                let Image::File(file) = found.input.image() else {
                    return None;
                };
                // A file may be named like its debug file: its checksum is another.
                (checksum::crc32(file).ok()? == link.crc32).then_some(found)
            })
        })
    }

    fn elsewhere(&self, build_id: &[u8]) -> Result<Option<DebugFile>, Error> {
        let Some(elsewhere) = &self.elsewhere else {
            return Ok(None);
        };
        let hex: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = elsewhere
            .debug_file(build_id)
            .map_err(|cause| Error::Elsewhere {
                build_id: hex.clone(),
                cause: cause.into(),
            })?;
        let Some(file) = file else {
            return Ok(None);
        };
        let name = format!("the debug file of {hex}");
        let found = self.read(file, &name)?;
        match &found.elf.build_id {
            Some(other) if other != build_id => Err(Error::malformed(
                &name,
                "the notes",
                "it has the build id of another",
            )),
            _ => Ok(Some(found)),
        }
    }

    /// A file that is there, is an ELF file, and is of the build id that is wanted. Another one in its place is as good as none.
    fn open(&self, root: &Path, path: &Path, build_id: Option<&[u8]>) -> Option<DebugFile> {
        let file = open_in(root, path).ok()?;
        let found = self.read(file, &path.to_string_lossy()).ok()?;
        let is_other = match (build_id, &found.elf.build_id) {
            (Some(wanted), Some(found)) => wanted != found,
            _ => false,
        };
        (!is_other).then_some(found)
    }

    fn read(&self, file: File, name: &str) -> Result<DebugFile, Error> {
        let input = Input::new(Image::File(Arc::new(file)), name.into(), self.limit);
        let elf = Elf::read(&input.source()?)?;
        Ok(DebugFile { input, elf })
    }
}

/// A process's root, then ours.
fn roots(whereabouts: Option<&Whereabouts>) -> Vec<&Path> {
    let ours = Path::new("/");
    match whereabouts {
        Some(whereabouts) if whereabouts.root != ours => vec![&whereabouts.root, ours],
        _ => vec![ours],
    }
}

#[cfg(test)]
mod tests;

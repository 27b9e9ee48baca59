//! Files as mappings name them, each once.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use fathom_symbolizer::{FileId, Mapping, MappingKind};

use super::{Backing, Region};
use crate::probes::mappings::Mapped;

/// A file that is mapped.
#[derive(Debug)]
pub(in crate::profile) struct MappedFile {
    /// Which one.
    pub(in crate::profile) id: FileId,
    /// Its inode's generation, which changes as a number is used again; /proc/PID/maps does not say it.
    pub(in crate::profile) generation: Option<u64>,
    /// Its path in the mount namespace of whoever mapped it.
    pub(in crate::profile) path: Box<str>,
    /// Whether the path was unlinked when it was mapped, or no path leads to it.
    pub(in crate::profile) is_deleted: bool,
}

/// The files that somebody has mapped. They are forgotten with the last region of them.
#[derive(Debug, Default)]
pub(in crate::profile) struct KnownFiles {
    files: HashMap<FileId, Weak<MappedFile>>,
    /// How many there were when the forgotten ones were last taken out.
    tidied: usize,
}

impl KnownFiles {
    /// The file of an event.
    pub(super) fn mapped(&mut self, mapped: &Mapped<'_>) -> Arc<MappedFile> {
        let id = FileId {
            device: mapped.device,
            inode: mapped.inode,
        };
        self.file(id, mapped.generation, || {
            let path = String::from_utf8_lossy(mapped.path);
            match path.strip_suffix(" (deleted)") {
                Some(path) => (path.into(), true),
                None => (path.into(), false),
            }
        })
    }

    /// The region of a line of /proc/PID/maps.
    pub(super) fn region(&mut self, mapping: &Mapping) -> Region {
        let backing = match &mapping.kind {
            MappingKind::File { id, path, deleted } => {
                Backing::File(self.file(*id, None, || (path.as_str().into(), *deleted)))
            }
            MappingKind::Vdso => Backing::Vdso,
            MappingKind::Anonymous { .. } => Backing::Anonymous,
        };
        Region {
            start: mapping.start,
            end: mapping.end,
            offset: match backing {
                Backing::File(_) => mapping.offset,
                Backing::Vdso | Backing::Anonymous => 0,
            },
            backing,
        }
    }

    fn file(
        &mut self,
        id: FileId,
        generation: Option<u64>,
        path: impl FnOnce() -> (Box<str>, bool),
    ) -> Arc<MappedFile> {
        let known = self.files.get(&id).and_then(Weak::upgrade);
        let is_same = |known: &Arc<MappedFile>| match (known.generation, generation) {
            (Some(known), Some(generation)) => known == generation,
            // Whoever has it open or mapped keeps the number from being used again, and nearly always somebody does.
            _ => true,
        };
        if let Some(known) = known.filter(is_same) {
            return known;
        }
        let (path, is_deleted) = path();
        let file = Arc::new(MappedFile {
            id,
            generation,
            path,
            is_deleted,
        });
        self.files.insert(id, Arc::downgrade(&file));
        file
    }

    /// How many are known, those included that nobody has mapped any more.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Takes out those that nobody has mapped any more, once they may be half of all.
    pub(super) fn tidy(&mut self) {
        if self.files.len() > 2 * self.tidied + 64 {
            self.files.retain(|_, file| file.strong_count() > 0);
            self.tidied = self.files.len();
        }
    }
}

//! Which files have the same table.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use fathom_symbolizer::Module;

/// What is compared of a file beside its build id and its length, as tools that edit a file leave its build id as it is: the ELF
/// header and the program headers, which linkers put behind it.
const HEAD: usize = 4096;

/// What makes files share a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// What is in it.
    Content {
        build_id: Box<[u8]>,
        length: u64,
        head: u64,
    },
    /// Which file it is: one without a build id, or that can't be read.
    Inode {
        device: u64,
        inode: u64,
        length: u64,
        modified: (i64, i64),
    },
    /// The kernel's code in user space.
    Vdso,
}

impl Key {
    pub(super) fn of(module: &Module) -> Self {
        let Some(file) = module.file() else {
            return Self::Vdso;
        };
        let metadata = file.metadata();
        let length = metadata.as_ref().map_or(0, |metadata| metadata.size());
        if let (Some(build_id), Some(head)) = (module.build_id(), head(file)) {
            return Self::Content {
                build_id: build_id.into(),
                length,
                head,
            };
        }
        let number = |field: fn(&std::fs::Metadata) -> u64| metadata.as_ref().map_or(0, field);
        Self::Inode {
            device: number(|metadata| metadata.dev()),
            inode: number(|metadata| metadata.ino()),
            length,
            modified: metadata
                .as_ref()
                .map_or((0, 0), |metadata| (metadata.mtime(), metadata.mtime_nsec())),
        }
    }
}

/// A hash of a file's first bytes.
fn head(file: &File) -> Option<u64> {
    let mut head = vec![0; HEAD];
    let read = file.read_at(&mut head, 0).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&head[..read]);
    Some(hasher.finish())
}

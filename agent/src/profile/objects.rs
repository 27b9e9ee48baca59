//! What processes have mapped: read when a process is first seen, with each file opened and its build id known, so
//! that the names can still be read when the process is gone and its files are deleted.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Weak, atomic::AtomicBool},
};

use fathom_symbolizer::{
    Elf, Error, FileId, Mapping, MappingKind, mappings, open_mapped, read_vdso,
};

/// Something with code in it that processes map.
#[derive(Debug)]
pub(super) struct Object {
    /// Never used twice, as an inode is.
    pub(super) serial: u64,
    /// The path as the process saw it.
    pub(super) name: Arc<str>,
    /// The GNU build id.
    pub(super) build_id: Option<Arc<[u8]>>,
    /// Where its symbols are.
    pub(super) code: Code,
    /// Whether its symbols were asked for and can't be had: they are too large, or the file is broken.
    pub(super) unreadable: AtomicBool,
}

/// Where an object's symbols are.
#[derive(Debug)]
pub(super) enum Code {
    /// An open file.
    File(File),
    /// Parsed already: the vDSO.
    Parsed(Arc<Elf>),
    /// Out of reach, or nothing that has symbols.
    None,
}

/// A mapping with what is behind it.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) mapping: Mapping,
    pub(super) object: Arc<Object>,
}

/// All objects that are in use. One that no process has mapped for a while is closed: an open file keeps
/// the disk space of a deleted one.
#[derive(Debug)]
pub(super) struct Objects {
    files: HashMap<FileId, Weak<Object>>,
    /// By whether the process has 64 bits.
    vdsos: HashMap<bool, Arc<Object>>,
    next_serial: u64,
    /// The most files that are open at the same time.
    limit: usize,
    /// Files that could not be opened or read, or were too many.
    pub(super) unreachable: u64,
}

impl Objects {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            files: HashMap::new(),
            vdsos: HashMap::new(),
            next_serial: 0,
            limit,
            unreachable: 0,
        }
    }

    /// The executable mappings of a process. Objects that are known are not opened again.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn of_process(&mut self, pid: u32) -> Result<Vec<Mapped>, Error> {
        let mappings = mappings(pid)?;
        let code = mappings.into_iter().filter(|mapping| mapping.executable);
        Ok(code
            .map(|mapping| Mapped {
                object: self.object(pid, &mapping),
                mapping,
            })
            .collect())
    }

    /// Forgets the files that nobody holds any more.
    pub(super) fn close_unused(&mut self) {
        self.files.retain(|_, object| object.strong_count() > 0);
    }

    fn object(&mut self, pid: u32, mapping: &Mapping) -> Arc<Object> {
        match &mapping.kind {
            MappingKind::File { id, .. } => {
                if let Some(object) = self.files.get(id).and_then(Weak::upgrade) {
                    return object;
                }
                let object = self.open(pid, mapping);
                self.files.insert(*id, Arc::downgrade(&object));
                object
            }
            // The kernel has one image for all 64-bit processes and one for those of 32 bits.
            MappingKind::Vdso => {
                let wide = mapping.end > u64::from(u32::MAX);
                if let Some(object) = self.vdsos.get(&wide) {
                    return Arc::clone(object);
                }
                let object = self.read_vdso(pid, mapping);
                if matches!(object.code, Code::Parsed(_)) {
                    self.vdsos.insert(wide, Arc::clone(&object));
                }
                object
            }
            MappingKind::Anonymous { .. } => self.add(mapping, None, Code::None),
        }
    }

    fn open(&mut self, pid: u32, mapping: &Mapping) -> Arc<Object> {
        if self.files.len() >= self.limit {
            self.close_unused();
        }
        let opened = if self.files.len() < self.limit {
            open_mapped(pid, mapping).and_then(|file| {
                let build_id = Elf::build_id_of(&file, &mapping.name())?;
                Ok((file, build_id))
            })
        } else {
            self.unreachable += 1;
            return self.add(mapping, None, Code::None);
        };
        match opened {
            Ok((file, build_id)) => self.add(mapping, build_id, Code::File(file)),
            Err(error) => {
                tracing::debug!(pid, %error, "the symbols of a mapped file are out of reach");
                self.unreachable += 1;
                self.add(mapping, None, Code::None)
            }
        }
    }

    fn read_vdso(&mut self, pid: u32, mapping: &Mapping) -> Arc<Object> {
        let parsed = read_vdso(pid, mapping)
            .and_then(|image| Elf::from_bytes(&image, "[vdso]", image.len()));
        match parsed {
            Ok(elf) => {
                let build_id = elf.build_id().map(<[u8]>::to_vec);
                self.add(mapping, build_id, Code::Parsed(Arc::new(elf)))
            }
            Err(error) => {
                tracing::debug!(pid, %error, "the vDSO can't be read");
                self.unreachable += 1;
                self.add(mapping, None, Code::None)
            }
        }
    }

    fn add(&mut self, mapping: &Mapping, build_id: Option<Vec<u8>>, code: Code) -> Arc<Object> {
        self.next_serial += 1;
        Arc::new(Object {
            serial: self.next_serial,
            name: mapping.name().into(),
            build_id: build_id.map(Into::into),
            code,
            unreadable: AtomicBool::new(false),
        })
    }
}

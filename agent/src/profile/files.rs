//! The files that samples lead to, each opened once.
//!
//! A file is opened when a sample first leads to it, not when it is mapped: most are never sampled. Its process may be gone
//! by then, so that the file is looked for by its path, too ([`gone`]).

use std::{collections::HashMap, sync::Arc};

use fathom_symbolizer::{Error, Mapping, MappingKind, Module, Symbolizer};

use super::{
    lookups::{Lookup, LookupCounts},
    spaces::{Backing, MappedFile, Region},
};

mod gone;

/// A file that could not be opened is tried again after so many nanoseconds: another process may have it within reach.
const RETRY_NS: u64 = 1_000_000_000;
/// A file that no sample has led to for so many nanoseconds is closed: an open one keeps the disk space of one that was deleted.
const UNUSED_NS: u64 = 60_000_000_000;

/// Files that are open, or could not be opened.
#[derive(Debug)]
pub(super) struct Files {
    symbolizer: Arc<Symbolizer>,
    /// By the address of the `Arc`, which each entry keeps.
    files: HashMap<usize, Opened>,
    vdso: Option<Result<Module, Error>>,
    vdso_table: Option<u32>,
    limit: usize,
    counts: Arc<LookupCounts>,
}

#[derive(Debug)]
struct Opened {
    _file: Arc<MappedFile>,
    module: Result<Module, Error>,
    /// The number of its unwind table.
    table: Option<u32>,
    tried_ns: u64,
    used_ns: u64,
}

/// Who asks for a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The process that has it mapped, which may be gone.
    pub(super) pid: u32,
    /// Processes in whose mount namespace its path leads to it, if it does in that of `pid`: those that it descends from.
    pub(super) relatives: &'a [u32],
    /// The time of the sample: `CLOCK_MONOTONIC`, nanoseconds.
    pub(super) now_ns: u64,
}

impl Files {
    /// None yet. At most `limit` files are open.
    pub(super) fn new(
        symbolizer: Arc<Symbolizer>,
        limit: usize,
        counts: Arc<LookupCounts>,
    ) -> Self {
        Self {
            symbolizer,
            files: HashMap::new(),
            vdso: None,
            vdso_table: None,
            limit,
            counts,
        }
    }

    /// What is behind a region. [`Error::NotRegular`] for memory without a file.
    pub(super) fn module(&mut self, region: &Region, asker: Asker<'_>) -> Result<Module, Error> {
        match &region.backing {
            Backing::File(file) => self.file(file, region, asker),
            Backing::Vdso => self.vdso(),
            Backing::Anonymous => Err(Error::NotRegular {
                file: "[anon]".to_owned(),
            }),
        }
    }

    /// As [`Self::module`], where it was asked for before.
    pub(super) fn known(&self, region: &Region) -> Option<&Result<Module, Error>> {
        match &region.backing {
            Backing::File(file) => {
                let opened = self.files.get(&key(file))?;
                Some(&opened.module)
            }
            Backing::Vdso => self.vdso.as_ref(),
            Backing::Anonymous => None,
        }
    }

    /// The number of the unwind table of what is behind a region, where it was noted.
    pub(super) fn table(&self, region: &Region) -> Option<u32> {
        match &region.backing {
            Backing::File(file) => self.files.get(&key(file))?.table,
            Backing::Vdso => self.vdso_table,
            Backing::Anonymous => None,
        }
    }

    /// Notes the number of the unwind table of what is behind a region, which is open.
    pub(super) fn set_table(&mut self, region: &Region, number: u32) {
        match &region.backing {
            Backing::File(file) => {
                if let Some(opened) = self.files.get_mut(&key(file)) {
                    opened.table = Some(number);
                }
            }
            Backing::Vdso => self.vdso_table = Some(number),
            Backing::Anonymous => {}
        }
    }

    fn file(
        &mut self,
        file: &Arc<MappedFile>,
        region: &Region,
        asker: Asker<'_>,
    ) -> Result<Module, Error> {
        let now_ns = asker.now_ns;
        if let Some(opened) = self.files.get_mut(&key(file)) {
            opened.used_ns = opened.used_ns.max(now_ns);
            let is_final = match &opened.module {
                Ok(_) => true,
                Err(error) => is_about_the_file(error),
            };
            if is_final || now_ns.saturating_sub(opened.tried_ns) < RETRY_NS {
                return opened.module.clone();
            }
        }
        if self.files.len() >= self.limit {
            self.close_one();
        }
        let module = self.open(file, region, asker);
        if let Err(error) = &module {
            tracing::debug!(pid = asker.pid, %error, "a mapped file is out of reach");
            self.counts.add(Lookup::FileUnreachable);
        }
        let opened = Opened {
            _file: Arc::clone(file),
            module: module.clone(),
            table: None,
            tried_ns: now_ns,
            used_ns: now_ns,
        };
        self.files.insert(key(file), opened);
        module
    }

    fn open(
        &mut self,
        file: &Arc<MappedFile>,
        region: &Region,
        asker: Asker<'_>,
    ) -> Result<Module, Error> {
        let mapping = mapping(region);
        let error = match self.symbolizer.open_mapping(asker.pid, &mapping) {
            Ok(module) => {
                self.counts.add(Lookup::FileOpened);
                return Ok(module);
            }
            Err(error) => error,
        };
        if is_about_the_file(&error) {
            return Err(error);
        }
        match gone::open(file, asker.relatives) {
            Some((opened, pid)) => {
                let module = self
                    .symbolizer
                    .keep_mapping(file.id, opened, pid, &file.path)?;
                self.counts.add(Lookup::FileByPath);
                Ok(module)
            }
            None => Err(error),
        }
    }

    /// The kernel has one image for all 64-bit processes, and those of 32 bits are not unwound: so this one's own does for all.
    fn vdso(&mut self) -> Result<Module, Error> {
        let symbolizer = &self.symbolizer;
        let open = || {
            let pid = std::process::id();
            let mappings = fathom_symbolizer::mappings(pid)?;
            let mut vdsos = mappings
                .iter()
                .filter(|mapping| mapping.kind == MappingKind::Vdso);
            match vdsos.next() {
                Some(vdso) => symbolizer.open_mapping(pid, vdso),
                None => Err(Error::NotRegular {
                    file: "[vdso]".to_owned(),
                }),
            }
        };
        self.vdso.get_or_insert_with(open).clone()
    }

    /// Lets go of the files that no sample has led to for a minute. They are closed once nobody else needs them (`Symbolizer::close_unused`).
    pub(super) fn close_unused(&mut self, now_ns: u64) {
        self.files
            .retain(|_, opened| now_ns.saturating_sub(opened.used_ns) < UNUSED_NS);
    }

    fn close_one(&mut self) {
        let oldest = self.files.iter().min_by_key(|(_, opened)| opened.used_ns);
        if let Some((&oldest, _)) = oldest {
            self.files.remove(&oldest);
        }
    }
}

/// Whether an error would be the same through any process.
fn is_about_the_file(error: &Error) -> bool {
    matches!(
        error,
        Error::NotElf { .. } | Error::Malformed { .. } | Error::NotRegular { .. }
    )
}

fn key(file: &Arc<MappedFile>) -> usize {
    Arc::as_ptr(file).addr()
}

/// A region as the symbolizer knows it.
pub(super) fn mapping(region: &Region) -> Mapping {
    Mapping {
        start: region.start,
        end: region.end,
        offset: region.offset,
        executable: true,
        kind: match &region.backing {
            Backing::File(file) => MappingKind::File {
                id: file.id,
                path: file.path.clone().into(),
                deleted: file.is_deleted,
            },
            Backing::Vdso => MappingKind::Vdso,
            Backing::Anonymous => MappingKind::Anonymous {
                label: String::new(),
            },
        },
    }
}

#[cfg(test)]
mod tests;

//! By what it is told that a file was begun anew: it holds something else than what was read of it.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

/// What is kept of what was read of a file.
///
/// A file that is written anew may be as long as before by the time that it is looked at (the JVM's `Compiler.perfmap` writes a map whole each
/// time). Its first lines mostly are the same then, those of stubs; what stands where the reading ended is not, as soon as anything before it has
/// another length.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// The first bytes.
    first: Vec<u8>,
    /// The last ones before the place that was read up to.
    last: Vec<u8>,
    /// How long the file was, and when it was written last, in nanoseconds since 1970.
    seen: Option<(u64, i128)>,
}

/// How many bytes are kept of each end: a line of a map, and more than a dump's header.
const KEPT: usize = 64;

impl Traces {
    /// Notes bytes that were read behind those of before, of which `taken` were taken in: of a record that is too long more than there are.
    pub(super) fn note(&mut self, bytes: &[u8], taken: usize) {
        let Some(bytes) = bytes.get(..taken) else {
            // What stands before the place where it goes on is not known.
            self.last.clear();
            return;
        };
        if self.first.len() < KEPT {
            let missing = bytes.len().min(KEPT - self.first.len());
            self.first.extend(&bytes[..missing]);
        }
        self.last.extend(&bytes[bytes.len().saturating_sub(KEPT)..]);
        self.last.drain(..self.last.len().saturating_sub(KEPT));
    }

    /// Whether the file still holds what was read of it, up to `position`, as far as that can be told.
    pub(super) fn hold(
        &mut self,
        file: &File,
        metadata: &Metadata,
        position: u64,
    ) -> io::Result<bool> {
        let modified =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let now = (metadata.len(), modified);
        // What was written without making it longer stands in place of something else.
        let is_rewritten = self
            .seen
            .replace(now)
            .is_some_and(|(length, modified)| length == now.0 && modified != now.1);
        if position == 0 {
            return Ok(true);
        }
        if is_rewritten || now.0 < position {
            return Ok(false);
        }
        let before = position.saturating_sub(self.last.len() as u64);
        Ok(has(file, 0, &self.first)? && has(file, before, &self.last)?)
    }

    /// Forgets the bytes: nothing was read.
    pub(super) fn clear(&mut self) {
        self.first.clear();
        self.last.clear();
    }
}

/// Whether these bytes stand at an offset.
fn has(file: &File, offset: u64, bytes: &[u8]) -> io::Result<bool> {
    let mut found = [0; KEPT];
    let found = &mut found[..bytes.len().min(KEPT)];
    let read = file.read_at(found, offset)?;
    Ok(found[..read] == *bytes)
}

//! Paths of source files.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{Arc, atomic::AtomicU32},
};

use super::Numbered;

/// The path of a source file. Clones share it.
#[derive(Clone)]
pub struct SourceFile(Arc<Path>);

struct Path {
    path: Box<str>,
    number: AtomicU32,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Path {
            path: path.into(),
            number: AtomicU32::new(0),
        }))
    }

    /// The path as the debug information has it.
    pub fn as_str(&self) -> &str {
        &self.0.path
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Path>() + 2 * size_of::<usize>() + self.0.path.len()
    }
}

impl Numbered for SourceFile {
    fn number(&self) -> &AtomicU32 {
        &self.0.number
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for SourceFile {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for SourceFile {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for SourceFile {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SourceFile {}

impl Hash for SourceFile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

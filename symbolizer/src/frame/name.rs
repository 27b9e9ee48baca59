//! Functions' names, as the linker has them and as people read them.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU32},
};

use super::Numbered;
use crate::demangle::demangle_into;

/// A function's name. Clones share it; the readable form is made when it is first asked for, and kept.
#[derive(Clone)]
pub struct Name(Arc<Text>);

struct Text {
    linkage: Box<str>,
    /// None where it is no other than `linkage`.
    readable: OnceLock<Option<Box<str>>>,
    number: AtomicU32,
}

thread_local! {
    /// Where names are written before it is known how long they are.
    static WRITTEN: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Name {
    pub(crate) fn new(linkage: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Text {
            linkage: linkage.into(),
            readable: OnceLock::new(),
            number: AtomicU32::new(0),
        }))
    }

    /// A name that is for readers already, whatever it looks like.
    pub(crate) fn readable(name: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Text {
            linkage: name.into(),
            readable: OnceLock::from(None),
            number: AtomicU32::new(0),
        }))
    }

    /// The name as its author wrote it: demangled, without Rust's hash.
    pub fn as_str(&self) -> &str {
        let text = &*self.0;
        let readable = text.readable.get_or_init(|| {
            // Written where there is room, and kept in as much as it takes.
            WRITTEN.with_borrow_mut(|written| {
                written.clear();
                demangle_into(&text.linkage, written)?;
                (**written != *text.linkage).then(|| written.as_str().into())
            })
        });
        readable.as_deref().unwrap_or(&text.linkage)
    }

    /// The name as the file has it, which the linker tells functions apart by.
    pub fn linkage(&self) -> &str {
        &self.0.linkage
    }

    /// Bytes of memory, those of the readable form included as if it were as long as the other: it is made later.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Text>() + 2 * size_of::<usize>() + 2 * self.0.linkage.len()
    }
}

impl Numbered for Name {
    fn number(&self) -> &AtomicU32 {
        &self.0.number
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.linkage(), f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.linkage() == other.linkage()
    }
}

impl Eq for Name {}

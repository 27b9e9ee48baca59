//! A part that is read when it is first asked for, once, whatever comes of it.

use std::sync::OnceLock;

use crate::Error;

/// A part that a file may have. Threads that ask for it while one reads it wait for that one.
#[derive(Debug)]
pub(super) struct Lazy<T>(OnceLock<Result<Option<T>, Error>>);

impl<T> Lazy<T> {
    pub(super) fn get(
        &self,
        read: impl FnOnce() -> Result<Option<T>, Error>,
    ) -> Result<Option<&T>, Error> {
        match self.0.get_or_init(read) {
            Ok(part) => Ok(part.as_ref()),
            Err(error) => Err(error.clone()),
        }
    }

    /// The part, if it was read and is there.
    pub(super) fn ready(&self) -> Option<&T> {
        self.0.get()?.as_ref().ok()?.as_ref()
    }
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

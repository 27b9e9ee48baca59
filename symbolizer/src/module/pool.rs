//! Things that are kept once each, by number.

use std::sync::atomic::Ordering::Relaxed;

use crate::frame::Numbered;

/// What was taken in, in that order. A thing's own note of its number is a hint: it may be in more than one pool.
#[derive(Debug)]
pub(super) struct Pool<T>(Vec<T>);

impl<T: Numbered + Clone> Pool<T> {
    /// The number of a thing, which is taken in if it was not before. None when there are too many.
    pub(super) fn number(&mut self, thing: &T) -> Option<u32> {
        let noted = thing.number().load(Relaxed);
        if self.get(noted).is_some_and(|known| known.is(thing)) {
            return Some(noted);
        }
        let number = u32::try_from(self.0.len()).ok()?;
        thing.number().store(number, Relaxed);
        self.0.push(thing.clone());
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.0.get(number as usize)
    }

    /// Bytes of memory, less what the things take themselves.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<T>()
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

//! A few things that were met last, each at the one place that its key leads to.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, Hash},
};

use foldhash::fast::FixedState;

/// What was met last.
pub(super) struct Memo<K, V> {
    places: Box<[Option<(K, V)>]>,
}

/// A window of a profile has some hundred distinct addresses; and within a function some ten others are inlined.
const PLACES: usize = 1024;

impl<K: Copy + Eq + Hash, V: Clone> Memo<K, V> {
    /// What a key stands for, found out by `find` unless it was met before.
    ///
    /// # Errors
    /// Those of `find`.
    #[inline]
    pub(super) fn get<E>(&mut self, key: K, find: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let place = self.place(key);
        if let Some((known, value)) = place
            && *known == key
        {
            return Ok(value.clone());
        }
        let value = find()?;
        *place = Some((key, value.clone()));
        Ok(value)
    }

    /// What a key stands for, made by `make` unless it was met before.
    #[inline]
    pub(super) fn get_or(&mut self, key: K, make: impl FnOnce() -> V) -> V {
        match self.get(key, || Ok::<_, Infallible>(make())) {
            Ok(value) => value,
        }
    }

    fn place(&mut self, key: K) -> &mut Option<(K, V)> {
        if self.places.is_empty() {
            self.places = (0..PLACES).map(|_| None).collect();
        }
        &mut self.places[FixedState::default().hash_one(key) as usize % PLACES]
    }

    /// Bytes of memory, less what the things take themselves.
    pub(super) fn bytes(&self) -> usize {
        self.places.len() * size_of::<Option<(K, V)>>()
    }
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self {
            places: Box::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_not_found_out_again() {
        let mut memo = Memo::default();
        let mut asked = 0;
        let mut get = |memo: &mut Memo<u32, u32>, key| {
            memo.get(key, || {
                asked += 1;
                Ok::<_, ()>(key * 2)
            })
        };
        assert_eq!(get(&mut memo, 7), Ok(14));
        assert_eq!(get(&mut memo, 7), Ok(14));
        assert_eq!(asked, 1);
    }

    #[test]
    fn whatever_was_met_before_the_answer_is_the_keys_own() {
        let mut memo = Memo::default();
        for _ in 0..2 {
            for key in 0..10 * PLACES {
                assert_eq!(memo.get(key, || Ok::<_, ()>(key + 1)), Ok(key + 1));
            }
        }
        assert_eq!(memo.get(0, || Err::<usize, _>("lost")), Err("lost"));
    }
}

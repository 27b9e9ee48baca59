//! A table that gets smaller when what was in it is gone.

use std::hash::Hash;

/// Room for so many is kept.
const SMALL: usize = 4096;

/// A larger one is made smaller when no more than this part of what it has room for is there.
const SPARSE: usize = 8;

/// Its keys are numbers that nobody chooses, so that a quick hash will do.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: foldhash::HashMap<K, V>,
    /// The most that it has held since it was made smaller. (What the map itself says of its room leaves out what removed entries take.)
    most: usize,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            entries: foldhash::HashMap::default(),
            most: 0,
        }
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// Gives back what was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let replaced = self.entries.insert(key, value);
        self.most = self.most.max(self.entries.len());
        replaced
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key)?;
        let len = self.entries.len();
        if self.most > SMALL && len < self.most / SPARSE {
            self.most = (len * 2).max(SMALL);
            self.entries.shrink_to(self.most);
        }
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    fn room(&self) -> usize {
        self.entries.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gets_smaller_and_stays_whole() {
        let mut table = Table::default();
        // As connections that come and go: each leaves a mark in the map, which takes room.
        for number in 0..200_000_u64 {
            table.insert(number, number);
            if number >= 100_000 {
                assert_eq!(table.remove(&(number - 100_000)), Some(number - 100_000));
            }
        }
        assert_eq!(table.len(), 100_000);
        for number in 100_000..199_990 {
            assert_eq!(table.remove(&number), Some(number));
        }
        assert!(table.room() <= SMALL * 2, "{}", table.room());
        assert!((199_990..200_000).all(|number| table.get(&number) == Some(&number)));
        assert_eq!((table.len(), table.iter().count()), (10, 10));
    }
}

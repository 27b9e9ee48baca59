//! A table that forgets what was not asked for of late.

use std::{hash::Hash, mem};

use foldhash::{HashMap, HashMapExt as _};

/// Two generations of entries. When the younger one is full, the older one goes and the younger takes its place; what is asked for moves back to the younger. Unlike a list
/// by last use, which writes to the neighbours of each entry that is looked at, a look is one at a table, or two.
pub(super) struct Recent<K, V> {
    /// Entries of one generation.
    limit: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Room for `limit` entries, of which at least the later half is remembered.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.div_ceil(2),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// An entry, which is now a young one.
    pub(super) fn get(&mut self, key: &K) -> Option<&V> {
        // Not by `get`: what it finds would be borrowed in the other case, too.
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// Puts an entry in; returns the one that it replaces.
    pub(super) fn put(&mut self, key: K, value: V) -> Option<V> {
        let old = self.old.remove(&key);
        self.insert(key, value).or(old)
    }

    /// Takes an entry out.
    pub(super) fn pop(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.young.len() >= self.limit && !self.young.contains_key(&key) {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes() {
        let mut recent = Recent::new(8);
        for number in 0..100_i32 {
            assert_eq!(recent.put(number, number), None);
            assert_eq!(recent.get(&0), Some(&0), "asked for all the time");
        }
        let known = (0..100).filter(|number| recent.get(number).is_some());
        let known: Vec<i32> = known.collect();
        assert!(known.contains(&99) && known.contains(&97), "{known:?}");
        assert!(known.len() <= 8, "{known:?}");
    }

    #[test]
    fn an_entry_is_there_once() {
        let mut recent = Recent::new(4);
        recent.put("a", 1);
        recent.put("b", 2);
        recent.put("c", 3);
        assert_eq!(recent.put("a", 4), Some(1), "from the older generation");
        assert_eq!(recent.put("a", 5), Some(4), "from the younger one");
        assert_eq!(recent.pop(&"a"), Some(5));
        assert_eq!(recent.pop(&"a"), None);
        assert_eq!(recent.get(&"a"), None);
        assert_eq!(recent.get(&"c"), Some(&3));
    }
}

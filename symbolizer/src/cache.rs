//! Parsed files within a byte budget.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::Elf;

/// Keeps parsed files up to a budget of bytes; the one that was not asked for the longest goes first. What an
/// [`Arc`] still holds lives on, uncounted, until its holder lets it go.
#[derive(Debug)]
pub struct Cache<K> {
    files: HashMap<K, Held>,
    budget: usize,
    bytes: usize,
    /// Counts uses; it orders them.
    clock: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Held {
    elf: Arc<Elf>,
    used: u64,
}

impl<K: Eq + Hash + Clone> Cache<K> {
    /// An empty cache of at most `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self {
            files: HashMap::new(),
            budget,
            bytes: 0,
            clock: 0,
            evicted: 0,
        }
    }

    /// The file under a key, parsed by `parse` if it is not there. A file that alone is larger than the budget is
    /// returned and not kept.
    ///
    /// # Errors
    /// What `parse` returns.
    pub fn get<E>(
        &mut self,
        key: &K,
        parse: impl FnOnce() -> Result<Elf, E>,
    ) -> Result<Arc<Elf>, E> {
        self.clock += 1;
        if let Some(held) = self.files.get_mut(key) {
            held.used = self.clock;
            return Ok(Arc::clone(&held.elf));
        }
        let elf = Arc::new(parse()?);
        if elf.bytes() <= self.budget {
            self.make_room(elf.bytes());
            self.bytes += elf.bytes();
            let held = Held {
                elf: Arc::clone(&elf),
                used: self.clock,
            };
            self.files.insert(key.clone(), held);
        }
        Ok(elf)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many files had to go.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn make_room(&mut self, wanted: usize) {
        while self.bytes + wanted > self.budget {
            let oldest = self.files.iter().min_by_key(|(_, held)| held.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(held) = self.files.remove(&key) {
                self.bytes -= held.elf.bytes();
                self.evicted += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Result<Elf, crate::Error> {
        let path = std::env::current_exe().expect("a test has a file");
        let file = std::fs::File::open(&path).expect("it can be read");
        Elf::from_file(&file, "self", 1 << 30)
    }

    #[test]
    fn the_least_recently_used_file_goes_when_the_budget_is_full() {
        let size = own().expect("parses").bytes();
        let mut cache = Cache::new(2 * size + 1);
        let absent = || -> Result<Elf, &'static str> { Err("parsed again") };
        cache.get(&1, own).expect("parses");
        cache.get(&2, own).expect("parses");
        cache.get(&1, absent).expect("still there");
        cache.get(&3, own).expect("parses");
        assert_eq!((cache.bytes(), cache.evicted()), (2 * size, 1));
        cache.get(&1, absent).expect("used last");
        assert_eq!(cache.get(&2, absent).map(|_| ()), Err("parsed again"));
    }

    #[test]
    fn a_file_over_the_budget_is_not_kept() {
        let mut cache = Cache::new(1);
        cache.get(&1, own).expect("parses");
        assert_eq!((cache.bytes(), cache.evicted()), (0, 0));
    }
}

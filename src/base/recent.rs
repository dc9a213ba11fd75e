//! A map that keeps what was used recently: the bound of caches whose entries are never wrong, only
//! no longer wanted.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// At most so many entries; the one that was not used for the longest time makes room.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: HashMap<K, Entry<V>>,
    limit: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// An empty map of at most `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit, clock: 0 }
    }

    /// The value of `key`, which counts as used.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(&entry.value)
    }

    /// Adds or replaces a value.
    pub fn insert(&mut self, key: K, value: V) {
        self.clock += 1;
        if self.entries.len() >= self.limit && !self.entries.contains_key(&key) {
            self.make_room();
        }
        self.entries.insert(key, Entry { value, used: self.clock });
    }

    /// Keeps only what `wanted` says.
    pub fn retain(&mut self, mut wanted: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, entry| wanted(key, &entry.value));
    }

    /// Forgets the eighth that was not used for the longest time: finding it costs a look at all, which
    /// shall not be paid for every entry.
    fn make_room(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        uses.sort_unstable();
        if let Some(oldest) = uses.get(self.limit / 8) {
            self.entries.retain(|_, entry| entry.used > *oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_makes_room() {
        let mut recent = Recent::new(3);
        for key in ["a", "b", "c"] {
            recent.insert(key, key.len());
        }
        assert_eq!(recent.get("a"), Some(&1));
        recent.insert("d", 9);
        assert_eq!(recent.get("b"), None);
        assert!(["a", "c", "d"].iter().all(|key| recent.get(*key).is_some()));
        recent.insert("d", 8);
        assert_eq!(recent.get("d"), Some(&8));
        assert!(recent.get("a").is_some());
    }
}

//! Which keys were changed by writes whose reply is held back until they are
//! durable: whoever reads such a key meanwhile is held back, too, so that
//! nobody sees what a crash could take back.
//!
//! Databases aren't told apart: a read that waits for a key of the same name
//! elsewhere waits for nothing, but COPY, MOVE and SWAPDB need no words.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Keys with changes that aren't durable; see the module.
#[derive(Debug, Default)]
pub struct Undurable {
    /// The sequence number of each key's last change.
    keys: BTreeMap<Arc<[u8]>, u64>,
    /// The same in the order of the numbers, with those that were overtaken.
    order: VecDeque<(u64, Arc<[u8]>)>,
    /// The last change of whole databases; 0 is none.
    everything: u64,
    /// The last change of all.
    last: u64,
}

impl Undurable {
    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// `keys` were changed by effects up to `seq`; without keys, everything
    /// was.
    pub fn note<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>, seq: u64) {
        self.last = seq;
        let mut any = false;
        for key in keys {
            any = true;
            let key: Arc<[u8]> = match self.keys.get_key_value(key) {
                Some((known, _)) => known.clone(),
                None => key.into(),
            };
            self.keys.insert(key.clone(), seq);
            self.order.push_back((seq, key));
        }
        if !any {
            self.everything = seq;
        }
    }

    /// Up to which sequence number things must be durable before anybody may
    /// hear of `keys`; without keys, of anything. 0 is no wait.
    pub fn needed<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let (mut need, mut any) = (self.everything, false);
        for key in keys {
            any = true;
            need = need.max(self.keys.get(key).copied().unwrap_or(0));
        }
        if any { need } else { self.last }
    }

    /// Everything up to `durable` is durable.
    pub fn forget(&mut self, durable: u64) {
        if durable >= self.last {
            self.keys.clear();
            self.order.clear();
            (self.everything, self.last) = (0, 0);
            return;
        }
        while let Some((_, key)) = self.order.front().filter(|(seq, _)| *seq <= durable) {
            // A later change of the key stands further back.
            if self.keys.get(key).is_some_and(|seq| *seq <= durable) {
                self.keys.remove(key);
            }
            self.order.pop_front();
        }
        if self.everything <= durable {
            self.everything = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'a>(keys: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        keys.iter().map(|key| key.as_bytes())
    }

    #[test]
    fn a_key_waits_for_its_last_change() {
        let mut map = Undurable::default();
        assert!(map.is_empty());
        map.note(keys(&["a", "b"]), 5);
        map.note(keys(&["a"]), 9);
        assert_eq!(map.needed(keys(&["a"])), 9);
        assert_eq!(map.needed(keys(&["b"])), 5);
        assert_eq!(map.needed(keys(&["c"])), 0);
        assert_eq!(map.needed(keys(&["c", "b", "a"])), 9);
        map.forget(5);
        assert_eq!(map.needed(keys(&["b"])), 0);
        assert_eq!(map.needed(keys(&["a"])), 9);
        map.forget(8);
        assert_eq!(map.needed(keys(&["a"])), 9);
        map.forget(9);
        assert!(map.is_empty());
    }

    #[test]
    fn without_keys_everything_is_meant() {
        let mut map = Undurable::default();
        map.note(keys(&["a"]), 3);
        assert_eq!(map.needed(keys(&[])), 3);
        map.note(keys(&[]), 4);
        map.note(keys(&["a"]), 6);
        assert_eq!(map.needed(keys(&["b"])), 4);
        map.forget(4);
        assert_eq!(map.needed(keys(&["b"])), 0);
        assert_eq!(map.needed(keys(&[])), 6);
    }
}

//! Watched keys that have a TTL. The host looks for expired keys among its
//! own when EXEC comes; durable ones must be gone by then, so that their
//! watchers have heard of it.

use std::collections::BTreeSet;

/// Watched keys by the time they end.
#[derive(Debug, Default)]
pub struct Watched {
    /// Expiry in unix ms, database, key.
    due: BTreeSet<(u64, u32, Box<[u8]>)>,
}

impl Watched {
    /// Somebody watches `key`, which ends at `at_ms`. Later changes of its TTL
    /// needn't be told: they fail the watcher by themselves.
    pub fn add(&mut self, db: u32, key: &[u8], at_ms: u64) {
        self.due.insert((at_ms, db, key.into()));
    }

    /// Takes one key that is due.
    #[inline]
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(u32, Box<[u8]>)> {
        if self.due.first()?.0 > now_ms {
            return None;
        }
        self.due.pop_first().map(|(_, db, key)| (db, key))
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

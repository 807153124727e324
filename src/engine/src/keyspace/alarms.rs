//! When to look at hashes of which fields end. Nothing is kept, and nothing
//! asked, as long as there are none.

use crate::base::hash::HashKey;
use crate::data::entry::{Entry, SmallEntry};
use crate::data::hash::expiry;
use crate::data::table::Table;
use crate::data::value::Kind;

/// One database's alarms: for each hash of which fields end, a time (unix ms)
/// that is no later than the first end. An alarm may be too early, or for a
/// key that is something else by now: who hears it looks.
#[derive(Debug, Default)]
pub struct Alarms(Option<Box<Table<SmallEntry>>>);

impl Alarms {
    /// No alarm is before this; `u64::MAX` when there is none.
    #[inline]
    pub fn next(&self) -> u64 {
        self.0.as_ref().map_or(u64::MAX, |table| table.min_expiry())
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The alarm for `key`.
    pub fn of(&self, key: &[u8]) -> Option<u64> {
        let table = self.0.as_ref()?;
        table.get(table.hash(key), key)?.expiry()
    }

    /// Sees to it that there is an alarm for `key` at `at` or before.
    pub fn arm(&mut self, seed: HashKey, key: &[u8], at: u64) {
        if self.of(key).is_some_and(|known| known <= at) {
            return;
        }
        let table = self.0.get_or_insert_with(|| Box::new(Table::new(seed)));
        let hash = table.hash(key);
        table.insert(hash, SmallEntry::new(Kind::String, key, Some(at), &[]));
    }

    /// Forgets the alarm for `key`.
    pub fn disarm(&mut self, key: &[u8]) {
        if let Some(table) = &mut self.0 {
            table.remove(table.hash(key), key);
            if table.is_empty() {
                self.0 = None;
            }
        }
    }

    /// Takes up to `budget` alarms whose time has come, and shows their keys.
    pub fn take_due(&mut self, now: u64, budget: usize, visit: &mut dyn FnMut(&[u8])) {
        if let Some(table) = &mut self.0 {
            table.take_due(now, budget, &mut |alarm| visit(alarm.key()));
            if table.is_empty() {
                self.0 = None;
            }
        }
    }
}

/// A time before which no field of `entry` ends; `None` if none ends.
pub fn alarm_of(entry: &Entry) -> Option<u64> {
    let payload = entry.payload();
    if entry.kind() == Kind::Hash && expiry::any(payload) {
        expiry::next(payload)
    } else {
        None
    }
}

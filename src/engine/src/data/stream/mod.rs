//! Streams: entries in packed blocks, ordered by id, and groups of consumers.

pub mod block;
pub mod entries;
pub mod group;
pub mod id;
pub mod listpack;
pub mod parts;
pub mod radix;

use std::collections::BTreeMap;

use super::entry::{Entry, Payload};
use super::value::Value;

pub use block::{Full, Item};
pub use entries::{Entries, Keep, Trim};
pub use group::Group;
pub use id::{Seq, StreamId};

/// A stream. It stays when its last entry goes.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// What was added.
    pub entries: Entries,
    /// Groups by name.
    pub groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// The stream under a key, if it is one.
    pub fn of(entry: &Entry) -> Option<&Stream> {
        match entry.payload() {
            Payload::Large(Value::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Like [`of`](Self::of), for changes.
    pub fn of_mut(entry: &mut Entry) -> Option<&mut Stream> {
        match entry {
            Entry::Large(object) => match &mut object.value {
                Value::Stream(stream) => Some(stream),
                _ => None,
            },
            Entry::Small(_) => None,
        }
    }

    /// This stream under `key`, without an expiry.
    pub fn into_entry(self, key: &[u8]) -> Entry {
        Entry::large(key, None, Value::Stream(Box::new(self)))
    }

    /// How many entries `group` has not yet read, as far as that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.entries.added as i64;
        if added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.entries.has_hole_from(group.last_id) => read,
            _ => self.entries.count_up_to(group.last_id)?,
        };
        Some(added.wrapping_sub(read))
    }

    /// Roughly how many allocations it has.
    pub fn weight(&self) -> usize {
        1 + self.entries.block_count() + self.groups.values().map(Group::weight).sum::<usize>()
    }

    /// Roughly the bytes held on the heap, reckoned from so many blocks (0 is
    /// all).
    pub fn heap_bytes(&self, samples: usize) -> usize {
        let groups = self.groups.iter();
        self.entries.heap_bytes(samples)
            + groups
                .map(|(name, group)| 2 * name.len() + group.heap_bytes() + size_of::<Group>())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests;

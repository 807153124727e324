//! Consumer groups: who was given which entries and hasn't acknowledged them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::id::StreamId;

/// A group of consumers.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The greatest id that was delivered, or what XGROUP SETID said.
    pub last_id: StreamId,
    /// How many of the stream's entries come up to `last_id`, counted from
    /// the first ever; `None` when that isn't known.
    pub entries_read: Option<i64>,
    /// Entries delivered and not acknowledged; the stream may have lost them.
    pending: BTreeMap<StreamId, Pending>,
    /// By name.
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Who has it; one of the group's consumers.
    consumer: Arc<[u8]>,
    /// When it was delivered last, unix ms.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A consumer.
#[derive(Debug, Clone, Default)]
pub struct Consumer {
    /// When it last asked for something, unix ms. A hint for people: what
    /// delivers nothing isn't logged, so a restart may set it back.
    pub seen_ms: u64,
    /// What it has, a part of the group's.
    pending: BTreeSet<StreamId>,
}

/// Counting ends here: XCLAIM, which tells a count in the log, takes no more.
const MOST_DELIVERIES: u64 = i64::MAX as u64;

impl Pending {
    /// How often it was delivered after one time more.
    pub fn once_more(&self) -> u64 {
        self.deliveries.saturating_add(1).min(MOST_DELIVERIES)
    }

    /// The name of the consumer that has it.
    pub fn consumer(&self) -> &[u8] {
        &self.consumer
    }
}

impl Consumer {
    /// The ids of what it has.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

impl Group {
    /// A group that begins behind `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Self {
        Group {
            last_id,
            entries_read,
            ..Group::default()
        }
    }

    /// What is pending, by id.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// The consumers, by name.
    pub fn consumers(&self) -> &BTreeMap<Arc<[u8]>, Consumer> {
        &self.consumers
    }

    /// A consumer.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// A consumer asked for something; `false` if there is none of the name.
    pub fn see(&mut self, name: &[u8], now: u64) -> bool {
        match self.consumers.get_mut(name) {
            Some(consumer) => {
                consumer.seen_ms = now;
                true
            }
            None => false,
        }
    }

    /// Makes a consumer; `false` if there is one of the name already.
    pub fn create_consumer(&mut self, name: &[u8], now: u64) -> bool {
        if self.consumers.contains_key(name) {
            return false;
        }
        let consumer = Consumer {
            seen_ms: now,
            ..Consumer::default()
        };
        self.consumers.insert(name.into(), consumer);
        true
    }

    /// Removes a consumer with what it has; answers how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Gives an entry to a consumer, which must exist, whoever had it.
    pub fn assign(&mut self, id: StreamId, name: &[u8], delivered_ms: u64, deliveries: u64) {
        let Some((name, _)) = self.consumers.get_key_value(name) else {
            return;
        };
        let pending = Pending {
            consumer: name.clone(),
            delivered_ms,
            deliveries,
        };
        let name = name.clone();
        if let Some(old) = self.pending.insert(id, pending)
            && old.consumer != name
            && let Some(owner) = self.consumers.get_mut(&old.consumer)
        {
            owner.pending.remove(&id);
        }
        if let Some(owner) = self.consumers.get_mut(&name) {
            owner.pending.insert(id);
        }
    }

    /// An entry is no longer pending; `false` if it wasn't.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(owner) = self.consumers.get_mut(&pending.consumer) {
            owner.pending.remove(&id);
        }
        true
    }

    /// Roughly how many allocations it has.
    pub fn weight(&self) -> usize {
        1 + self.consumers.len() + self.pending.len() / 4
    }

    /// Roughly the bytes held on the heap.
    pub fn heap_bytes(&self) -> usize {
        // Nodes of the maps are about two thirds full.
        let pending = size_of::<(StreamId, Pending)>() + size_of::<StreamId>();
        let consumer = size_of::<(Arc<[u8]>, Consumer)>() + 32;
        (self.pending.len() * pending + self.consumers.len() * consumer) * 3 / 2
    }
}

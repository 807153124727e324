//! A segment: up to 224 items whose hashes begin alike.

use super::Item;
use crate::base::hash::{HashKey, hash};

/// Slots of a segment.
pub(super) const SLOTS: usize = 256;
/// Items that a segment holds before it is split.
pub const SEGMENT_CAP: usize = 224;
/// Bits that choose a slot within a segment.
pub(super) const SLOT_BITS: u32 = 8;

#[derive(Debug, Clone)]
pub(super) struct Segment<T> {
    /// Bits of the hash that all items share.
    pub(super) depth: u32,
    pub(super) meta: Box<Meta<T>>,
    pub(super) slots: Box<[T; SLOTS]>,
}

#[derive(Debug, Clone)]
pub(super) struct Meta<T> {
    /// For each slot: 0 if it is empty, else [`tag_of`] its item's hash.
    pub(super) tags: [u8; SLOTS],
    pub(super) len: usize,
    /// No item ends before this (unix ms); `u64::MAX` when none ends.
    pub(super) min_expiry: u64,
    /// Only at `MAX_DEPTH`; see the module's note.
    pub(super) overflow: Vec<T>,
}

/// Where an item is in its segment.
#[derive(Clone, Copy)]
pub(super) enum At {
    Slot(usize),
    Overflow(usize),
}

/// The slot that an item with this hash belongs to, if it is free.
#[inline]
pub(super) fn home_of(hash: u64, depth: u32) -> usize {
    ((hash << depth) >> (64 - SLOT_BITS)) as usize
}

/// Bits of the hash that no prefix uses.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

impl<T: Item> Segment<T> {
    pub(super) fn new(depth: u32) -> Self {
        let meta = Meta {
            tags: [0; SLOTS],
            len: 0,
            min_expiry: u64::MAX,
            overflow: Vec::new(),
        };
        Segment {
            depth,
            meta: Box::new(meta),
            slots: Box::new(std::array::from_fn(|_| T::default())),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.meta.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.meta.len >= SEGMENT_CAP
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<At> {
        let tag = tag_of(hash);
        let mut at = home_of(hash, self.depth) % SLOTS;
        // There is always an empty slot, so this ends.
        loop {
            match self.meta.tags[at] {
                0 => break,
                t if t == tag && self.slots[at].key() == key => return Some(At::Slot(at)),
                _ => at = (at + 1) % SLOTS,
            }
        }
        if self.meta.overflow.is_empty() {
            return None;
        }
        self.meta
            .overflow
            .iter()
            .position(|item| item.key() == key)
            .map(At::Overflow)
    }

    #[inline]
    pub(super) fn get(&self, at: At) -> &T {
        match at {
            At::Slot(i) => &self.slots[i],
            At::Overflow(i) => &self.meta.overflow[i],
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: At) -> &mut T {
        match at {
            At::Slot(i) => &mut self.slots[i],
            At::Overflow(i) => &mut self.meta.overflow[i],
        }
    }

    /// The items, roughly in hash order.
    pub(super) fn items(&self) -> impl Iterator<Item = &T> + Clone {
        let taken = self
            .slots
            .iter()
            .zip(&self.meta.tags)
            .filter(|(_, t)| **t != 0)
            .map(|(item, _)| item);
        taken.chain(&self.meta.overflow)
    }

    /// Takes all items, roughly in hash order.
    pub(super) fn into_items(mut self) -> impl Iterator<Item = T> {
        let overflow = std::mem::take(&mut self.meta.overflow);
        let Segment { meta, slots, .. } = self;
        let taken = slots
            .into_iter()
            .enumerate()
            .filter(move |(i, _)| meta.tags[*i] != 0)
            .map(|(_, item)| item);
        taken.chain(overflow)
    }

    pub(super) fn note_expiry(&mut self, expiry: Option<u64>) {
        if let Some(ms) = expiry {
            self.meta.min_expiry = self.meta.min_expiry.min(ms);
        }
    }

    /// Adds an item that isn't there; the caller made room.
    pub(super) fn push(&mut self, hash: u64, item: T) {
        self.note_expiry(item.expiry());
        let full = self.is_full();
        self.meta.len += 1;
        if full {
            self.meta.overflow.push(item);
            return;
        }
        let mut at = home_of(hash, self.depth) % SLOTS;
        while self.meta.tags[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        self.meta.tags[at] = tag_of(hash);
        self.slots[at] = item;
    }

    pub(super) fn take(&mut self, at: At, seed: &HashKey) -> T {
        self.meta.len -= 1;
        let mut hole = match at {
            At::Overflow(i) => return self.meta.overflow.swap_remove(i),
            At::Slot(i) => i,
        };
        let item = std::mem::take(&mut self.slots[hole]);
        // Items that stood behind it because their slots were taken move up,
        // or a search for them would end at the hole.
        let mut next = (hole + 1) % SLOTS;
        while self.meta.tags[next] != 0 {
            let home = home_of(hash(seed, self.slots[next].key()), self.depth);
            let from_home = next.wrapping_sub(home) % SLOTS;
            if from_home >= next.wrapping_sub(hole) % SLOTS {
                self.slots.swap(hole, next);
                self.meta.tags[hole] = self.meta.tags[next];
                hole = next;
            }
            next = (next + 1) % SLOTS;
        }
        self.meta.tags[hole] = 0;
        item
    }

    /// Splits by the next bit; `self` keeps the lower half.
    pub(super) fn split(&mut self, seed: &HashKey) -> Segment<T> {
        let depth = self.depth;
        let mut upper = Segment::new(depth + 1);
        let all = std::mem::replace(self, Segment::new(depth + 1));
        for item in all.into_items() {
            let hash = hash(seed, item.key());
            let half = if (hash << depth) >> 63 == 0 {
                &mut *self
            } else {
                &mut upper
            };
            half.push(hash, item);
        }
        upper
    }

    /// Takes over the items of the buddy that follows, one bit shallower.
    pub(super) fn merge(&mut self, upper: Segment<T>, seed: &HashKey) {
        let lower = std::mem::replace(self, Segment::new(self.depth - 1));
        for item in lower.into_items().chain(upper.into_items()) {
            let hash = hash(seed, item.key());
            self.push(hash, item);
        }
    }
}

//! The segmented table: extendible hashing over small segments.
//!
//! A *segment* is an open-addressed table of 256 slots: the eight bits of the
//! hash below the segment's prefix say where an item's slot is, or it stands
//! in the next free one. A byte of the hash per slot tells most strangers
//! apart without looking at them. A segment with 224 items is split in two;
//! nothing else moves, so no insert ever pays for the size of the table.
//! Segments hang in a directory that doubles up to 2^14 entries of two bytes;
//! beyond that it grows by directories below it, so no copy of it ever shows.
//!
//! The shape is made for the cache: where a slot and its tag lie follows from
//! the hash and the directory alone, so both are fetched at once, and the entry
//! behind the slot is the only fetch that must wait for another.
//!
//! Hash order is what everything else leans on: a scan cursor is simply the
//! next hash position (exact across splits and merges, which only make its
//! bucket finer or coarser), and a segment is a contiguous range of positions
//! (the unit of snapshotting and of parallel loading).
//!
//! The hash is SipHash-1-3 under a random key. That 225 items share the 50
//! bits that end the directories can't happen by chance nor by choice without the
//! key; should it all the same, the last segment keeps them in a plain
//! overflow list.

mod directory;
mod item;
mod segment;

use directory::{Child, NODE_BITS, Node};
pub use item::Item;
pub use segment::SEGMENT_CAP;
use segment::{Meta, SLOT_BITS, SLOTS, Segment, home_of};

use crate::base::hash::{HashKey, hash};
use crate::base::random::Random;

/// Deepest prefix of a segment, in bits: the slots below it need eight more.
const MAX_DEPTH: u32 = 50;
/// Scan cursors leave out these low bits, so that clients which keep numbers
/// in a double (up to 2^53) carry them exactly.
const CURSOR_SHIFT: u32 = 16;

/// See the module.
#[derive(Debug, Clone)]
pub struct Table<T> {
    seed: HashKey,
    root: Child<T>,
    len: usize,
    with_expiry: usize,
    /// Deepest segment there ever was; random choice needs it.
    max_depth: u32,
}

impl<T: Item> Table<T> {
    /// An empty table; it allocates one segment.
    pub fn new(seed: HashKey) -> Self {
        Table {
            seed,
            root: Child::Segment(Segment::new(0)),
            len: 0,
            with_expiry: 0,
            max_depth: 0,
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many items have an expiry.
    pub fn with_expiry(&self) -> usize {
        self.with_expiry
    }

    /// No item ends before this (unix ms); `u64::MAX` when none ends.
    pub fn min_expiry(&self) -> u64 {
        if self.with_expiry == 0 {
            u64::MAX
        } else {
            self.root.min_expiry()
        }
    }

    /// The key of the hash.
    pub fn seed(&self) -> HashKey {
        self.seed
    }

    /// The hash of `key` in this table.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash(&self.seed, key)
    }

    fn segment(&self, hash: u64) -> &Segment<T> {
        let mut child = &self.root;
        let mut base = 0;
        loop {
            match child {
                Child::Segment(s) => return s,
                Child::Node(n) => {
                    child = n.child(hash, base);
                    base += NODE_BITS;
                }
            }
        }
    }

    /// The segment for `hash`; `expiry` is noted on the way down.
    fn segment_mut(&mut self, hash: u64, expiry: Option<u64>) -> &mut Segment<T> {
        let mut child = &mut self.root;
        let mut base = 0;
        loop {
            match child {
                Child::Segment(s) => return s,
                Child::Node(n) => {
                    n.note_expiry(expiry);
                    child = n.child_mut(hash, base);
                    base += NODE_BITS;
                }
            }
        }
    }

    /// The item under `key`, whose hash is `hash`.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&T> {
        let s = self.segment(hash);
        s.find(hash, key).map(|at| s.get(at))
    }

    /// The item, for changes that touch neither its key nor its expiry.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut T> {
        let s = self.segment_mut(hash, None);
        s.find(hash, key).map(|at| s.get_mut(at))
    }

    /// Sets or removes an item's expiry; `false` when there is no such item.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expiry: Option<u64>) -> bool {
        let s = self.segment_mut(hash, expiry);
        let Some(at) = s.find(hash, key) else {
            return false;
        };
        s.note_expiry(expiry);
        let item = s.get_mut(at);
        let had = item.expiry().is_some();
        item.set_expiry(expiry);
        self.with_expiry = self.with_expiry + usize::from(expiry.is_some()) - usize::from(had);
        true
    }

    /// Puts an item in, in the place of one with the same key, which is returned.
    pub fn insert(&mut self, hash: u64, item: T) -> Option<T> {
        let expiry = item.expiry();
        self.with_expiry += usize::from(expiry.is_some());
        let s = self.segment_mut(hash, expiry);
        if let Some(at) = s.find(hash, item.key()) {
            s.note_expiry(expiry);
            let old = std::mem::replace(s.get_mut(at), item);
            self.with_expiry -= usize::from(old.expiry().is_some());
            return Some(old);
        }
        let mut s = s;
        while s.is_full() && s.depth < MAX_DEPTH {
            self.split(hash);
            s = self.segment_mut(hash, expiry);
        }
        s.push(hash, item);
        self.len += 1;
        None
    }

    /// Splits the segment that `hash` leads to.
    fn split(&mut self, hash: u64) {
        let seed = self.seed;
        let mut child = &mut self.root;
        let mut base = 0;
        loop {
            match child {
                Child::Segment(s) => {
                    // Only the root is a segment outside any node.
                    let lower = std::mem::replace(s, Segment::new(0));
                    *child = Child::node_of(lower, &seed);
                    self.max_depth = self.max_depth.max(1);
                    return;
                }
                Child::Node(n) => {
                    if matches!(n.child(hash, base), Child::Segment(_)) {
                        let depth = n.split(hash, base, &seed);
                        self.max_depth = self.max_depth.max(depth);
                        return;
                    }
                    child = n.child_mut(hash, base);
                    base += NODE_BITS;
                }
            }
        }
    }

    /// Takes the item under `key` out.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<T> {
        let item = self.root.remove(hash, key, 0, &self.seed)?;
        self.len -= 1;
        self.with_expiry -= usize::from(item.expiry().is_some());
        Some(item)
    }

    /// Takes out up to `budget` items whose expiry is at or before `now`
    /// (unix ms), visiting only segments that may have some.
    pub fn take_due(&mut self, now: u64, budget: usize, out: &mut dyn FnMut(T)) {
        if self.with_expiry == 0 {
            return;
        }
        let mut left = budget;
        let seed = self.seed;
        self.root.take_due(now, &mut left, 0, &seed, out);
        self.len -= budget - left;
        self.with_expiry -= budget - left;
    }

    /// The items of the segment at hash position `position`, and the position of the next segment; `None` after the last.
    pub fn segment_at(&self, position: u64) -> (impl Iterator<Item = &T> + Clone, Option<u64>) {
        let s = self.segment(position);
        (s.items(), next_position(position, s.depth))
    }

    /// Every item, segment by segment in hash order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let (items, after) = self.segment_at(next?);
            next = after;
            Some(items)
        })
        .flatten()
    }

    /// Visits the items from `cursor` on, whole buckets at a time, until
    /// `count` were seen, and returns the cursor to go on from, 0 at the end.
    /// An item that is there from the first call to the last is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&T)) -> u64 {
        let Some(mut position) = cursor.checked_mul(1 << CURSOR_SHIFT) else {
            return 0;
        };
        let mut seen = 0;
        loop {
            let s = self.segment(position);
            // Items may stand behind their home, so each is asked for it.
            let mut homes: [(u8, u8); SLOTS] = [(0, 0); SLOTS];
            let mut taken = 0;
            for (i, tag) in (0u8..=255).zip(&s.meta.tags) {
                if *tag != 0 {
                    let home = home_of(self.hash(s.slots[usize::from(i)].key()), s.depth);
                    homes[taken] = (home as u8, i);
                    taken += 1;
                }
            }
            let homes = &mut homes[..taken];
            homes.sort_unstable();
            let mut at =
                homes.partition_point(|(home, _)| usize::from(*home) < home_of(position, s.depth));
            loop {
                let home = home_of(position, s.depth);
                while let Some((_, i)) = homes.get(at).filter(|(h, _)| usize::from(*h) == home) {
                    visit(&s.slots[usize::from(*i)]);
                    at += 1;
                    seen += 1;
                }
                if home == SLOTS - 1 {
                    s.meta.overflow.iter().for_each(&mut visit);
                }
                match next_position(position, s.depth + SLOT_BITS) {
                    None => return 0,
                    Some(next) => position = next,
                }
                // A bucket finer than a cursor can say is never stopped in.
                if seen >= count && position.trailing_zeros() >= CURSOR_SHIFT {
                    return position >> CURSOR_SHIFT;
                }
                if home == SLOTS - 1 {
                    break;
                }
            }
        }
    }

    /// One item, each with the same chance.
    pub fn random(&self, rng: &mut dyn Random) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        // A random position finds a segment with chance 2^-depth; taking it
        // with chance 2^(depth - max_depth), and one of its slots if filled,
        // gives every item the same chance.
        for _ in 0..128 {
            let r = rng.next_u64();
            let s = self.segment(r);
            let skip = self.max_depth - s.depth.min(self.max_depth);
            let dice = rng.next_u64();
            if !s.meta.overflow.is_empty() {
                break;
            }
            if skip > 0 && dice >> (64 - skip) != 0 {
                continue;
            }
            let at = (dice % SLOTS as u64) as usize;
            if s.meta.tags[at] != 0 {
                return Some(&s.slots[at]);
            }
        }
        // Sparse after many removals: count to a random rank instead.
        let mut n = (((u128::from(rng.next_u64())) * self.len as u128) >> 64) as usize;
        self.root.nth(&mut n)
    }

    /// Bytes that the table itself takes, items' own allocations left out.
    pub fn heap_bytes(&self) -> usize {
        fn of<T>(child: &Child<T>) -> usize {
            match child {
                Child::Segment(s) => {
                    size_of::<Meta<T>>() + (SLOTS + s.meta.overflow.capacity()) * size_of::<T>()
                }
                Child::Node(n) => {
                    size_of::<Node<T>>()
                        + n.slots.capacity() * 2
                        + n.children.capacity() * size_of::<Child<T>>()
                        + n.children.iter().map(of).sum::<usize>()
                }
            }
        }
        of(&self.root)
    }
}

/// The position after the range of 2^(64-depth) positions around `position`.
fn next_position(position: u64, depth: u32) -> Option<u64> {
    if depth == 0 {
        return None;
    }
    let span = 1u64 << (64 - depth);
    (position & !(span - 1)).checked_add(span)
}

#[cfg(test)]
mod tests;

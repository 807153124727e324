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

use super::entry::{Entry, SmallEntry};
use crate::base::hash::{HashKey, hash};
use crate::base::random::Random;

/// Slots of a segment.
const SLOTS: usize = 256;
/// Items that a segment holds before it is split.
pub const SEGMENT_CAP: usize = 224;

/// Bits that choose a slot within a segment.
const SLOT_BITS: u32 = 8;
/// Most bits that one directory resolves: doubling it copies 16 KiB at most.
/// Tests use small ones, to have them three deep with few items.
const NODE_BITS: u32 = if cfg!(test) { 5 } else { 14 };
/// Deepest prefix of a segment, in bits: the slots below it need eight more.
const MAX_DEPTH: u32 = 50;
/// Buddies that together hold no more than this are merged.
const MERGE_AT: usize = SEGMENT_CAP / 3;
/// Scan cursors leave out these low bits, so that clients which keep numbers
/// in a double (up to 2^53) carry them exactly.
const CURSOR_SHIFT: u32 = 16;

/// What a table holds. The default fills empty slots and allocates nothing.
pub trait Item: Default {
    /// The bytes that identify it.
    fn key(&self) -> &[u8];
    /// When it ends, unix time in ms.
    fn expiry(&self) -> Option<u64> {
        None
    }
    /// Called only by the table, which keeps sums over expiries.
    fn set_expiry(&mut self, _expiry: Option<u64>) {}
}

impl Item for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
    #[inline]
    fn expiry(&self) -> Option<u64> {
        Entry::expiry(self)
    }
    fn set_expiry(&mut self, expiry: Option<u64>) {
        Entry::set_expiry(self, expiry);
    }
}

/// A field of a large hash: the field is the key, its value the payload.
impl Item for SmallEntry {
    #[inline]
    fn key(&self) -> &[u8] {
        SmallEntry::key(self)
    }
    fn expiry(&self) -> Option<u64> {
        SmallEntry::expiry(self)
    }
    fn set_expiry(&mut self, expiry: Option<u64>) {
        SmallEntry::set_expiry(self, expiry);
    }
}

/// A member of a large set.
impl Item for Box<[u8]> {
    #[inline]
    fn key(&self) -> &[u8] {
        self
    }
}

#[derive(Debug, Clone)]
struct Segment<T> {
    /// Bits of the hash that all items share.
    depth: u32,
    meta: Box<Meta<T>>,
    slots: Box<[T; SLOTS]>,
}

#[derive(Debug, Clone)]
struct Meta<T> {
    /// For each slot: 0 if it is empty, else [`tag_of`] its item's hash.
    tags: [u8; SLOTS],
    len: usize,
    /// No item ends before this (unix ms); `u64::MAX` when none ends.
    min_expiry: u64,
    /// Only at `MAX_DEPTH`; see the module's note.
    overflow: Vec<T>,
}

#[derive(Debug, Clone)]
struct Node<T> {
    /// How many bits of the hash it resolves, after those resolved above it.
    bits: u32,
    /// Which child answers for each value of these bits.
    slots: Vec<u16>,
    children: Vec<Child<T>>,
    min_expiry: u64,
}

#[derive(Debug, Clone)]
enum Child<T> {
    Segment(Segment<T>),
    Node(Box<Node<T>>),
}

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

/// Where an item is in its segment.
#[derive(Clone, Copy)]
enum At {
    Slot(usize),
    Overflow(usize),
}

/// The slot that an item with this hash belongs to, if it is free.
#[inline]
fn home_of(hash: u64, depth: u32) -> usize {
    ((hash << depth) >> (64 - SLOT_BITS)) as usize
}

/// Bits of the hash that no prefix uses.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

impl<T: Item> Segment<T> {
    fn new(depth: u32) -> Self {
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

    fn len(&self) -> usize {
        self.meta.len
    }

    fn is_full(&self) -> bool {
        self.meta.len >= SEGMENT_CAP
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<At> {
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
    fn get(&self, at: At) -> &T {
        match at {
            At::Slot(i) => &self.slots[i],
            At::Overflow(i) => &self.meta.overflow[i],
        }
    }

    #[inline]
    fn get_mut(&mut self, at: At) -> &mut T {
        match at {
            At::Slot(i) => &mut self.slots[i],
            At::Overflow(i) => &mut self.meta.overflow[i],
        }
    }

    /// The items, roughly in hash order.
    fn items(&self) -> impl Iterator<Item = &T> + Clone {
        let taken = self
            .slots
            .iter()
            .zip(&self.meta.tags)
            .filter(|(_, t)| **t != 0)
            .map(|(item, _)| item);
        taken.chain(&self.meta.overflow)
    }

    /// Takes all items, roughly in hash order.
    fn into_items(mut self) -> impl Iterator<Item = T> {
        let overflow = std::mem::take(&mut self.meta.overflow);
        let Segment { meta, slots, .. } = self;
        let taken = slots
            .into_iter()
            .enumerate()
            .filter(move |(i, _)| meta.tags[*i] != 0)
            .map(|(_, item)| item);
        taken.chain(overflow)
    }

    fn note_expiry(&mut self, expiry: Option<u64>) {
        if let Some(ms) = expiry {
            self.meta.min_expiry = self.meta.min_expiry.min(ms);
        }
    }

    /// Adds an item that isn't there; the caller made room.
    fn push(&mut self, hash: u64, item: T) {
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

    fn take(&mut self, at: At, seed: &HashKey) -> T {
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
    fn split(&mut self, seed: &HashKey) -> Segment<T> {
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
    fn merge(&mut self, upper: Segment<T>, seed: &HashKey) {
        let lower = std::mem::replace(self, Segment::new(self.depth - 1));
        for item in lower.into_items().chain(upper.into_items()) {
            let hash = hash(seed, item.key());
            self.push(hash, item);
        }
    }
}

impl<T: Item> Node<T> {
    fn note_expiry(&mut self, expiry: Option<u64>) {
        if let Some(ms) = expiry {
            self.min_expiry = self.min_expiry.min(ms);
        }
    }

    /// The slot for `hash`; `base` bits of it are resolved above this node.
    #[inline]
    fn slot_of(&self, hash: u64, base: u32) -> usize {
        ((hash << base) >> (64 - self.bits)) as usize
    }

    #[inline]
    fn child(&self, hash: u64, base: u32) -> &Child<T> {
        &self.children[usize::from(self.slots[self.slot_of(hash, base)])]
    }

    #[inline]
    fn child_mut(&mut self, hash: u64, base: u32) -> &mut Child<T> {
        let index = usize::from(self.slots[self.slot_of(hash, base)]);
        &mut self.children[index]
    }

    /// Splits the full segment that `hash` leads to; gives its new depth.
    fn split(&mut self, hash: u64, base: u32, seed: &HashKey) -> u32 {
        let slot = self.slot_of(hash, base);
        let index = usize::from(self.slots[slot]);
        let Child::Segment(segment) = &mut self.children[index] else {
            return 0;
        };
        let depth = segment.depth;
        if depth == base + NODE_BITS {
            let lower = std::mem::replace(segment, Segment::new(0));
            self.children[index] = Child::node_of(lower, seed);
            return depth + 1;
        }
        let upper = segment.split(seed);
        if depth == base + self.bits {
            self.slots = self
                .slots
                .iter()
                .flat_map(|&child| [child, child])
                .collect();
            self.bits += 1;
        }
        let slot = self.slot_of(hash, base);
        let span = 1 << (base + self.bits - depth);
        let first = slot & !(span - 1);
        let new = self.children.len() as u16;
        self.slots[first + span / 2..first + span].fill(new);
        self.children.push(Child::Segment(upper));
        depth + 1
    }

    /// Merges the segment behind `slot` with its buddy when both have become
    /// small, again and again.
    fn merge(&mut self, slot: usize, base: u32, seed: &HashKey) {
        loop {
            let index = usize::from(self.slots[slot]);
            let Child::Segment(segment) = &self.children[index] else {
                return;
            };
            let (depth, len) = (segment.depth, segment.len());
            if depth <= base {
                return;
            }
            let span = 1usize << (base + self.bits - depth);
            let first = slot & !(span - 1);
            let buddy = usize::from(self.slots[first ^ span]);
            match &self.children[buddy] {
                Child::Segment(b) if b.depth == depth && b.len() + len <= MERGE_AT => {}
                _ => return,
            }
            let (keep, drop) = if first & span == 0 {
                (index, buddy)
            } else {
                (buddy, index)
            };
            let gone = std::mem::replace(&mut self.children[drop], Child::Segment(Segment::new(0)));
            if let (Child::Segment(low), Child::Segment(high)) = (&mut self.children[keep], gone) {
                low.merge(high, seed);
            }
            // The last child takes the free place; its slots must follow.
            let last = self.children.len() - 1;
            self.children.swap_remove(drop);
            for s in &mut self.slots {
                if usize::from(*s) == drop {
                    *s = keep as u16;
                }
                if usize::from(*s) == last {
                    *s = drop as u16;
                }
            }
        }
    }
}

impl<T: Item> Child<T> {
    /// A node over one full segment, split once.
    fn node_of(mut lower: Segment<T>, seed: &HashKey) -> Self {
        let min_expiry = lower.meta.min_expiry;
        let upper = lower.split(seed);
        let children = vec![Child::Segment(lower), Child::Segment(upper)];
        Child::Node(Box::new(Node {
            bits: 1,
            slots: vec![0, 1],
            children,
            min_expiry,
        }))
    }

    fn min_expiry(&self) -> u64 {
        match self {
            Child::Segment(s) => s.meta.min_expiry,
            Child::Node(n) => n.min_expiry,
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8], base: u32, seed: &HashKey) -> Option<T> {
        match self {
            Child::Segment(s) => {
                let at = s.find(hash, key)?;
                Some(s.take(at, seed))
            }
            Child::Node(n) => {
                let slot = n.slot_of(hash, base);
                let item = n.children[usize::from(n.slots[slot])].remove(
                    hash,
                    key,
                    base + NODE_BITS,
                    seed,
                )?;
                n.merge(slot, base, seed);
                self.collapse();
                Some(item)
            }
        }
    }

    /// A node with nothing but one segment becomes that segment.
    fn collapse(&mut self) {
        let Child::Node(n) = self else { return };
        if n.children.len() == 1
            && let Some(only @ Child::Segment(_)) = n.children.pop()
        {
            *self = only;
        }
    }

    fn take_due(
        &mut self,
        now: u64,
        budget: &mut usize,
        base: u32,
        seed: &HashKey,
        out: &mut dyn FnMut(T),
    ) -> u64 {
        if self.min_expiry() > now || *budget == 0 {
            return self.min_expiry();
        }
        match self {
            Child::Segment(s) => {
                let mut min = u64::MAX;
                let mut i = 0;
                while i < SLOTS + s.meta.overflow.len() {
                    let at = if i < SLOTS {
                        At::Slot(i)
                    } else {
                        At::Overflow(i - SLOTS)
                    };
                    // An empty slot's default has no expiry.
                    match s.get(at).expiry() {
                        // Another item may take its place: look there again.
                        Some(ms) if ms <= now && *budget > 0 => {
                            *budget -= 1;
                            out(s.take(at, seed));
                        }
                        other => {
                            min = min.min(other.unwrap_or(u64::MAX));
                            i += 1;
                        }
                    }
                }
                s.meta.min_expiry = min;
                min
            }
            Child::Node(n) => {
                let mut min = u64::MAX;
                for child in &mut n.children {
                    min = min.min(child.take_due(now, budget, base + NODE_BITS, seed, out));
                }
                n.min_expiry = min;
                // Slot by slot, since a merge moves the children around.
                let mut slot = 0;
                while slot < n.slots.len() {
                    n.merge(slot, base, seed);
                    slot += match &n.children[usize::from(n.slots[slot])] {
                        Child::Segment(s) => 1 << (base + n.bits - s.depth),
                        Child::Node(_) => 1,
                    };
                }
                self.collapse();
                min
            }
        }
    }

    fn nth(&self, n: &mut usize) -> Option<&T> {
        match self {
            Child::Segment(s) => {
                let len = s.len();
                if *n < len {
                    return s.items().nth(*n);
                }
                *n -= len;
                None
            }
            Child::Node(node) => node.children.iter().find_map(|c| c.nth(n)),
        }
    }
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

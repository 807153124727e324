//! The segmented table: extendible hashing over small segments.
//!
//! A *segment* holds up to 255 items in the order of their hash, under an
//! index of 64 buckets (the six bits of the hash below the segment's prefix)
//! and one tag byte per item. A full segment is split in two; nothing else
//! moves, so no insert ever pays for the size of the table. Segments hang in
//! a trie that resolves eight bits of the hash a level, so the directory
//! grows by small nodes and is never copied.
//!
//! Hash order is what everything else leans on: a scan cursor is simply the
//! next hash position (exact across splits and merges, which only make its
//! bucket finer or coarser), a segment is a contiguous range of positions
//! (the unit of snapshotting and of parallel loading), and a snapshot written
//! in hash order loads without moving items.
//!
//! The hash is SipHash-1-3 under a random key. That 256 items share the 58
//! bits that end the trie can't happen by chance nor by choice without the
//! key; should it all the same, the last segment keeps them in a plain
//! overflow list.

use super::entry::{Entry, SmallEntry};
use crate::base::hash::{HashKey, hash};
use crate::base::random::Random;

/// Items that a segment holds before it is split.
pub const SEGMENT_CAP: usize = 255;

const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const NODE_BITS: u32 = 8;
const NODE_SLOTS: usize = 1 << NODE_BITS;
/// Deepest prefix of a segment, in bits: the buckets below it need six more.
const MAX_DEPTH: u32 = 64 - BUCKET_BITS - NODE_BITS;
/// Items by which a segment's array grows: 512 bytes of two-word items, the
/// step of the allocator's size classes in this range.
const GROW: usize = 32;
/// Buddies that together hold no more than this are merged.
const MERGE_AT: usize = SEGMENT_CAP / 3;
/// Scan cursors leave out these low bits, so that clients which keep numbers
/// in a double (up to 2^53) carry them exactly.
const CURSOR_SHIFT: u32 = 16;

/// What a table holds.
pub trait Item {
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
    /// No item ends before this (unix ms); `u64::MAX` when none ends.
    min_expiry: u64,
    /// Index of each bucket's first item.
    starts: [u8; BUCKETS],
    /// Low byte of each item's hash.
    tags: [u8; SEGMENT_CAP],
    items: Vec<T>,
    /// Only at `MAX_DEPTH`; see the module's note.
    overflow: Vec<T>,
}

#[derive(Debug, Clone)]
struct Node<T> {
    /// Which child answers for each value of this level's eight bits.
    slots: [u8; NODE_SLOTS],
    children: Vec<Child<T>>,
    min_expiry: u64,
}

#[derive(Debug, Clone)]
enum Child<T> {
    Segment(Box<Segment<T>>),
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
    Item(usize),
    Overflow(usize),
}

#[inline]
fn bucket_of(hash: u64, depth: u32) -> usize {
    ((hash << depth) >> (64 - BUCKET_BITS)) as usize
}

#[inline]
fn slot_of(hash: u64, level: u32) -> usize {
    ((hash << (level * NODE_BITS)) >> (64 - NODE_BITS)) as usize
}

impl<T: Item> Segment<T> {
    fn new(depth: u32) -> Self {
        Segment {
            depth,
            min_expiry: u64::MAX,
            starts: [0; BUCKETS],
            tags: [0; SEGMENT_CAP],
            items: Vec::new(),
            overflow: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.items.len() + self.overflow.len()
    }

    #[inline]
    fn bucket(&self, b: usize) -> (usize, usize) {
        let end = match self.starts.get(b + 1) {
            Some(&end) => usize::from(end),
            None => self.items.len(),
        };
        (usize::from(self.starts[b]), end)
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<At> {
        let (lo, hi) = self.bucket(bucket_of(hash, self.depth));
        let tag = hash as u8;
        for (i, (t, item)) in self.tags[lo..hi]
            .iter()
            .zip(&self.items[lo..hi])
            .enumerate()
        {
            if *t == tag && item.key() == key {
                return Some(At::Item(lo + i));
            }
        }
        if self.overflow.is_empty() {
            return None;
        }
        self.overflow
            .iter()
            .position(|item| item.key() == key)
            .map(At::Overflow)
    }

    fn get(&self, at: At) -> &T {
        match at {
            At::Item(i) => &self.items[i],
            At::Overflow(i) => &self.overflow[i],
        }
    }

    fn get_mut(&mut self, at: At) -> &mut T {
        match at {
            At::Item(i) => &mut self.items[i],
            At::Overflow(i) => &mut self.overflow[i],
        }
    }

    fn note_expiry(&mut self, expiry: Option<u64>) {
        if let Some(ms) = expiry {
            self.min_expiry = self.min_expiry.min(ms);
        }
    }

    /// Adds an item that isn't there; the caller made room.
    fn push(&mut self, hash: u64, item: T) {
        self.note_expiry(item.expiry());
        if self.items.len() == SEGMENT_CAP {
            self.overflow.push(item);
            return;
        }
        if self.items.len() == self.items.capacity() {
            let grow = if self.items.len() < GROW { 8 } else { GROW };
            self.items.reserve_exact(grow);
        }
        let b = bucket_of(hash, self.depth);
        let (_, at) = self.bucket(b);
        self.tags.copy_within(at..self.items.len(), at + 1);
        self.tags[at] = hash as u8;
        self.items.insert(at, item);
        for start in &mut self.starts[b + 1..] {
            *start += 1;
        }
    }

    fn take(&mut self, at: At) -> T {
        let i = match at {
            At::Overflow(i) => return self.overflow.swap_remove(i),
            At::Item(i) => i,
        };
        let item = self.items.remove(i);
        self.tags.copy_within(i + 1..=self.items.len(), i);
        for start in &mut self.starts {
            *start -= u8::from(usize::from(*start) > i);
        }
        if self.items.capacity() > self.items.len() + 2 * GROW {
            self.items.shrink_to(self.items.len() + GROW);
        }
        item
    }

    /// Splits by the next bit; `self` keeps the lower half.
    fn split(&mut self, seed: &HashKey) -> Segment<T> {
        let depth = self.depth + 1;
        let mut upper = Segment::new(depth);
        let mut lower = Segment::new(depth);
        let items = std::mem::take(&mut self.items);
        let room = (items.len() / 2).next_multiple_of(GROW) + GROW;
        upper.items.reserve_exact(room);
        lower.items.reserve_exact(room);
        // Items are in hash order, so each half fills from its front and no
        // push moves another item.
        for item in items {
            let hash = hash(seed, item.key());
            let half = if (hash << self.depth) >> 63 == 0 {
                &mut lower
            } else {
                &mut upper
            };
            half.push(hash, item);
        }
        *self = lower;
        upper
    }

    /// Takes over the items of the buddy that follows, one bit shallower.
    fn merge(&mut self, upper: Segment<T>, seed: &HashKey) {
        let lower = std::mem::replace(self, Segment::new(self.depth - 1));
        self.items
            .reserve_exact(lower.items.len() + upper.items.len());
        for item in lower.items.into_iter().chain(upper.items) {
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

    /// Splits the full segment behind `slot`, whose bits this node (at
    /// `level`) resolves.
    fn split(&mut self, slot: usize, level: u32, seed: &HashKey) -> u32 {
        let index = usize::from(self.slots[slot]);
        let Child::Segment(segment) = &mut self.children[index] else {
            return 0;
        };
        let depth = segment.depth;
        if depth == (level + 1) * NODE_BITS {
            let lower = std::mem::replace(segment, Box::new(Segment::new(0)));
            self.children[index] = Child::node_of(lower, seed);
        } else {
            let upper = segment.split(seed);
            let span = 1 << ((level + 1) * NODE_BITS - depth);
            let first = slot & !(span - 1);
            let new = self.children.len() as u8;
            self.slots[first + span / 2..first + span].fill(new);
            self.children.push(Child::Segment(Box::new(upper)));
        }
        depth + 1
    }

    /// Merges the segment behind `slot` with its buddy when both have become
    /// small, again and again.
    fn merge(&mut self, slot: usize, level: u32, seed: &HashKey) {
        loop {
            let index = usize::from(self.slots[slot]);
            let Child::Segment(segment) = &self.children[index] else {
                return;
            };
            let (depth, len) = (segment.depth, segment.len());
            if depth <= level * NODE_BITS || !segment.overflow.is_empty() {
                return;
            }
            let span = 1usize << ((level + 1) * NODE_BITS - depth);
            let first = slot & !(span - 1);
            let buddy = usize::from(self.slots[first ^ span]);
            match &self.children[buddy] {
                Child::Segment(b)
                    if b.depth == depth && b.overflow.is_empty() && b.len() + len <= MERGE_AT => {}
                _ => return,
            }
            let (keep, drop) = if first & span == 0 {
                (index, buddy)
            } else {
                (buddy, index)
            };
            let gone = std::mem::replace(
                &mut self.children[drop],
                Child::Segment(Box::new(Segment::new(0))),
            );
            if let (Child::Segment(low), Child::Segment(high)) = (&mut self.children[keep], gone) {
                low.merge(*high, seed);
            }
            // The last child takes the free place; its slots must follow.
            let last = self.children.len() - 1;
            self.children.swap_remove(drop);
            for s in &mut self.slots {
                if usize::from(*s) == drop {
                    *s = keep as u8;
                }
                if usize::from(*s) == last {
                    *s = drop as u8;
                }
            }
        }
    }
}

impl<T: Item> Child<T> {
    /// A node over one full segment, split once.
    fn node_of(mut lower: Box<Segment<T>>, seed: &HashKey) -> Self {
        let min_expiry = lower.min_expiry;
        let upper = lower.split(seed);
        let mut slots = [0; NODE_SLOTS];
        slots[NODE_SLOTS / 2..].fill(1);
        let children = vec![Child::Segment(lower), Child::Segment(Box::new(upper))];
        Child::Node(Box::new(Node {
            slots,
            children,
            min_expiry,
        }))
    }

    fn min_expiry(&self) -> u64 {
        match self {
            Child::Segment(s) => s.min_expiry,
            Child::Node(n) => n.min_expiry,
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8], level: u32, seed: &HashKey) -> Option<T> {
        match self {
            Child::Segment(s) => {
                let at = s.find(hash, key)?;
                Some(s.take(at))
            }
            Child::Node(n) => {
                let slot = slot_of(hash, level);
                let item =
                    n.children[usize::from(n.slots[slot])].remove(hash, key, level + 1, seed)?;
                n.merge(slot, level, seed);
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
        level: u32,
        seed: &HashKey,
        out: &mut dyn FnMut(T),
    ) -> u64 {
        if self.min_expiry() > now || *budget == 0 {
            return self.min_expiry();
        }
        match self {
            Child::Segment(s) => {
                let mut i = 0;
                let mut min = u64::MAX;
                while i < s.len() {
                    let at = if i < s.items.len() {
                        At::Item(i)
                    } else {
                        At::Overflow(i - s.items.len())
                    };
                    match s.get(at).expiry() {
                        Some(ms) if ms <= now && *budget > 0 => {
                            *budget -= 1;
                            out(s.take(at));
                        }
                        other => {
                            min = min.min(other.unwrap_or(u64::MAX));
                            i += 1;
                        }
                    }
                }
                s.min_expiry = min;
                min
            }
            Child::Node(n) => {
                let mut min = u64::MAX;
                for child in &mut n.children {
                    min = min.min(child.take_due(now, budget, level + 1, seed, out));
                }
                n.min_expiry = min;
                // Slot by slot, since a merge moves the children around.
                let mut slot = 0;
                while slot < NODE_SLOTS {
                    n.merge(slot, level, seed);
                    slot += match &n.children[usize::from(n.slots[slot])] {
                        Child::Segment(s) => 1 << ((level + 1) * NODE_BITS - s.depth),
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
                    return s.items.iter().chain(&s.overflow).nth(*n);
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
            root: Child::Segment(Box::new(Segment::new(0))),
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
        let mut level = 0;
        loop {
            match child {
                Child::Segment(s) => return s,
                Child::Node(n) => {
                    child = &n.children[usize::from(n.slots[slot_of(hash, level)])];
                    level += 1;
                }
            }
        }
    }

    /// The segment for `hash`; `expiry` is noted on the way down.
    fn segment_mut(&mut self, hash: u64, expiry: Option<u64>) -> &mut Segment<T> {
        let mut child = &mut self.root;
        let mut level = 0;
        loop {
            match child {
                Child::Segment(s) => return s,
                Child::Node(n) => {
                    n.note_expiry(expiry);
                    child = &mut n.children[usize::from(n.slots[slot_of(hash, level)])];
                    level += 1;
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
        while s.items.len() == SEGMENT_CAP && s.depth < MAX_DEPTH {
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
        let mut level = 0;
        loop {
            match child {
                Child::Segment(s) => {
                    // Only the root is a segment outside any node.
                    let lower = std::mem::replace(s, Box::new(Segment::new(0)));
                    *child = Child::node_of(lower, &seed);
                    self.max_depth = self.max_depth.max(1);
                    return;
                }
                Child::Node(n) => {
                    let slot = slot_of(hash, level);
                    let index = usize::from(n.slots[slot]);
                    if matches!(n.children[index], Child::Segment(_)) {
                        let depth = n.split(slot, level, &seed);
                        self.max_depth = self.max_depth.max(depth);
                        return;
                    }
                    child = &mut n.children[index];
                    level += 1;
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

    /// The items of the segment at hash position `position`, in hash order,
    /// and the position of the next segment; `None` after the last.
    pub fn segment_at(&self, position: u64) -> (impl Iterator<Item = &T> + Clone, Option<u64>) {
        let s = self.segment(position);
        (
            s.items.iter().chain(&s.overflow),
            next_position(position, s.depth),
        )
    }

    /// Every item, in hash order.
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
            let b = bucket_of(position, s.depth);
            let (lo, hi) = s.bucket(b);
            s.items[lo..hi].iter().for_each(&mut visit);
            seen += hi - lo;
            if b == BUCKETS - 1 {
                s.overflow.iter().for_each(&mut visit);
            }
            match next_position(position, s.depth + BUCKET_BITS) {
                None => return 0,
                Some(next) => position = next,
            }
            // A bucket finer than a cursor can say is never stopped in.
            if seen >= count && position.trailing_zeros() >= CURSOR_SHIFT {
                return position >> CURSOR_SHIFT;
            }
        }
    }

    /// One item, each with the same chance.
    pub fn random(&self, rng: &mut dyn Random) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        // A random position finds a segment with chance 2^-depth; taking it
        // with chance 2^(depth - max_depth), and one of 255 places in it if
        // filled, gives every item the same chance.
        for _ in 0..128 {
            let r = rng.next_u64();
            let s = self.segment(r);
            let skip = self.max_depth - s.depth.min(self.max_depth);
            let dice = rng.next_u64();
            if !s.overflow.is_empty() {
                break;
            }
            if skip > 0 && dice >> (64 - skip) != 0 {
                continue;
            }
            if let Some(item) = s.items.get((dice & 0xff) as usize) {
                return Some(item);
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
                    size_of::<Segment<T>>()
                        + (s.items.capacity() + s.overflow.capacity()) * size_of::<T>()
                }
                Child::Node(n) => {
                    size_of::<Node<T>>()
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

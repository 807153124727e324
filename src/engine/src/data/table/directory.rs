//! The directories over the segments: they double while they are small, and
//! hang below each other beyond that.

use super::Item;
use super::segment::{At, SEGMENT_CAP, SLOTS, Segment};
use crate::base::hash::HashKey;

/// Most bits that one directory resolves: doubling it copies 16 KiB at most.
/// Tests use small ones, to have them three deep with few items.
pub(super) const NODE_BITS: u32 = if cfg!(test) { 5 } else { 14 };
/// Buddies that together hold no more than this are merged.
const MERGE_AT: usize = SEGMENT_CAP / 3;

#[derive(Debug, Clone)]
pub(super) struct Node<T> {
    /// How many bits of the hash it resolves, after those resolved above it.
    pub(super) bits: u32,
    /// Which child answers for each value of these bits.
    pub(super) slots: Vec<u16>,
    pub(super) children: Vec<Child<T>>,
    pub(super) min_expiry: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Child<T> {
    Segment(Segment<T>),
    Node(Box<Node<T>>),
}

impl<T: Item> Node<T> {
    pub(super) fn note_expiry(&mut self, expiry: Option<u64>) {
        if let Some(ms) = expiry {
            self.min_expiry = self.min_expiry.min(ms);
        }
    }

    /// The slot for `hash`; `base` bits of it are resolved above this node.
    #[inline]
    pub(super) fn slot_of(&self, hash: u64, base: u32) -> usize {
        ((hash << base) >> (64 - self.bits)) as usize
    }

    #[inline]
    pub(super) fn child(&self, hash: u64, base: u32) -> &Child<T> {
        &self.children[usize::from(self.slots[self.slot_of(hash, base)])]
    }

    #[inline]
    pub(super) fn child_mut(&mut self, hash: u64, base: u32) -> &mut Child<T> {
        let index = usize::from(self.slots[self.slot_of(hash, base)]);
        &mut self.children[index]
    }

    /// Splits the full segment that `hash` leads to; gives its new depth.
    pub(super) fn split(&mut self, hash: u64, base: u32, seed: &HashKey) -> u32 {
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
    pub(super) fn merge(&mut self, slot: usize, base: u32, seed: &HashKey) {
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
    pub(super) fn node_of(mut lower: Segment<T>, seed: &HashKey) -> Self {
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

    pub(super) fn min_expiry(&self) -> u64 {
        match self {
            Child::Segment(s) => s.meta.min_expiry,
            Child::Node(n) => n.min_expiry,
        }
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8], base: u32, seed: &HashKey) -> Option<T> {
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
    pub(super) fn collapse(&mut self) {
        let Child::Node(n) = self else { return };
        if n.children.len() == 1
            && let Some(only @ Child::Segment(_)) = n.children.pop()
        {
            *self = only;
        }
    }

    pub(super) fn take_due(
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

    pub(super) fn nth(&self, n: &mut usize) -> Option<&T> {
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

//! The rank index of large sorted sets: a counted B+tree over (score,
//! member), in which a rank, a score or a member is found in O(log n).

mod iter;
mod node;

use node::{Entry, MIN_FILL, Node, Place};
use std::ops::Bound;

pub use iter::{Iter, IterRev};

/// Entries ordered by score, then by the bytes of the member. Scores are
/// never NaN (such an entry isn't taken); -0 and 0 are the same score.
///
/// It holds no index by member: to remove one, its score must be known.
#[derive(Clone, Debug)]
pub struct OrderTree {
    root: Node,
    len: usize,
    /// Sum of the lengths of the members.
    member_bytes: usize,
}

impl Default for OrderTree {
    fn default() -> Self {
        OrderTree::new()
    }
}

impl OrderTree {
    /// An empty tree.
    pub fn new() -> Self {
        OrderTree {
            root: Node::Leaf(Vec::new()),
            len: 0,
            member_bytes: 0,
        }
    }

    /// Builds a tree in O(n); `None` unless the entries ascend strictly.
    pub fn from_sorted<I, M>(entries: I) -> Option<Self>
    where
        I: IntoIterator<Item = (f64, M)>,
        M: Into<Box<[u8]>>,
    {
        let (mut len, mut member_bytes) = (0, 0);
        let mut builder = node::Builder::new();
        for (score, member) in entries {
            let member = member.into();
            if score.is_nan() || !builder.may_follow(score, &member) {
                return None;
            }
            len += 1;
            member_bytes += member.len();
            builder.push((score, member));
        }
        Some(OrderTree {
            root: builder.finish(),
            len,
            member_bytes,
        })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry; false if it was there already.
    pub fn insert(&mut self, score: f64, member: &[u8]) -> bool {
        if score.is_nan() {
            return false;
        }
        match self.root.insert(Place { score, member }) {
            node::Inserted::Present => return false,
            node::Inserted::Done => {}
            node::Inserted::Split(separator, right) => {
                let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
                self.root = Node::join(left, separator, right);
            }
        }
        self.len += 1;
        self.member_bytes += member.len();
        true
    }

    /// Removes an entry; false if it wasn't there.
    pub fn remove(&mut self, score: f64, member: &[u8]) -> bool {
        let removed = self.root.remove(Place { score, member });
        self.account(removed).is_some()
    }

    /// Removes and returns the entry of the lowest rank.
    pub fn pop_first(&mut self) -> Option<(f64, Box<[u8]>)> {
        let removed = self.root.remove_at(0);
        self.account(removed)
    }

    /// Removes and returns the entry of the highest rank.
    pub fn pop_last(&mut self) -> Option<(f64, Box<[u8]>)> {
        let removed = self.root.remove_at(self.len.checked_sub(1)?);
        self.account(removed)
    }

    fn account(&mut self, removed: Option<Entry>) -> Option<Entry> {
        let (_, member) = removed.as_ref()?;
        self.len -= 1;
        self.member_bytes -= member.len();
        self.root.drop_idle_levels();
        removed
    }

    /// Removes the entries with ranks `from..to` (cut to what there is),
    /// showing each to `visit` in order; returns how many. O(log n) besides
    /// the entries removed.
    pub fn remove_range(
        &mut self,
        from: usize,
        to: usize,
        mut visit: impl FnMut(f64, &[u8]),
    ) -> usize {
        let to = to.min(self.len);
        if from >= to {
            return 0;
        }
        let member_bytes = &mut self.member_bytes;
        self.root.remove_range(from, to, &mut |score, member| {
            *member_bytes -= member.len();
            visit(score, member);
        });
        self.len -= to - from;
        // The nodes at both sides of the cut may hold too little now.
        self.root.drop_idle_levels();
        self.root.refill(from.saturating_sub(1));
        self.root.drop_idle_levels();
        self.root.refill(from);
        self.root.drop_idle_levels();
        to - from
    }

    /// How many entries stand before this one, if it's there.
    pub fn rank(&self, score: f64, member: &[u8]) -> Option<usize> {
        self.root.rank(Place { score, member })
    }

    /// The entry with this rank, counted from 0.
    pub fn get(&self, rank: usize) -> Option<(f64, &[u8])> {
        self.root.get(rank)
    }

    /// The rank of the first entry within a lower bound of scores; `len()`
    /// if there's none.
    pub fn score_lower(&self, bound: Bound<f64>) -> usize {
        self.count_while(|score, _| match bound {
            Bound::Included(bound) => score < bound,
            Bound::Excluded(bound) => score <= bound,
            Bound::Unbounded => false,
        })
    }

    /// One more than the rank of the last entry within an upper bound of
    /// scores; 0 if there's none.
    pub fn score_upper(&self, bound: Bound<f64>) -> usize {
        self.count_while(|score, _| match bound {
            Bound::Included(bound) => score <= bound,
            Bound::Excluded(bound) => score < bound,
            Bound::Unbounded => true,
        })
    }

    /// Like [`score_lower`](Self::score_lower) by member; only for trees in
    /// which all scores are equal.
    pub fn lex_lower(&self, bound: Bound<&[u8]>) -> usize {
        self.count_while(|_, member| match bound {
            Bound::Included(bound) => member < bound,
            Bound::Excluded(bound) => member <= bound,
            Bound::Unbounded => false,
        })
    }

    /// Like [`score_upper`](Self::score_upper) by member; only for trees in
    /// which all scores are equal.
    pub fn lex_upper(&self, bound: Bound<&[u8]>) -> usize {
        self.count_while(|_, member| match bound {
            Bound::Included(bound) => member <= bound,
            Bound::Excluded(bound) => member < bound,
            Bound::Unbounded => true,
        })
    }

    /// The number of entries at the front for which `before` holds; it must
    /// not hold again behind the first for which it doesn't.
    pub fn count_while(&self, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        self.root.count_while(&mut before)
    }

    /// The entries from `rank` upwards.
    pub fn iter_from(&self, rank: usize) -> Iter<'_> {
        Iter::new(&self.root, rank, self.len)
    }

    /// The entries from `rank` downwards; none if there's no such rank.
    pub fn iter_rev_from(&self, rank: usize) -> IterRev<'_> {
        IterRev::new(&self.root, rank, self.len)
    }

    /// The entries in order.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// Roughly the bytes held on the heap; O(1).
    pub fn heap_bytes(&self) -> usize {
        // Leaves are about three quarters full, and each has a separator.
        let leaves = self.len.div_ceil(MIN_FILL * 3);
        let per_leaf = size_of::<Entry>() + size_of::<usize>() + size_of::<Node>();
        self.member_bytes + self.len * size_of::<Entry>() * 4 / 3 + leaves * (per_leaf + 16)
    }
}

#[cfg(test)]
mod tests;

//! Sorted sets: packed in the key's allocation while small, score and member
//! in turn in rank order, else scores by member and members by rank.

mod small;

use std::ops::{Bound, Range};

use super::entry::{Entry, Payload};
use super::memory;
use super::order::{self, OrderTree};
use super::packed;
use super::table::{Item, Table};
use super::value::{Kind, Limits, Value};
use crate::base::hash::HashKey;

pub use small::is_well_formed;

/// A large sorted set.
#[derive(Debug, Clone)]
pub struct SortedSet {
    scores: Table<Scored>,
    order: OrderTree,
}

/// A member with its score: eight bytes of the double (little endian), then
/// the member.
#[derive(Debug, Clone, Default)]
struct Scored(Box<[u8]>);

impl Scored {
    fn new(score: f64, member: &[u8]) -> Self {
        // Exact capacity: into_boxed_slice must not copy again.
        let mut bytes = Vec::with_capacity(8 + member.len());
        bytes.extend_from_slice(&score.to_le_bytes());
        bytes.extend_from_slice(member);
        Scored(bytes.into_boxed_slice())
    }

    fn score(&self) -> f64 {
        match self.0.first_chunk() {
            Some(raw) => f64::from_le_bytes(*raw),
            None => 0.0,
        }
    }

    fn set_score(&mut self, score: f64) {
        self.0[..8].copy_from_slice(&score.to_le_bytes());
    }
}

impl Item for Scored {
    #[inline]
    fn key(&self) -> &[u8] {
        // Only the default, in an empty slot, is shorter.
        self.0.get(8..).unwrap_or_default()
    }
}

impl SortedSet {
    /// Builds a set from members in rank order; `None` unless they ascend
    /// strictly, no score is NaN and no member comes twice.
    pub fn from_sorted<M: AsRef<[u8]> + Into<Box<[u8]>>>(
        seed: HashKey,
        entries: impl IntoIterator<Item = (f64, M)>,
    ) -> Option<Self> {
        let mut scores = Table::new(seed);
        let mut twice = false;
        let order = OrderTree::from_sorted(entries.into_iter().map(|(score, member)| {
            let hash = scores.hash(member.as_ref());
            let scored = Scored::new(score, member.as_ref());
            twice |= scores.insert(hash, scored).is_some();
            (score, member)
        }))?;
        (!twice).then_some(SortedSet { scores, order })
    }

    /// How many members.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of `member`.
    pub fn score_of(&self, member: &[u8]) -> Option<f64> {
        let hash = self.scores.hash(member);
        self.scores.get(hash, member).map(Scored::score)
    }

    /// Scores and members in rank order, from `rank` on.
    pub fn iter_from(&self, rank: usize) -> order::Iter<'_> {
        self.order.iter_from(rank)
    }

    /// Bytes held on the heap; see [`memory::usage`] for `samples`.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        let scores = memory::items(&self.scores, samples, |item| item.0.len());
        self.scores.heap_bytes() + scores + self.order.heap_bytes()
    }

    /// Visits members from `cursor` on; see [`Table::scan`].
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(f64, &[u8])) -> u64 {
        self.scores
            .scan(cursor, count, |item| visit(item.score(), Item::key(item)))
    }

    fn change(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Change {
        let hash = self.scores.hash(member);
        match self.scores.get_mut(hash, member) {
            Some(item) => {
                let old = item.score();
                match decide(Some(old)) {
                    Some(new) if new != old => {
                        item.set_score(new);
                        self.order.remove(old, member);
                        self.order.insert(new, member);
                        Change::Updated
                    }
                    _ => Change::Same,
                }
            }
            None => match decide(None) {
                Some(new) => {
                    self.scores.insert(hash, Scored::new(new, member));
                    self.order.insert(new, member);
                    Change::Added
                }
                None => Change::Same,
            },
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        let hash = self.scores.hash(member);
        let Some(item) = self.scores.remove(hash, member) else {
            return false;
        };
        self.order.remove(item.score(), member)
    }

    fn remove_ranks(&mut self, ranks: Range<usize>) {
        let scores = &mut self.scores;
        self.order
            .remove_range(ranks.start, ranks.end, |_, member| {
                let hash = scores.hash(member);
                scores.remove(hash, member);
            });
    }
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Same,
    /// It is new.
    Added,
    /// It has another score.
    Updated,
}

/// One end of a range of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before every member.
    Start,
    /// After every member.
    End,
    /// At this member.
    At(&'a [u8]),
    /// Beside this member.
    Beside(&'a [u8]),
}

/// A sorted set of either form, for reading.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// Packed.
    Small(&'a [u8]),
    /// With a structure of its own.
    Large(&'a SortedSet),
}

impl<'a> View<'a> {
    /// The sorted set in `entry`; an empty one if that is of another kind.
    #[inline]
    pub fn of(entry: &'a Entry) -> Self {
        View::from(entry.payload())
    }

    /// How many members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            View::Small(bytes) => packed::count(bytes),
            View::Large(set) => set.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The score of `member`.
    pub fn score_of(self, member: &[u8]) -> Option<f64> {
        match self {
            View::Small(bytes) => small::find(bytes, member).map(|item| item.score),
            View::Large(set) => set.score_of(member),
        }
    }

    /// How many members stand before `member`, and its score.
    pub fn rank_of(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            View::Small(bytes) => small::items(bytes)
                .zip(0..)
                .find(|(item, _)| item.member == member)
                .map(|(item, rank)| (rank, item.score)),
            View::Large(set) => {
                let score = set.score_of(member)?;
                Some((set.order.rank(score, member)?, score))
            }
        }
    }

    /// The member at `rank` and its score.
    pub fn at(self, rank: usize) -> Option<(f64, &'a [u8])> {
        self.iter_from(rank).next()
    }

    /// How many members at the front `before` holds for.
    fn count_while(self, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        match self {
            View::Small(bytes) => small::items(bytes)
                .take_while(|item| before(item.score, item.member))
                .count(),
            View::Large(set) => set.order.count_while(before),
        }
    }

    /// The ranks of members with scores between `min` and `max`.
    pub fn ranks_by_score(self, min: Bound<f64>, max: Bound<f64>) -> Range<usize> {
        let start = self.count_while(|score, _| match min {
            Bound::Included(min) => score < min,
            Bound::Excluded(min) => score <= min,
            Bound::Unbounded => false,
        });
        let end = self.count_while(|score, _| match max {
            Bound::Included(max) => score <= max,
            Bound::Excluded(max) => score < max,
            Bound::Unbounded => true,
        });
        start..end.max(start)
    }

    /// The ranks of members between `min` and `max`; it means something only
    /// where all scores are equal.
    pub fn ranks_by_lex(self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let start = match min {
            LexBound::Start => 0,
            LexBound::End => self.len(),
            LexBound::At(min) => self.count_while(|_, member| member < min),
            LexBound::Beside(min) => self.count_while(|_, member| member <= min),
        };
        let end = match max {
            LexBound::Start => 0,
            LexBound::End => self.len(),
            LexBound::At(max) => self.count_while(|_, member| member <= max),
            LexBound::Beside(max) => self.count_while(|_, member| member < max),
        };
        start..end.max(start)
    }

    /// Scores and members in rank order, from `rank` on.
    pub fn iter_from(self, rank: usize) -> Ascending<'a> {
        match self {
            View::Small(bytes) => {
                let mut items = small::items(bytes);
                if rank > 0 {
                    items.nth(rank - 1);
                }
                Ascending::Small(items)
            }
            View::Large(set) => Ascending::Large(set.iter_from(rank)),
        }
    }

    /// Visits the members of `ranks` (all of them there), the last rank first
    /// with `reverse`.
    pub fn visit(self, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(f64, &'a [u8])) {
        match self {
            _ if ranks.is_empty() => {}
            _ if !reverse => {
                let walk = self.iter_from(ranks.start).take(ranks.len());
                walk.for_each(|(score, member)| visit(score, member));
            }
            View::Small(bytes) => small::visit_reverse(bytes, ranks, visit),
            View::Large(set) => {
                let walk = set.order.iter_rev_from(ranks.end - 1).take(ranks.len());
                walk.for_each(|(score, member)| visit(score, member));
            }
        }
    }
}

impl<'a> From<Payload<'a>> for View<'a> {
    #[inline]
    fn from(payload: Payload<'a>) -> Self {
        match payload {
            Payload::Small(bytes) => View::Small(bytes),
            Payload::Large(Value::Zset(set)) => View::Large(set),
            Payload::Large(_) => View::Small(&[]),
        }
    }
}

/// Scores and members in rank order.
#[derive(Debug)]
pub enum Ascending<'a> {
    /// Of a packed set.
    Small(small::Items<'a>),
    /// Of a large one.
    Large(order::Iter<'a>),
}

impl<'a> Iterator for Ascending<'a> {
    type Item = (f64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Ascending::Small(items) => items.next().map(|item| (item.score, item.member)),
            Ascending::Large(walk) => walk.next(),
        }
    }
}

/// Visits scores and members in rank order.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(f64, &[u8])) {
    View::from(payload)
        .iter_from(0)
        .for_each(|(score, member)| visit(score, member));
}

/// Whether a set of `len` members, the longest of `longest` bytes, is packed.
fn fits(limits: &Limits, len: usize, longest: usize) -> bool {
    len <= limits.zset_max_listpack_entries.min(packed::MAX_COUNT)
        && longest <= limits.zset_max_listpack_value
}

/// A sorted set under `key`, from members in rank order, all different;
/// `entries` is asked twice. `None` if there are none.
pub fn build<'a, I: Iterator<Item = (f64, &'a [u8])>>(
    key: &[u8],
    limits: &Limits,
    seed: HashKey,
    entries: impl Fn() -> I,
) -> Option<Entry> {
    let (len, longest) = entries().fold((0, 0), |(len, longest), (_, member)| {
        (len + 1, member.len().max(longest))
    });
    if len == 0 {
        return None;
    }
    if fits(limits, len, longest) {
        let mut payload = Vec::new();
        payload.extend_from_slice(&(len as u16).to_le_bytes());
        for (score, member) in entries() {
            payload.extend_from_slice(small::packed(score).as_bytes());
            packed::push_element(&mut payload, member);
        }
        return Some(Entry::small(Kind::Zset, key, None, &[&payload]));
    }
    let set = SortedSet::from_sorted(seed, entries())?;
    Some(Entry::large(key, None, Value::Zset(Box::new(set))))
}

/// A sorted set under `key` with one member.
pub fn single(key: &[u8], limits: &Limits, seed: HashKey, score: f64, member: &[u8]) -> Entry {
    if fits(limits, 1, member.len()) {
        let len = packed::Varint::new(member.len() as u64);
        let score = small::packed(score);
        let parts = [&[1, 0], score.as_bytes(), len.as_bytes(), member];
        return Entry::small(Kind::Zset, key, None, &parts);
    }
    let mut set = SortedSet {
        scores: Table::new(seed),
        order: OrderTree::default(),
    };
    set.change(member, |_| Some(score));
    Entry::large(key, None, Value::Zset(Box::new(set)))
}

/// Gives `member` the score that `decide` makes of the one it has; nothing
/// happens if `decide` says `None`.
pub fn change(
    entry: &mut Entry,
    limits: &Limits,
    seed: HashKey,
    member: &[u8],
    decide: impl FnOnce(Option<f64>) -> Option<f64>,
) -> Change {
    let small = match entry {
        Entry::Small(small) => small,
        Entry::Large(object) => {
            return match &mut object.value {
                Value::Zset(set) => set.change(member, decide),
                _ => Change::Same,
            };
        }
    };
    if let Some(item) = small::find(small.payload(), member) {
        let old = item.score;
        return match decide(Some(old)) {
            Some(new) if new != old => {
                let place = item.place();
                small::set_score(small, place, new, member);
                Change::Updated
            }
            _ => Change::Same,
        };
    }
    let Some(score) = decide(None) else {
        return Change::Same;
    };
    if fits(limits, packed::count(small.payload()) + 1, member.len()) {
        small::insert(small, score, member);
    } else {
        promote(entry, seed);
        if let Entry::Large(object) = entry
            && let Value::Zset(set) = &mut object.value
        {
            set.change(member, |_| Some(score));
        }
    }
    Change::Added
}

/// Gives a packed set a structure of its own.
fn promote(entry: &mut Entry, seed: HashKey) {
    if let Some(set) = SortedSet::from_sorted(seed, View::of(entry).iter_from(0)) {
        entry.promote(Value::Zset(Box::new(set)));
    }
}

/// Removes `member`; `false` if it wasn't there.
pub fn remove(entry: &mut Entry, member: &[u8]) -> bool {
    match entry {
        Entry::Small(small) => match small::find(small.payload(), member) {
            Some(item) => {
                let place = item.place();
                small::remove(small, place.at..place.end, 1);
                true
            }
            None => false,
        },
        Entry::Large(object) => match &mut object.value {
            Value::Zset(set) => set.remove(member),
            _ => false,
        },
    }
}

/// Removes the members of `ranks`, all of them there.
pub fn remove_ranks(entry: &mut Entry, ranks: Range<usize>) {
    match entry {
        Entry::Small(small) => {
            let count = ranks.len();
            let bytes = small::range_of(small.payload(), ranks);
            small::remove(small, bytes, count);
        }
        Entry::Large(object) => {
            if let Value::Zset(set) = &mut object.value {
                set.remove_ranks(ranks);
            }
        }
    }
}

#[cfg(test)]
mod tests;

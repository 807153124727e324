//! The packed form: items of a score and a member, in rank order.

use std::ops::Range;

use crate::data::entry::SmallEntry;
use crate::data::packed::{self, COUNT_LEN, Score, Varint};

/// How many positions a walk backwards keeps on the stack.
const BLOCK: usize = 128;

/// A score as it is packed. Like Redis's listpacks, a small set doesn't know
/// -0 from 0; a large one does.
pub fn packed(score: f64) -> Score {
    Score::new(score + 0.0)
}

/// One member.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    at: usize,
    member_at: usize,
    end: usize,
    /// Its score.
    pub score: f64,
    /// The member.
    pub member: &'a [u8],
}

/// Where an item lies in the payload.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where its score begins.
    pub at: usize,
    /// Where its member's length begins.
    member_at: usize,
    /// Where it ends.
    pub end: usize,
}

impl Item<'_> {
    /// Where it lies.
    pub fn place(&self) -> Place {
        Place {
            at: self.at,
            member_at: self.member_at,
            end: self.end,
        }
    }

    /// Whether it stands after this score and member.
    fn is_after(&self, score: f64, member: &[u8]) -> bool {
        self.score > score || (self.score == score && self.member > member)
    }
}

/// Walks the items of a packed set.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    payload: &'a [u8],
    at: usize,
}

/// The items of `payload`, from the first.
pub fn items(payload: &[u8]) -> Items<'_> {
    Items {
        payload,
        at: COUNT_LEN,
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let at = self.at;
        let (score, n) = packed::read_score(self.payload.get(at..)?)?;
        let member_at = at + n;
        let (member, n) = packed::read_element(self.payload.get(member_at..)?)?;
        self.at = member_at + n;
        Some(Item {
            at,
            member_at,
            end: self.at,
            score,
            member,
        })
    }
}

/// Whether `payload` is a well-formed small sorted set: scores and members
/// to the last byte, in rank order.
pub fn is_well_formed(payload: &[u8]) -> bool {
    let mut walk = items(payload);
    let mut previous: Option<Item<'_>> = None;
    for _ in 0..packed::count(payload) {
        let Some(item) = walk.next() else {
            return false;
        };
        if previous.is_some_and(|p| !item.is_after(p.score, p.member)) {
            return false;
        }
        previous = Some(item);
    }
    previous.is_some() && walk.at == payload.len()
}

/// The item of `member`.
#[inline]
pub fn find<'a>(payload: &'a [u8], member: &[u8]) -> Option<Item<'a>> {
    items(payload).find(|item| item.member == member)
}

/// Where the first item after this score and member begins.
fn place_for(payload: &[u8], score: f64, member: &[u8]) -> usize {
    items(payload)
        .find(|item| item.is_after(score, member))
        .map_or(payload.len(), |item| item.at)
}

/// Adds a member that isn't there.
pub fn insert(entry: &mut SmallEntry, score: f64, member: &[u8]) {
    let at = place_for(entry.payload(), score, member);
    let len = Varint::new(member.len() as u64);
    let score = packed(score);
    entry.splice_items(at, 0, &[score.as_bytes(), len.as_bytes(), member], 1);
}

/// Gives `member`, which lies at `place`, another score.
pub fn set_score(entry: &mut SmallEntry, place: Place, score: f64, member: &[u8]) {
    let Place { at, member_at, end } = place;
    let to = place_for(entry.payload(), score, member);
    let new = packed(score);
    let (old_len, new_len) = (member_at - at, new.as_bytes().len());
    // The score changes where it is, then the item moves past the others:
    // nothing is allocated where the score's length stays.
    entry.splice(at, old_len, &[new.as_bytes()]);
    let size = new_len + (end - member_at);
    let payload = entry.payload_mut();
    if to > at {
        let to = (to - old_len + new_len).max(at + size);
        payload[at..to].rotate_left(size);
    } else {
        payload[to..at + size].rotate_right(size);
    }
}

/// Removes the bytes of `count` items.
pub fn remove(entry: &mut SmallEntry, bytes: Range<usize>, count: usize) {
    entry.splice_items(bytes.start, bytes.len(), &[], -(count as isize));
}

/// The bytes that the items of `ranks` take.
pub fn range_of(payload: &[u8], ranks: Range<usize>) -> Range<usize> {
    let mut walk = items(payload);
    if ranks.start > 0 {
        walk.nth(ranks.start - 1);
    }
    let start = walk.at;
    if !ranks.is_empty() {
        walk.nth(ranks.len() - 1);
    }
    start..walk.at
}

/// Visits the items of `ranks`, the last first.
pub fn visit_reverse<'a>(
    payload: &'a [u8],
    ranks: Range<usize>,
    mut visit: impl FnMut(f64, &'a [u8]),
) {
    let mut end = ranks.end;
    while end > ranks.start {
        let start = end.saturating_sub(BLOCK).max(ranks.start);
        let mut block = [(0.0, &[][..]); BLOCK];
        let mut len = 0;
        let found = items(payload).skip(start).take(end - start);
        for (slot, item) in block.iter_mut().zip(found) {
            *slot = (item.score, item.member);
            len += 1;
        }
        for (score, member) in block[..len].iter().rev() {
            visit(*score, member);
        }
        end = start;
    }
}

//! The entries of a stream: packed blocks, ordered by id.

use std::collections::BTreeMap;
use std::collections::btree_map;

use super::block::{Block, Full, Item, MAX_BYTES, Walk};
use super::id::StreamId;
use super::radix;

/// Blocks that trimming drops itself; more are handed out to be freed
/// elsewhere.
const FEW: usize = 8;

/// Counting ends here: XSETID, which tells a count in the log, takes no more.
pub const MOST_ADDED: u64 = i64::MAX as u64;

/// The entries of a stream and what is remembered of those that went.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Full blocks by their bases.
    sealed: BTreeMap<StreamId, Block>,
    /// The last block, to which entries are added; without it there is none
    /// at all. Apart, so that a small stream needs no map.
    tail: Option<Block>,
    /// See [`radix`]; less the root of an empty tree.
    nodes: u64,
    len: u64,
    /// The greatest id that was given, or what XSETID said.
    pub last_id: StreamId,
    /// The greatest id that XDEL removed; [`StreamId::MIN`] if none.
    pub max_deleted: StreamId,
    /// How many entries were ever added, or what XSETID said; at most
    /// [`MOST_ADDED`].
    pub added: u64,
}

/// What trimming leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// At most so many entries.
    Newest(u64),
    /// Those with this id and above.
    From(StreamId),
}

/// How trimming is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What is left.
    pub keep: Keep,
    /// Only whole blocks go.
    pub approximate: bool,
    /// At most so many entries go; 0 is no limit.
    pub limit: u64,
}

impl Trim {
    /// Exactly down to what is to be kept.
    pub fn exact(keep: Keep) -> Self {
        Trim {
            keep,
            approximate: false,
            limit: 0,
        }
    }
}

impl radix::Keys for Entries {
    fn least_from(&self, id: StreamId) -> Option<StreamId> {
        let sealed = self.sealed.range(id..).next().map(|(base, _)| *base);
        sealed.or(self.tail_base().filter(|base| *base >= id))
    }

    fn greatest_to(&self, id: StreamId) -> Option<StreamId> {
        let tail = self.tail_base().filter(|base| *base <= id);
        tail.or_else(|| self.sealed.range(..=id).next_back().map(|(base, _)| *base))
    }
}

/// Blocks that are no longer wanted, to be freed when there is time.
#[derive(Debug, Default)]
pub struct Removed(BTreeMap<StreamId, Block>);

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> usize {
        self.sealed.len() + usize::from(self.tail.is_some())
    }

    fn tail_base(&self) -> Option<StreamId> {
        self.tail.as_ref().map(Block::base)
    }

    /// How many nodes Redis's radix tree has, with these blocks.
    pub fn radix_nodes(&self) -> u64 {
        self.nodes + 1
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.sealed.values().chain(&self.tail)
    }

    /// The id of the first entry; [`StreamId::MIN`] if there is none.
    pub fn first_id(&self) -> StreamId {
        self.iter().next().map_or(StreamId::MIN, |item| item.id)
    }

    /// The id of the last entry; `None` if there is none.
    pub fn top_id(&self) -> Option<StreamId> {
        self.iter().next_back().map(|item| item.id)
    }

    /// How many of the entries ever added come up to `id`, as far as that can
    /// be told: only at the ends, and only if XDEL left no hole.
    pub fn count_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.added as i64;
        if added == 0 {
            return Some(0);
        }
        if id == self.last_id || self.is_empty() && id < self.last_id {
            return Some(added);
        }
        let first = self.first_id();
        if id > self.last_id || id > first || self.max_deleted >= first {
            return None;
        }
        let before = added.saturating_sub(self.len as i64).max(0);
        Some(before + i64::from(id == first))
    }

    /// Whether XDEL left a hole at `from` or above, with entries around it.
    pub fn has_hole_from(&self, from: StreamId) -> bool {
        self.max_hole().is_some_and(|hole| from <= hole)
    }

    /// The greatest id that XDEL removed, unless all that is left is above.
    pub fn max_hole(&self) -> Option<StreamId> {
        let hole = Some(self.max_deleted).filter(|id| *id != StreamId::MIN)?;
        (!self.is_empty() && self.first_id() <= hole).then_some(hole)
    }

    /// Adds an entry, whose id must be above [`last_id`](Self::last_id), with
    /// `pairs`, fields and values in turn, of at most [`MAX_BYTES`].
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]], full: Full) {
        let more = pairs.iter().map(|p| p.len() as u64).sum();
        debug_assert!(id > self.last_id && more <= MAX_BYTES);
        // An empty block stays behind until its turn to be trimmed; but since
        // XSETID may go back, the id may be below all that it ever held.
        if let Some(tail) = self.tail.take_if(|tail| id < tail.base()) {
            debug_assert!(tail.live() == 0);
            self.tail = self.sealed.pop_last().map(|(_, block)| block);
            self.nodes -= radix::added(tail.base(), self);
        }
        match &mut self.tail {
            Some(tail) if !tail.is_full(more, full) => tail.push(id, pairs),
            _ => {
                self.nodes += radix::added(id, self);
                if let Some(mut old) = self.tail.replace(Block::new(id, pairs)) {
                    old.seal();
                    self.sealed.insert(old.base(), old);
                }
            }
        }
        self.len += 1;
        self.added = self.added.saturating_add(1).min(MOST_ADDED);
        self.last_id = id;
    }

    /// The block that holds `id`, if one does.
    fn block(&self, id: StreamId) -> Option<&Block> {
        match &self.tail {
            Some(tail) if tail.base() <= id => Some(tail),
            _ => Some(self.sealed.range(..=id).next_back()?.1),
        }
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Item<'_>> {
        self.block(id).filter(|block| id <= block.last())?.get(id)
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// All entries.
    pub fn iter(&self) -> Range<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    /// The entries with ids from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let first = match self.block(start) {
            Some(block) => block.base(),
            None => StreamId::MIN,
        };
        let tail = self
            .tail
            .as_ref()
            .filter(|tail| tail.base() <= end && start <= end);
        let sealed = if first <= end && start <= end {
            self.sealed.range(first..=end)
        } else {
            btree_map::Range::default()
        };
        Range {
            sealed,
            tail,
            front: None,
            back: None,
            start,
            end,
        }
    }

    /// Removes an entry for good; `false` if there is none with this id.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let in_tail = self.tail.as_ref().is_some_and(|tail| tail.base() <= id);
        let block = if in_tail {
            self.tail.as_mut()
        } else {
            self.sealed
                .range_mut(..=id)
                .next_back()
                .map(|(_, block)| block)
        };
        let Some(block) = block.filter(|block| id <= block.last()) else {
            return false;
        };
        if !block.remove(id) {
            return false;
        }
        let (base, empty) = (block.base(), block.live() == 0);
        self.len -= 1;
        if empty && in_tail {
            self.tail = self.sealed.pop_last().map(|(_, block)| block);
        } else if empty {
            self.sealed.remove(&base);
        }
        if empty {
            self.nodes -= radix::added(base, self);
        }
        true
    }

    /// Removes entries from the front; answers how many went, and what
    /// became free by it.
    pub fn trim(&mut self, trim: Trim) -> (u64, Removed) {
        let (mut left, mut removed, mut whole) = (self.len, 0, 0);
        let (mut next, mut inside) = (None, false);
        for block in self.blocks() {
            let goes = match trim.keep {
                Keep::Newest(count) if left <= count => break,
                Keep::Newest(count) => left - block.live() >= count,
                Keep::From(id) => block.last() < id,
            };
            if trim.limit > 0 && removed + block.live() > trim.limit {
                break;
            }
            if !goes {
                (next, inside) = (Some(block.base()), !trim.approximate);
                break;
            }
            left -= block.live();
            removed += block.live();
            whole += 1;
            next = None;
        }
        let garbage = self.take_front(whole, next);
        if inside && let Some(block) = self.front_mut() {
            removed += block.trim(|gone, id| match trim.keep {
                Keep::Newest(count) => left - gone > count,
                Keep::From(min) => id < min,
            });
        }
        self.len -= removed;
        (removed, garbage)
    }

    /// Takes the first `count` blocks out; `next` is the base of the one
    /// behind them if that is known.
    fn take_front(&mut self, count: usize, next: Option<StreamId>) -> Removed {
        let mut garbage = Removed::default();
        if count == self.block_count() {
            garbage.0 = std::mem::take(&mut self.sealed);
            self.tail = None;
            self.nodes = 0;
        } else if count > FEW {
            let next = next.or_else(|| self.blocks().nth(count).map(Block::base));
            if let Some(next) = next {
                let rest = self.sealed.split_off(&next);
                garbage.0 = std::mem::replace(&mut self.sealed, rest);
                self.nodes = radix::nodes(self.blocks().map(Block::base)) - 1;
            }
        } else {
            for _ in 0..count {
                if let Some((base, _)) = self.sealed.pop_first() {
                    self.nodes -= radix::added(base, self);
                }
            }
        }
        garbage
    }

    fn front_mut(&mut self) -> Option<&mut Block> {
        match self.sealed.first_entry() {
            Some(first) => Some(first.into_mut()),
            None => self.tail.as_mut(),
        }
    }

    /// Adds a block from a snapshot; `None` unless it is above all others.
    pub fn push_block(&mut self, block: Block) -> Option<()> {
        // Those that were removed may have been above: XSETID goes back.
        let top = self.tail.as_ref().map(|tail| {
            let top = tail.iter().next_back().map(|item| item.id);
            top.unwrap_or(StreamId::MIN).max(tail.base())
        });
        if top >= Some(block.base()) {
            return None;
        }
        self.len = self.len.checked_add(block.live())?;
        self.nodes += radix::added(block.base(), self);
        if let Some(old) = self.tail.replace(block) {
            self.sealed.insert(old.base(), old);
        }
        Some(())
    }

    /// Roughly the bytes held on the heap, reckoned from so many blocks (0 is
    /// all).
    pub fn heap_bytes(&self, samples: usize) -> usize {
        // Nodes of the map are about two thirds full.
        let per_block = (size_of::<StreamId>() + size_of::<Block>()) * 3 / 2;
        let count = self.block_count();
        let looked_at = if samples == 0 {
            count
        } else {
            samples.min(count)
        };
        let blocks = self.blocks().take(looked_at).map(Block::heap_bytes);
        let mean = blocks.sum::<usize>() as f64 / looked_at.max(1) as f64;
        (mean * count as f64) as usize + self.sealed.len() * per_block
    }
}

impl Removed {
    /// Whether it takes longer to free than to hand over.
    pub fn is_heavy(&self) -> bool {
        self.0.len() > FEW
    }

    /// As entries of no stream, which can be dropped anywhere.
    pub fn into_entries(self) -> Entries {
        Entries {
            sealed: self.0,
            ..Entries::default()
        }
    }
}

/// Entries in the order of their ids, from both ends.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    sealed: btree_map::Range<'a, StreamId, Block>,
    tail: Option<&'a Block>,
    front: Option<Walk<'a>>,
    back: Option<Walk<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if let Some(walk) = &mut self.front {
                let start = self.start;
                if let Some(item) = walk.find(|item| item.id >= start) {
                    return Some(item).filter(|item| item.id <= self.end);
                }
            }
            let block = match self.sealed.next() {
                Some((_, block)) => Some(block),
                None => self.tail.take(),
            };
            match block {
                Some(block) => self.front = Some(block.iter()),
                // The block that the other end is in.
                None => {
                    self.front = Some(self.back.take()?);
                }
            }
        }
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(walk) = &mut self.back {
                let end = self.end;
                if let Some(item) = walk.rfind(|item| item.id <= end) {
                    return Some(item).filter(|item| item.id >= self.start);
                }
            }
            let block = match self.tail.take() {
                Some(tail) => Some(tail),
                None => self.sealed.next_back().map(|(_, block)| block),
            };
            match block {
                Some(block) => self.back = Some(block.iter()),
                None => {
                    self.back = Some(self.front.take()?);
                }
            }
        }
    }
}

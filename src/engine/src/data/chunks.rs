//! Large lists: a row of chunks, each of which packs many elements into one
//! buffer.

mod chunk;
mod iter;

use chunk::{CAPACITY, Chunk, packed_size};
use std::collections::VecDeque;
use std::ops::Range;

pub use iter::{Iter, IterRev};

/// A chunk that falls below this looks for a neighbour to merge with.
const SMALL: usize = CAPACITY / 4;
/// Two chunks are merged up to this, so that the next insert needn't split
/// them again.
const MERGED: usize = CAPACITY * 3 / 4;

/// A list of byte strings, with O(1) work at both ends. An index is found in
/// O(n / chunk), from the nearer end. Elements take two bytes besides their
/// own up to a length of 127, four up to 16383.
#[derive(Clone, Debug, Default)]
pub struct ChunkList {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// Sum of the sizes of the chunks' buffers.
    buffers: usize,
}

impl ChunkList {
    /// An empty list.
    pub fn new() -> Self {
        ChunkList::default()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held on the heap, without the allocator's own; O(1).
    pub fn heap_bytes(&self) -> usize {
        self.buffers + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Adds an element at the end.
    pub fn push_back(&mut self, element: &[u8]) {
        let at = match self.chunks.back() {
            Some(last) if last.fits(element) => self.chunks.len() - 1,
            _ => {
                let room = self.first_room(element);
                if let Some(last) = self.chunks.len().checked_sub(1) {
                    self.edit(last, Chunk::close);
                }
                self.chunks.push_back(Chunk::with_room_behind(room));
                self.buffers += self.chunks.back().map_or(0, Chunk::capacity);
                self.chunks.len() - 1
            }
        };
        self.edit(at, |chunk| chunk.push_back(element));
        self.len += 1;
    }

    /// Adds an element at the front.
    pub fn push_front(&mut self, element: &[u8]) {
        if !self.chunks.front().is_some_and(|first| first.fits(element)) {
            let room = self.first_room(element);
            if !self.chunks.is_empty() {
                self.edit(0, Chunk::close);
            }
            self.chunks.push_front(Chunk::with_room_before(room));
            self.buffers += self.chunks.front().map_or(0, Chunk::capacity);
        }
        self.edit(0, |chunk| chunk.push_front(element));
        self.len += 1;
    }

    /// The size of a new chunk at an end: a list that has filled one chunk
    /// will likely fill another.
    fn first_room(&self, element: &[u8]) -> usize {
        let needed = packed_size(element.len());
        if self.chunks.is_empty() {
            needed
        } else {
            needed.max(CAPACITY)
        }
    }

    /// Removes the first element, after showing it to `take`.
    pub fn pop_front_with<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let result = take(self.chunks.front()?.first());
        self.edit(0, Chunk::pop_front);
        self.len -= 1;
        self.drop_if_empty(0);
        Some(result)
    }

    /// Removes the last element, after showing it to `take`.
    pub fn pop_back_with<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let result = take(self.chunks.back()?.last());
        let at = self.chunks.len() - 1;
        self.edit(at, Chunk::pop_back);
        self.len -= 1;
        self.drop_if_empty(at);
        Some(result)
    }

    /// Removes and returns the first element.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop_front_with(<[u8]>::to_vec)
    }

    /// Removes and returns the last element.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop_back_with(<[u8]>::to_vec)
    }

    /// The element at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (at, inner) = self.locate(index)?;
        Some(self.chunks[at].get(inner))
    }

    /// Replaces the element at `index`; false if there is none.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some((at, inner)) = self.locate(index) else {
            return false;
        };
        let chunk = &self.chunks[at];
        if chunk.count() == 1 {
            self.edit(at, |chunk| {
                *chunk = Chunk::with_room_behind(packed_size(element.len()));
                chunk.push_back(element);
            });
            self.settle(at);
        } else if chunk.fits_instead(inner, element) {
            self.edit(at, |chunk| chunk.set(inner, element));
            self.settle(at);
        } else {
            self.remove(index);
            self.insert(index, element);
        }
        true
    }

    /// Puts an element before the one at `index`, or at the end if `index`
    /// is the length; false if it's above.
    pub fn insert(&mut self, index: usize, element: &[u8]) -> bool {
        if index > self.len {
            return false;
        }
        if index == 0 {
            self.push_front(element);
            return true;
        }
        let Some((at, inner)) = self.locate(index) else {
            self.push_back(element);
            return true;
        };
        self.len += 1;
        if self.chunks[at].fits(element) {
            self.edit(at, |chunk| chunk.insert(inner, element));
        } else if inner == 0 {
            // Between two chunks: `index` isn't 0, so there is one before.
            self.place_between(at, element);
        } else {
            let right = self.edit(at, |chunk| chunk.split_off(inner));
            self.add_chunk(at + 1, right);
            let added = self.place_between(at + 1, element);
            self.settle(at + 1 + usize::from(added));
            self.settle(at);
        }
        true
    }

    /// Puts an element between the chunks `at - 1` and `at`: into one of
    /// them, or else into a new one, which is told by true.
    fn place_between(&mut self, at: usize, element: &[u8]) -> bool {
        if self.chunks[at - 1].fits(element) {
            self.edit(at - 1, |chunk| chunk.push_back(element));
        } else if self.chunks[at].fits(element) {
            self.edit(at, |chunk| chunk.push_front(element));
        } else {
            let mut chunk = Chunk::with_room_behind(packed_size(element.len()));
            chunk.push_back(element);
            self.add_chunk(at, chunk);
            return true;
        }
        false
    }

    /// Removes the element at `index`; false if there is none.
    pub fn remove(&mut self, index: usize) -> bool {
        let Some((at, inner)) = self.locate(index) else {
            return false;
        };
        self.edit(at, |chunk| chunk.remove(inner));
        self.len -= 1;
        self.settle(at);
        true
    }

    /// Keeps only the elements with an index in `keep`. Chunks outside are
    /// dropped without a look at their elements.
    pub fn trim(&mut self, keep: Range<usize>) {
        let end = keep.end.min(self.len);
        if keep.start >= end {
            *self = ChunkList::new();
            return;
        }
        while self.len > end {
            let at = self.chunks.len() - 1;
            let surplus = self.len - end;
            let count = self.chunks[at].count();
            self.len -= surplus.min(count);
            if surplus >= count {
                self.take_chunk(at);
            } else {
                self.edit(at, |chunk| chunk.keep_first(count - surplus));
            }
        }
        let mut surplus = keep.start;
        while surplus > 0 {
            let count = self.chunks[0].count();
            let dropped = surplus.min(count);
            if dropped == count {
                self.take_chunk(0);
            } else {
                self.edit(0, |chunk| chunk.drop_first(dropped));
            }
            self.len -= dropped;
            surplus -= dropped;
        }
        self.settle(0);
        self.settle(self.chunks.len().saturating_sub(1));
    }

    /// Removes elements equal to `value`: the first `count` of them, the
    /// last `-count` if it's negative, all if it's 0. Returns how many.
    pub fn remove_matching(&mut self, value: &[u8], count: i64) -> usize {
        let mut limit = match count {
            0 => usize::MAX,
            _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let from_end = count < 0;
        let before = self.len;
        let mut touched = Vec::new();
        for step in 0..self.chunks.len() {
            let at = if from_end {
                self.chunks.len() - 1 - step
            } else {
                step
            };
            let removed = self.chunks[at].remove_matching(value, limit, from_end);
            if removed > 0 {
                touched.push(at);
                self.len -= removed;
                limit -= removed;
            }
            if limit == 0 {
                break;
            }
        }
        if touched.len() <= 4 {
            touched.sort_unstable_by(|a, b| b.cmp(a));
            touched.into_iter().for_each(|at| self.settle(at));
        } else {
            self.settle_all();
        }
        before - self.len
    }

    /// The elements from `index` to the end.
    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        let remaining = self.len.saturating_sub(index);
        Iter::new(&self.chunks, self.locate(index), remaining)
    }

    /// The elements from `index` back to the first; none if there is no such
    /// index.
    pub fn iter_rev_from(&self, index: usize) -> IterRev<'_> {
        let remaining = if index < self.len { index + 1 } else { 0 };
        IterRev::new(&self.chunks, self.locate(index), remaining)
    }

    /// All elements.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The chunk that holds `index`, and the index within it.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut rest = index;
            for (at, chunk) in self.chunks.iter().enumerate() {
                if rest < chunk.count() {
                    return Some((at, rest));
                }
                rest -= chunk.count();
            }
        } else {
            let mut start = self.len;
            for (at, chunk) in self.chunks.iter().enumerate().rev() {
                start -= chunk.count();
                if index >= start {
                    return Some((at, index - start));
                }
            }
        }
        None
    }

    fn edit<R>(&mut self, at: usize, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let chunk = &mut self.chunks[at];
        let before = chunk.capacity();
        let result = change(chunk);
        self.buffers = self.buffers - before + chunk.capacity();
        result
    }

    fn add_chunk(&mut self, at: usize, chunk: Chunk) {
        self.buffers += chunk.capacity();
        self.chunks.insert(at, chunk);
    }

    fn take_chunk(&mut self, at: usize) -> Option<Chunk> {
        let chunk = self.chunks.remove(at)?;
        self.buffers -= chunk.capacity();
        let used = self.chunks.len();
        if self.chunks.capacity() > used * 4 + 16 {
            self.chunks.shrink_to(used * 2);
        }
        Some(chunk)
    }

    fn drop_if_empty(&mut self, at: usize) {
        if self.chunks[at].count() == 0 {
            self.take_chunk(at);
        }
    }

    /// Drops a chunk that is empty, and merges one that has become small
    /// with a neighbour if that has room.
    fn settle(&mut self, at: usize) {
        let Some(chunk) = self.chunks.get(at) else {
            return;
        };
        let used = chunk.used();
        if chunk.count() == 0 {
            self.take_chunk(at);
            return;
        }
        if used >= SMALL {
            return;
        }
        let joins = |other: usize| {
            let other = self.chunks.get(other);
            other.is_some_and(|other| other.used() + used <= MERGED)
        };
        let left = if joins(at + 1) {
            at
        } else if at > 0 && joins(at - 1) {
            at - 1
        } else {
            return;
        };
        if let Some(right) = self.take_chunk(left + 1) {
            self.edit(left, |chunk| chunk.append(&right));
        }
    }

    /// [`settle`](Self::settle) for all chunks in one pass.
    fn settle_all(&mut self) {
        let old = std::mem::take(&mut self.chunks);
        self.buffers = 0;
        for chunk in old {
            if chunk.count() == 0 {
                continue;
            }
            if let Some(last) = self.chunks.back()
                && last.used().min(chunk.used()) < SMALL
                && last.used() + chunk.used() <= MERGED
            {
                let at = self.chunks.len() - 1;
                self.edit(at, |last| last.append(&chunk));
            } else {
                self.buffers += chunk.capacity();
                self.chunks.push_back(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests;

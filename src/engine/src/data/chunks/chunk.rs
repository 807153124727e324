//! One chunk: elements packed one behind the other, each with its length
//! before and behind it, so that it can be walked both ways.
//!
//! Lengths are little-endian groups of seven bits, the top bit set in all
//! but the last; the one behind an element is written backwards.

/// What a chunk holds at most, unless a single element is larger.
pub(super) const CAPACITY: usize = 8192;

#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// A gap of `start` bytes, then the elements.
    buffer: Vec<u8>,
    start: u32,
    count: u32,
}

fn length_size(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The size of an element of `len` bytes with its two lengths.
pub(super) fn packed_size(len: usize) -> usize {
    len + 2 * length_size(len)
}

fn read_length<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    let mut len = 0;
    for (group, byte) in bytes.enumerate() {
        len |= usize::from(byte & 0x7f) << (group * 7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    len
}

/// Splits packed elements into the first one and what follows.
pub(super) fn split_first(packed: &[u8]) -> (&[u8], &[u8]) {
    let len = read_length(packed.iter());
    let head = length_size(len);
    let (element, rest) = packed[head..].split_at(len);
    (element, &rest[head..])
}

/// Splits packed elements into what comes before the last one, and that.
pub(super) fn split_last(packed: &[u8]) -> (&[u8], &[u8]) {
    let len = read_length(packed.iter().rev());
    let tail = length_size(len);
    let (rest, element) = packed[..packed.len() - tail].split_at(packed.len() - tail - len);
    (&rest[..rest.len() - tail], element)
}

fn pack(out: &mut [u8], element: &[u8]) {
    let mut rest = element.len();
    let size = length_size(rest);
    let last = out.len() - 1;
    for group in 0..size {
        let more = if group + 1 < size { 0x80 } else { 0 };
        let byte = (rest & 0x7f) as u8 | more;
        out[group] = byte;
        out[last - group] = byte;
        rest >>= 7;
    }
    out[size..size + element.len()].copy_from_slice(element);
}

impl Chunk {
    /// An empty chunk with room for `push_back`.
    pub(super) fn with_room_behind(size: usize) -> Chunk {
        Chunk {
            buffer: Vec::with_capacity(size),
            start: 0,
            count: 0,
        }
    }

    /// An empty chunk with room for `push_front`.
    pub(super) fn with_room_before(size: usize) -> Chunk {
        let mut chunk = Chunk::with_room_behind(0);
        chunk.buffer = vec![0; size];
        chunk.set_start(size);
        chunk
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// Size of the buffer.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Size of the elements.
    pub(super) fn used(&self) -> usize {
        self.buffer.len() - self.start as usize
    }

    pub(super) fn packed(&self) -> &[u8] {
        &self.buffer[self.start as usize..]
    }

    pub(super) fn fits(&self, element: &[u8]) -> bool {
        self.used() + packed_size(element.len()) <= CAPACITY
    }

    /// Whether `element` fits in the place of the one at `index`.
    pub(super) fn fits_instead(&self, index: usize, element: &[u8]) -> bool {
        let old = packed_size(self.get(index).len());
        self.used() - old + packed_size(element.len()) <= CAPACITY
    }

    pub(super) fn first(&self) -> &[u8] {
        split_first(self.packed()).0
    }

    pub(super) fn last(&self) -> &[u8] {
        split_last(self.packed()).1
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        split_first(&self.packed()[self.offset(index)..]).0
    }

    /// Where the element at `index` begins in `packed()`; its end if `index`
    /// is the count. Walks from the nearer end.
    pub(super) fn offset(&self, index: usize) -> usize {
        let packed = self.packed();
        let mut rest = packed;
        if index <= self.count() / 2 {
            for _ in 0..index {
                rest = split_first(rest).1;
            }
            packed.len() - rest.len()
        } else {
            for _ in index..self.count() {
                rest = split_last(rest).0;
            }
            rest.len()
        }
    }

    fn set_start(&mut self, start: usize) {
        // The gap is never larger than a chunk or the one element in it.
        self.start = u32::try_from(start).unwrap_or(u32::MAX);
    }

    fn close_gap(&mut self) {
        self.buffer.drain(..self.start as usize);
        self.start = 0;
    }

    fn reserve_behind(&mut self, size: usize) {
        if self.buffer.capacity() - self.buffer.len() >= size {
            return;
        }
        // A gap that's large beside what must be moved pays for the move.
        if self.start > 0 && self.start as usize >= self.used() / 4 {
            self.close_gap();
        }
        let len = self.buffer.len();
        if self.buffer.capacity() - len < size {
            // Past the capacity only with a gap: the elements move through
            // the buffer, and the room behind lets them do so for a while.
            let goal = match len + size {
                needed if needed <= CAPACITY => needed.max((len * 2).min(CAPACITY)),
                needed if self.start > 0 => needed + CAPACITY / 4,
                needed => needed,
            };
            self.buffer.reserve_exact(goal - len);
        }
    }

    /// Gives back the room for more elements if there is much of it.
    pub(super) fn close(&mut self) {
        if self.capacity() - self.used() > self.capacity() / 8 {
            self.buffer = self.packed().to_vec();
            self.start = 0;
        }
    }

    pub(super) fn push_back(&mut self, element: &[u8]) {
        let size = packed_size(element.len());
        self.reserve_behind(size);
        let len = self.buffer.len();
        self.buffer.resize(len + size, 0);
        pack(&mut self.buffer[len..], element);
        self.count += 1;
    }

    pub(super) fn push_front(&mut self, element: &[u8]) {
        let size = packed_size(element.len());
        if (self.start as usize) < size {
            let used = self.used();
            let free = CAPACITY.saturating_sub(used);
            let gap = used.min(free).max(size);
            let behind = (self.buffer.capacity() - self.buffer.len()).min(free);
            let mut buffer = Vec::with_capacity(gap + used + behind);
            buffer.resize(gap, 0);
            buffer.extend_from_slice(self.packed());
            self.buffer = buffer;
            self.set_start(gap);
        }
        let start = self.start as usize;
        pack(&mut self.buffer[start - size..start], element);
        self.set_start(start - size);
        self.count += 1;
    }

    pub(super) fn pop_front(&mut self) {
        self.drop_first(1);
    }

    pub(super) fn pop_back(&mut self) {
        self.keep_first(self.count() - 1);
    }

    pub(super) fn keep_first(&mut self, count: usize) {
        let end = self.start as usize + self.offset(count);
        self.buffer.truncate(end);
        self.count = count as u32;
    }

    pub(super) fn drop_first(&mut self, count: usize) {
        let start = self.start as usize + self.offset(count);
        self.set_start(start);
        self.count -= count as u32;
    }

    pub(super) fn insert(&mut self, index: usize, element: &[u8]) {
        let offset = self.offset(index);
        self.replace(offset, 0, element);
        self.count += 1;
    }

    pub(super) fn set(&mut self, index: usize, element: &[u8]) {
        let offset = self.offset(index);
        let old = packed_size(self.get(index).len());
        self.replace(offset, old, element);
    }

    /// Puts a packed element in the place of `old` bytes.
    fn replace(&mut self, offset: usize, old: usize, element: &[u8]) {
        let new = packed_size(element.len());
        if new > old {
            self.reserve_behind(new - old);
        }
        let at = self.start as usize + offset;
        let len = self.buffer.len();
        if new > old {
            self.buffer.resize(len + new - old, 0);
        }
        self.buffer.copy_within(at + old..len, at + new);
        self.buffer.truncate(len + new - old);
        pack(&mut self.buffer[at..at + new], element);
    }

    pub(super) fn remove(&mut self, index: usize) {
        if index == 0 {
            return self.pop_front();
        }
        let at = self.start as usize + self.offset(index);
        let size = packed_size(self.get(index).len());
        self.buffer.drain(at..at + size);
        self.count -= 1;
    }

    /// Moves the elements from `index` on to a new chunk.
    pub(super) fn split_off(&mut self, index: usize) -> Chunk {
        let at = self.start as usize + self.offset(index);
        let right = Chunk {
            buffer: self.buffer.split_off(at),
            start: 0,
            count: self.count - index as u32,
        };
        self.count = index as u32;
        right
    }

    /// Takes in all elements of the chunk behind this one.
    pub(super) fn append(&mut self, other: &Chunk) {
        self.reserve_behind(other.used());
        self.buffer.extend_from_slice(other.packed());
        self.count += other.count;
    }

    /// Removes up to `limit` elements equal to `value`, from the end or from
    /// the front; returns how many.
    pub(super) fn remove_matching(&mut self, value: &[u8], limit: usize, from_end: bool) -> usize {
        let mut matches = 0;
        let mut rest = self.packed();
        while !rest.is_empty() {
            let (element, behind) = split_first(rest);
            matches += usize::from(element == value);
            rest = behind;
        }
        let removed = matches.min(limit);
        if removed == 0 {
            return 0;
        }
        let mut spared = if from_end { matches - removed } else { 0 };
        let mut left = removed;
        let (mut read, mut write) = (self.start as usize, self.start as usize);
        while left > 0 {
            let (element, _) = split_first(&self.buffer[read..]);
            let end = read + packed_size(element.len());
            let equal = element == value;
            if equal && spared == 0 {
                left -= 1;
            } else {
                spared -= usize::from(equal);
                self.buffer.copy_within(read..end, write);
                write += end - read;
            }
            read = end;
        }
        self.buffer.drain(write..read);
        self.count -= removed as u32;
        removed
    }
}

//! A block: some entries of a stream that follow each other, packed.
//!
//! ```text
//! names   count varint, then so many elements: the field names of the entry
//!         that began the block, which entries with the same fields share
//! entries each:
//!   size    varint   bytes of the four parts that follow
//!   ms      varint   ms of the id, less that of the block's base
//!   seq     varint   number of the id, less the base's, zigzag
//!   fields  varint   0: those of the block; else how many
//!   items            elements: values, or fields and values in turn
//!   back    varint   bytes of the entry so far, its own digits reversed, so
//!                    that a walk from the end can read it
//! ```
//!
//! The same bytes lie in memory and in snapshots, so every reader here is
//! total: bytes that make no sense end the walk, they never panic.

use std::ops::Range;

use super::id::StreamId;
use super::listpack;
use crate::data::packed::{self, Varint, push_element, push_varint, read_element, read_varint};

/// No block holds more bytes of elements than this, as in Redis.
pub const MAX_BYTES: u64 = 1 << 30;

/// When a block is full, in the numbers of redis.conf.
#[derive(Debug, Clone, Copy)]
pub struct Full {
    /// So many entries, removed ones too; 0 is no limit.
    pub entries: u64,
    /// So many bytes in Redis's encoding; 0 is [`MAX_BYTES`].
    pub bytes: u64,
}

/// Some entries of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    base: StreamId,
    last: StreamId,
    bytes: Vec<u8>,
    /// Where the first entry begins.
    start: usize,
    live: u64,
    dead: u64,
    /// Bytes that Redis's listpack would have, but for its two counters.
    listpack: u64,
}

/// An entry.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Its id.
    pub id: StreamId,
    fields: usize,
    /// The shared names, or nothing where the entry has its own.
    names: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Item<'a> {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Whether it has none; no command makes such a one.
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Fields and values, in the order they were given.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (mut names, mut body) = (self.names, self.body);
        let take = |bytes: &mut &'a [u8]| {
            let (element, n) = read_element(bytes)?;
            *bytes = &bytes[n..];
            Some(element)
        };
        (0..self.fields).map_while(move |_| {
            let field = match &mut names {
                Some(names) => take(names)?,
                None => take(&mut body)?,
            };
            Some((field, take(&mut body)?))
        })
    }
}

/// The parts of a block, as a snapshot keeps them.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// What its ids are reckoned from.
    pub base: StreamId,
    /// The greatest id that was ever in it.
    pub last: StreamId,
    /// Entries in it.
    pub live: u64,
    /// Entries that were removed from it.
    pub dead: u64,
    /// See [`listpack`].
    pub listpack: u64,
    /// Names and entries.
    pub bytes: &'a [u8],
}

impl Block {
    /// An empty block for an entry with this id and these pairs, fields and
    /// values in turn: its fields are the shared ones.
    fn begin(id: StreamId, pairs: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, (pairs.len() / 2) as u64);
        let mut size = listpack::EMPTY + listpack::int((pairs.len() / 2) as i64) + listpack::int(0);
        for field in pairs.iter().step_by(2) {
            push_element(&mut bytes, field);
            size += listpack::string(field);
        }
        Block {
            base: id,
            last: id,
            start: bytes.len(),
            bytes,
            live: 0,
            dead: 0,
            listpack: size,
        }
    }

    /// A block with one entry.
    pub fn new(id: StreamId, pairs: &[&[u8]]) -> Self {
        let mut block = Block::begin(id, pairs);
        block.push(id, pairs);
        block
    }

    /// What its ids are reckoned from: that of the entry that began it.
    pub fn base(&self) -> StreamId {
        self.base
    }

    /// The greatest id that was ever in it.
    pub fn last(&self) -> StreamId {
        self.last
    }

    /// Entries in it.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Whether an entry with so many bytes of elements begins a new block.
    pub fn is_full(&self, more: u64, full: Full) -> bool {
        let most = match full.bytes {
            0 => MAX_BYTES,
            bytes => bytes.min(MAX_BYTES),
        };
        let counters = listpack::int(self.live as i64) + listpack::int(self.dead as i64);
        self.listpack + counters + more >= most
            || full.entries > 0 && self.live + self.dead >= full.entries
    }

    /// Nothing will be added any more.
    pub fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds an entry, whose id is above all others.
    pub fn push(&mut self, id: StreamId, pairs: &[&[u8]]) {
        let fields = pairs.len() / 2;
        let shared = self.shares(pairs);
        let ms = id.ms.wrapping_sub(self.base.ms);
        let seq = id.seq.wrapping_sub(self.base.seq) as i64;
        let head = [
            Varint::new(ms),
            Varint::new(((seq << 1) ^ (seq >> 63)) as u64),
            Varint::new(if shared { 0 } else { fields as u64 }),
        ];
        let items = pairs.iter().skip(usize::from(shared));
        let items = items.step_by(if shared { 2 } else { 1 });
        let (mut size, mut encoded) = (0, 0);
        for item in items.clone() {
            size += packed::element_size(item.len());
            encoded += listpack::string(item);
        }
        size += head.iter().map(|n| n.as_bytes().len()).sum::<usize>();
        let size = Varint::new(size as u64);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(size.as_bytes());
        for n in head {
            self.bytes.extend_from_slice(n.as_bytes());
        }
        for item in items {
            push_element(&mut self.bytes, item);
        }
        let back = Varint::new((self.bytes.len() - at) as u64);
        self.bytes.extend(back.as_bytes().iter().rev());
        let parts = if shared { fields } else { 2 * fields + 1 } as i64 + 3;
        self.listpack += encoded
            + listpack::int(if shared { 2 } else { 0 })
            + listpack::int(ms as i64)
            + listpack::int(seq)
            + if shared {
                0
            } else {
                listpack::int(fields as i64)
            }
            + listpack::int(parts);
        self.live += 1;
        self.last = id;
    }

    /// Whether these pairs have the shared fields.
    fn shares(&self, pairs: &[&[u8]]) -> bool {
        let (count, mut names) = self.names();
        count == pairs.len() / 2
            && pairs.iter().step_by(2).all(|field| {
                read_element(names).is_some_and(|(name, n)| {
                    names = &names[n..];
                    name == *field
                })
            })
    }

    /// How many shared names there are, and their bytes.
    fn names(&self) -> (usize, &[u8]) {
        match read_varint(&self.bytes) {
            Some((count, n)) => (
                count as usize,
                self.bytes.get(n..self.start).unwrap_or_default(),
            ),
            None => (0, &[]),
        }
    }

    /// The entries.
    pub fn iter(&self) -> Walk<'_> {
        Walk {
            block: self,
            at: self.start,
            end: self.bytes.len(),
        }
    }

    /// The entry that lies in these bytes.
    fn item(&self, body: Range<usize>) -> Option<Item<'_>> {
        let mut body = self.bytes.get(body)?;
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let (value, n) = read_varint(body)?;
            *number = value;
            body = &body[n..];
        }
        let [ms, zigzag, fields] = numbers;
        let seq = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let (fields, names) = match fields {
            0 => {
                let (count, names) = self.names();
                (count, Some(names))
            }
            own => (usize::try_from(own).ok()?, None),
        };
        Some(Item {
            id: StreamId {
                ms: self.base.ms.wrapping_add(ms),
                seq: self.base.seq.wrapping_add_signed(seq),
            },
            fields,
            names,
            body,
        })
    }

    /// Where the entry with this id lies.
    fn find(&self, id: StreamId) -> Option<Range<usize>> {
        let mut walk = self.iter();
        loop {
            let (item, place) = walk.next_with_place()?;
            if item.id >= id {
                return (item.id == id).then_some(place);
            }
        }
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Item<'_>> {
        self.iter()
            .find(|item| item.id >= id)
            .filter(|item| item.id == id)
    }

    /// Removes an entry; `false` if there is none with this id.
    pub fn remove(&mut self, id: StreamId) -> bool {
        let Some(place) = self.find(id) else {
            return false;
        };
        self.bytes.drain(place);
        self.live -= 1;
        self.dead += 1;
        true
    }

    /// Removes entries from the front as long as `wanted` says so, which is
    /// told how many went before; answers how many went.
    pub fn trim(&mut self, mut wanted: impl FnMut(u64, StreamId) -> bool) -> u64 {
        let (mut count, mut end) = (0, self.start);
        let mut walk = self.iter();
        while let Some((item, place)) = walk.next_with_place()
            && wanted(count, item.id)
        {
            (count, end) = (count + 1, place.end);
        }
        self.bytes.drain(self.start..end);
        self.live -= count;
        self.dead += count;
        count
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// What a snapshot keeps of it.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            base: self.base,
            last: self.last,
            live: self.live,
            dead: self.dead,
            listpack: self.listpack,
            bytes: &self.bytes,
        }
    }

    /// A block from a snapshot, every part of it checked.
    pub fn from_parts(parts: &Parts<'_>) -> Option<Self> {
        let (count, mut start) = read_varint(parts.bytes)?;
        for _ in 0..count {
            start += read_element(parts.bytes.get(start..)?)?.1;
        }
        let block = Block {
            base: parts.base,
            last: parts.last,
            bytes: parts.bytes.to_vec(),
            start,
            live: parts.live,
            dead: parts.dead,
            listpack: parts.listpack,
        };
        let (mut walk, mut found, mut before) = (block.iter(), 0, None);
        while let Some((item, place)) = walk.next_with_place() {
            let back = block.back(place.end)?;
            let own = if item.names.is_some() { 1 } else { 2 };
            let mut body = item.body;
            for _ in 0..item.fields.checked_mul(own)? {
                body = &body[read_element(body)?.1..];
            }
            let sane = !item.is_empty() && item.id != StreamId::MIN;
            if !sane || !body.is_empty() || back.start != place.start || before >= Some(item.id) {
                return None;
            }
            before = Some(item.id);
            found += 1;
        }
        let in_order = block.base <= block.last && before.is_none_or(|id| id <= block.last);
        let whole = walk.at == walk.end && found == block.live;
        // Sums of these can't overflow then.
        let sane = block.dead < 1 << 40 && block.listpack < 1 << 40;
        (in_order && whole && sane).then_some(block)
    }

    /// The place of the entry that ends at `end`.
    fn back(&self, end: usize) -> Option<Range<usize>> {
        let mut digits = [0; packed::MAX_VARINT];
        let from = end.checked_sub(packed::MAX_VARINT).unwrap_or(self.start);
        let tail = self.bytes.get(from.max(self.start)..end)?;
        for (digit, byte) in digits.iter_mut().zip(tail.iter().rev()) {
            *digit = *byte;
        }
        let (size, n) = read_varint(&digits)?;
        let start = end
            .checked_sub(n)?
            .checked_sub(usize::try_from(size).ok()?)?;
        (start >= self.start).then_some(start..end)
    }

    /// The place and the body of the entry that begins at `at`.
    fn forth(&self, at: usize) -> Option<(Range<usize>, Range<usize>)> {
        let (size, n) = read_varint(self.bytes.get(at..)?)?;
        let body = at + n..(at + n).checked_add(usize::try_from(size).ok()?)?;
        let back = Varint::new((body.end - at) as u64).as_bytes().len();
        let end = body.end.checked_add(back)?;
        (end <= self.bytes.len()).then_some((at..end, body))
    }
}

/// The entries of a block.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    block: &'a Block,
    at: usize,
    end: usize,
}

impl<'a> Walk<'a> {
    fn next_with_place(&mut self) -> Option<(Item<'a>, Range<usize>)> {
        if self.at >= self.end {
            return None;
        }
        let (place, body) = self.block.forth(self.at)?;
        let item = self.block.item(body)?;
        self.at = place.end;
        Some((item, place))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.next_with_place().map(|(item, _)| item)
    }
}

impl DoubleEndedIterator for Walk<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let place = self.block.back(self.end)?;
        let (_, body) = self.block.forth(place.start)?;
        let item = self.block.item(body)?;
        self.end = place.start;
        Some(item)
    }
}

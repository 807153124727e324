//! Packed collections of *items*: one element (a set's member), or an element
//! that identifies the item and others that belong to it (a hash's field and
//! value). Also random choice among items, packed or not.

use std::ops::Range;

use super::entry::{Entry, SmallEntry};
use super::packed::{self, Varint};
use super::table::{Item, Table};
use super::value::Kind;
use crate::base::hash::HashKey;
use crate::base::random::Random;

/// Most elements that are added by one allocation.
const RUN: usize = 32;

/// What a packed collection may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    entries: usize,
    bytes: usize,
}

impl Bounds {
    /// At most `entries` items, of elements of at most `bytes`.
    pub fn new(entries: usize, bytes: usize) -> Self {
        Bounds {
            entries: entries.min(packed::MAX_COUNT),
            bytes,
        }
    }

    /// Whether one more item fits beside `count` others.
    fn admits(&self, count: usize) -> bool {
        count < self.entries
    }

    /// Whether every element of an item is short enough.
    pub fn suits(&self, item: &[&[u8]]) -> bool {
        item.iter().all(|e| e.len() <= self.bytes)
    }

    /// Whether these items, all different, fit.
    pub fn suit_all(&self, items: &[&[u8]]) -> bool {
        items.len() <= self.entries && self.suits(items)
    }
}

/// The range of the element that identifies item `id`, among items of `per`
/// elements.
#[inline]
pub fn find(payload: &[u8], per: usize, id: &[u8]) -> Option<Range<usize>> {
    let mut walk = packed::elements(payload);
    loop {
        let (element, range) = walk.next_with_range()?;
        if element == id {
            return Some(range);
        }
        for _ in 1..per {
            walk.next_with_range()?;
        }
    }
}

/// Makes an entry of as many of the first `items` as one allocation can
/// take; the rest is to be added. Answers how many elements are in.
pub fn create(
    kind: Kind,
    key: &[u8],
    per: usize,
    items: &[&[u8]],
    bounds: Bounds,
) -> (SmallEntry, usize) {
    let mut done = 0;
    for item in items.chunks_exact(per) {
        let known = items[..done].chunks_exact(per).any(|i| i[0] == item[0]);
        if known || done + per > RUN || !bounds.suits(item) || !bounds.admits(done / per) {
            break;
        }
        done += per;
    }
    let count = ((done / per) as u16).to_le_bytes();
    let entry = with_parts(&count, &items[..done], |parts| {
        SmallEntry::new(kind, key, None, parts)
    });
    (entry, done)
}

/// Adds `items` of `per` elements. For one that is there already, `found` is
/// called with the range of the element that identifies it. Stops before an
/// item that can't be packed; answers how many were new, and how many
/// elements of `items` are done with.
pub fn add(
    entry: &mut SmallEntry,
    per: usize,
    items: &[&[u8]],
    bounds: Bounds,
    mut found: impl FnMut(&mut SmallEntry, Range<usize>, &[&[u8]]),
) -> (usize, usize) {
    let mut count = packed::count(entry.payload());
    let (mut added, mut done) = (0, 0);
    // New items that follow each other go in together.
    let mut run = 0..0;
    for item in items.chunks_exact(per) {
        if !bounds.suits(item) {
            break;
        }
        let in_run = items[run.clone()]
            .chunks_exact(per)
            .any(|i| i[0] == item[0]);
        if in_run || run.len() + per > RUN || run.end != done {
            append(entry, per, &items[run]);
            run = done..done;
        }
        match find(entry.payload(), per, item[0]) {
            Some(range) => found(entry, range, item),
            None if !bounds.admits(count) => break,
            None => {
                count += 1;
                added += 1;
                run.end += per;
            }
        }
        done += per;
    }
    append(entry, per, &items[run]);
    (added, done)
}

fn append(entry: &mut SmallEntry, per: usize, elements: &[&[u8]]) {
    if elements.is_empty() {
        return;
    }
    let end = entry.payload().len();
    with_parts(&[], elements, |parts| {
        entry.splice_items(end, 0, parts, (elements.len() / per) as isize);
    });
}

/// Calls `with` with `head` and the packed `elements`, of which there are at
/// most `RUN`.
#[inline]
fn with_parts<R>(head: &[u8], elements: &[&[u8]], with: impl FnOnce(&[&[u8]]) -> R) -> R {
    match elements.len() {
        0..=2 => sized_parts::<2, 5, R>(head, elements, with),
        3..=8 => sized_parts::<8, 17, R>(head, elements, with),
        _ => sized_parts::<RUN, { 2 * RUN + 1 }, R>(head, elements, with),
    }
}

fn sized_parts<const N: usize, const PARTS: usize, R>(
    head: &[u8],
    elements: &[&[u8]],
    with: impl FnOnce(&[&[u8]]) -> R,
) -> R {
    debug_assert!(elements.len() <= N && PARTS == 2 * N + 1);
    let mut lens = [Varint::new(0); N];
    let mut parts: [&[u8]; PARTS] = [&[]; PARTS];
    for (len, element) in lens.iter_mut().zip(elements) {
        *len = Varint::new(element.len() as u64);
    }
    parts[0] = head;
    for (i, (len, element)) in lens.iter().zip(elements).enumerate() {
        parts[2 * i + 1] = len.as_bytes();
        parts[2 * i + 2] = element;
    }
    with(&parts[..2 * elements.len() + 1])
}

/// Takes out the item whose identifying element lies at `range`.
pub fn remove(entry: &mut SmallEntry, per: usize, range: Range<usize>) {
    let mut end = range.end;
    for _ in 1..per {
        let value = entry.payload().get(end..).and_then(packed::read_element);
        end += value.map_or(0, |(_, size)| size);
    }
    entry.splice_items(range.start, end - range.start, &[], -1);
}

/// Builds an entry of items that are all different and fit.
pub fn pack(kind: Kind, key: &[u8], per: usize, elements: &[&[u8]]) -> Entry {
    let size = elements.iter().map(|e| packed::element_size(e.len())).sum();
    let mut packed = Vec::with_capacity(size);
    for element in elements {
        packed::push_element(&mut packed, element);
    }
    let count = ((elements.len() / per) as u16).to_le_bytes();
    Entry::small(kind, key, None, &[&count, &packed])
}

/// Visits `count` of the `len` items, in their order; every choice of so many
/// is equally likely.
pub fn choose<T>(
    items: impl Iterator<Item = T>,
    len: usize,
    count: usize,
    rng: &mut dyn Random,
    visit: &mut dyn FnMut(T),
) {
    let (mut left, mut wanted) = (len as u64, count as u64);
    for item in items {
        if wanted == 0 {
            return;
        }
        // Of the items left, so many are still wanted.
        if rng.below(left) < wanted {
            visit(item);
            wanted -= 1;
        }
        left = left.saturating_sub(1);
    }
}

/// Bytes that belong to somebody else, as an item of a table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Borrowed<'a>(pub &'a [u8]);

impl Item for Borrowed<'_> {
    #[inline]
    fn key(&self) -> &[u8] {
        self.0
    }
}

/// Byte strings that were seen, without copies of them.
#[derive(Debug)]
pub struct Seen<'a>(Table<Borrowed<'a>>);

impl<'a> Seen<'a> {
    /// None yet.
    pub fn new(seed: HashKey) -> Self {
        Seen(Table::new(seed))
    }

    /// Adds `bytes`; `false` when they were in.
    pub fn insert(&mut self, bytes: &'a [u8]) -> bool {
        self.0.insert(self.0.hash(bytes), Borrowed(bytes)).is_none()
    }

    /// Whether `bytes` are in.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.0.get(self.0.hash(bytes), bytes).is_some()
    }
}

/// Visits `count` different items of a table, fewer than it holds; every
/// choice of so many is equally likely.
pub fn choose_in_table<T: Item>(
    table: &Table<T>,
    count: usize,
    rng: &mut dyn Random,
    visit: &mut dyn FnMut(&T),
) {
    if count >= table.len() / 3 {
        return choose(table.iter(), table.len(), count, rng, visit);
    }
    let mut seen = Seen::new(table.seed());
    let mut left = count;
    while left > 0
        && let Some(item) = table.random(rng)
    {
        if seen.insert(item.key()) {
            visit(item);
            left -= 1;
        }
    }
}

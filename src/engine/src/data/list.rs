//! Lists: packed in the key's allocation while small, else in chunks.

use std::ops::Range;

use super::chunks::ChunkList;
use super::entry::{Entry, Payload, SmallEntry};
use super::packed::{self, COUNT_LEN, Elements, Varint};
use super::value::{Kind, Limits, Value};

/// One end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The left one, index 0.
    Head,
    /// The right one, index -1.
    Tail,
}

impl End {
    /// The opposite end.
    pub fn other(self) -> End {
        match self {
            End::Head => End::Tail,
            End::Tail => End::Head,
        }
    }
}

/// How many elements there are.
#[inline]
pub fn len(payload: Payload<'_>) -> usize {
    match payload {
        Payload::Small(bytes) => packed::count(bytes),
        Payload::Large(value) => value.len(),
    }
}

/// Visits the elements from the head.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8])) {
    iter_from(payload, 0).for_each(visit);
}

/// The elements from index `start` on.
pub fn iter_from(payload: Payload<'_>, start: usize) -> impl Iterator<Item = &[u8]> {
    match payload {
        Payload::Small(bytes) => Walk::Small(skip(bytes, start)),
        Payload::Large(Value::List(list)) => Walk::Large(list.iter_from(start)),
        Payload::Large(_) => Walk::Small(packed::elements(&[])),
    }
}

/// The elements before index `end`, the last first.
pub fn iter_before(payload: Payload<'_>, end: usize) -> impl Iterator<Item = &[u8]> {
    match payload {
        Payload::Small(bytes) => Walk::Small(Backwards::new(bytes, end)),
        Payload::Large(Value::List(list)) => match end.checked_sub(1) {
            Some(last) => Walk::Large(list.iter_rev_from(last.min(list.len().saturating_sub(1)))),
            None => Walk::Small(Backwards::new(&[], 0)),
        },
        Payload::Large(_) => Walk::Small(Backwards::new(&[], 0)),
    }
}

/// The element at `index`.
pub fn get(payload: Payload<'_>, index: usize) -> Option<&[u8]> {
    match payload {
        Payload::Small(bytes) => packed::elements(bytes).nth(index),
        Payload::Large(Value::List(list)) => list.get(index),
        Payload::Large(_) => None,
    }
}

/// A walk over either form.
enum Walk<S, L> {
    Small(S),
    Large(L),
}

impl<'a, S, L> Iterator for Walk<S, L>
where
    S: Iterator<Item = &'a [u8]>,
    L: Iterator<Item = &'a [u8]>,
{
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Walk::Small(walk) => walk.next(),
            Walk::Large(walk) => walk.next(),
        }
    }
}

/// A packed list from its element `n` on.
fn skip(bytes: &[u8], n: usize) -> Elements<'_> {
    let mut walk = packed::elements(bytes);
    if n > 0 {
        walk.nth(n - 1);
    }
    walk
}

/// Where the elements of `items` lie in a packed list.
fn range_of(bytes: &[u8], items: Range<usize>) -> Range<usize> {
    let mut walk = skip(bytes, items.start);
    let from = walk.position();
    // Up to the end there is nothing to walk over.
    if items.end >= packed::count(bytes) {
        return from..bytes.len();
    }
    if let Some(n) = items.len().checked_sub(1) {
        walk.nth(n);
    }
    from..walk.position()
}

/// Where the element at `end` lies in a packed list.
fn place_at(bytes: &[u8], end: End) -> Range<usize> {
    let n = packed::count(bytes);
    match end {
        End::Head => range_of(bytes, 0..n.min(1)),
        End::Tail => range_of(bytes, n.saturating_sub(1)..n),
    }
}

/// How many places [`Backwards`] finds in one pass.
const BLOCK: usize = 128;

/// A packed list read from its end. Elements know only their own length, so
/// each pass from the head finds the places of the next `BLOCK`.
struct Backwards<'a> {
    bytes: &'a [u8],
    /// Elements in front of the block.
    before: usize,
    /// Places of the elements of the block that are still to come.
    block: [u32; BLOCK],
    left: usize,
}

impl<'a> Backwards<'a> {
    fn new(bytes: &'a [u8], end: usize) -> Self {
        Backwards {
            bytes,
            before: end.min(packed::count(bytes)),
            block: [0; BLOCK],
            left: 0,
        }
    }
}

impl<'a> Iterator for Backwards<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            let n = self.before.min(BLOCK);
            self.before -= n;
            let mut walk = skip(self.bytes, self.before);
            for place in &mut self.block[..n] {
                *place = walk.position() as u32;
                walk.next()?;
            }
            self.left = n;
        }
        self.left = self.left.checked_sub(1)?;
        let at = self.block[self.left] as usize;
        packed::read_element(self.bytes.get(at..)?).map(|(element, _)| element)
    }
}

/// Whether a packed list may have this many elements and bytes.
#[inline]
fn fits(count: usize, bytes: usize, limits: &Limits) -> bool {
    bytes <= limits.list_max_listpack_bytes
        && count <= limits.list_max_listpack_entries.min(packed::MAX_COUNT)
}

/// Bytes that `elements` take when packed.
fn packed_len(elements: &[&[u8]]) -> usize {
    elements.iter().map(|e| packed::element_size(e.len())).sum()
}

/// Packs `elements`, which take `size` bytes, in the order in which pushing
/// one after the other at `end` leaves them.
fn pack(elements: &[&[u8]], end: End, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    match end {
        End::Tail => elements
            .iter()
            .for_each(|e| packed::push_element(&mut out, e)),
        End::Head => elements
            .iter()
            .rev()
            .for_each(|e| packed::push_element(&mut out, e)),
    }
    out
}

fn push_chunked(list: &mut ChunkList, end: End, element: &[u8]) {
    match end {
        End::Head => list.push_front(element),
        End::Tail => list.push_back(element),
    }
}

/// A new list of `elements`, each pushed at `end`.
pub fn entry(key: &[u8], end: End, elements: &[&[u8]], limits: &Limits) -> Entry {
    let size = packed_len(elements);
    if !fits(elements.len(), COUNT_LEN + size, limits) {
        let mut list = ChunkList::default();
        elements
            .iter()
            .for_each(|e| push_chunked(&mut list, end, e));
        return Entry::large(key, None, Value::List(list));
    }
    let count = (elements.len() as u16).to_le_bytes();
    if let [one] = elements {
        let head = Varint::new(one.len() as u64);
        return Entry::small(Kind::List, key, None, &[&count, head.as_bytes(), one]);
    }
    Entry::small(Kind::List, key, None, &[&count, &pack(elements, end, size)])
}

/// The list of a large entry; a small one is made large first.
fn chunked(entry: &mut Entry) -> Option<&mut ChunkList> {
    if let Entry::Small(small) = entry {
        let mut list = ChunkList::default();
        packed::elements(small.payload()).for_each(|e| list.push_back(e));
        entry.promote(Value::List(list));
    }
    match entry {
        Entry::Large(object) => match &mut object.value {
            Value::List(list) => Some(list),
            _ => None,
        },
        Entry::Small(_) => None,
    }
}

/// Replaces the `remove` bytes of elements at `at` by one element if the list
/// stays small enough; `delta` is how the number of elements changes.
fn splice_one(
    small: &mut SmallEntry,
    at: Range<usize>,
    element: &[u8],
    delta: isize,
    limits: &Limits,
) -> bool {
    let payload = small.payload();
    let count = packed::count(payload).saturating_add_signed(delta);
    let size = payload.len() - at.len() + packed::element_size(element.len());
    let fits = fits(count, size, limits);
    if fits {
        let head = Varint::new(element.len() as u64);
        small.splice_items(at.start, at.len(), &[head.as_bytes(), element], delta);
    }
    fits
}

/// Pushes `elements` at `end`, one after the other; answers the new length.
pub fn push(entry: &mut Entry, end: End, elements: &[&[u8]], limits: &Limits) -> usize {
    if let Entry::Small(small) = entry {
        let payload = small.payload();
        let at = match end {
            End::Head => COUNT_LEN,
            End::Tail => payload.len(),
        };
        let count = packed::count(payload) + elements.len();
        if let [one] = elements {
            if splice_one(small, at..at, one, 1, limits) {
                return count;
            }
        } else {
            let size = packed_len(elements);
            if fits(count, payload.len() + size, limits) {
                let added = pack(elements, end, size);
                small.splice_items(at, 0, &[&added], elements.len() as isize);
                return count;
            }
        }
    }
    let Some(list) = chunked(entry) else { return 0 };
    elements.iter().for_each(|e| push_chunked(list, end, e));
    list.len()
}

/// Takes the element at `end` out, after `visit` has seen it.
pub fn pop(entry: &mut Entry, end: End, visit: &mut dyn FnMut(&[u8])) {
    match entry {
        Entry::Small(small) => {
            let bytes = small.payload();
            let at = place_at(bytes, end);
            if let Some((element, _)) = packed::read_element(&bytes[at.clone()]) {
                visit(element);
                small.splice_items(at.start, at.len(), &[], -1);
            }
        }
        Entry::Large(_) => {
            let Some(list) = chunked(entry) else { return };
            match end {
                End::Head => list.pop_front_with(visit),
                End::Tail => list.pop_back_with(visit),
            };
        }
    }
}

/// Removes all elements but those of `range`.
pub fn keep(entry: &mut Entry, range: Range<usize>) {
    match entry {
        Entry::Small(small) => {
            let bytes = small.payload_mut();
            let gone = packed::count(bytes) - range.len();
            let kept = range_of(bytes, range);
            let end = COUNT_LEN + kept.len();
            bytes.copy_within(kept, COUNT_LEN);
            let rest = bytes.len() - end;
            small.splice_items(end, rest, &[], -(gone as isize));
        }
        Entry::Large(_) => {
            if let Some(list) = chunked(entry) {
                list.trim(range);
            }
        }
    }
}

/// Removes elements equal to `element`: the first `count` of them, the last
/// `-count` if it is negative, all if it is 0; answers how many.
pub fn remove_equal(entry: &mut Entry, element: &[u8], count: i64) -> usize {
    let small = match entry {
        Entry::Small(small) => small,
        Entry::Large(_) => {
            return chunked(entry).map_or(0, |list| list.remove_matching(element, count));
        }
    };
    let most = match count {
        0 => usize::MAX,
        n => usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX),
    };
    // How many equal ones to leave at the head before the first one goes.
    let mut spared = 0;
    if count < 0 {
        let equal = packed::elements(small.payload()).filter(|e| *e == element);
        spared = equal.count().saturating_sub(most);
    }
    let mut gone = 0;
    let bytes = small.payload_mut();
    let (mut at, mut end) = (COUNT_LEN, COUNT_LEN);
    while let Some((e, size)) = packed::read_element(&bytes[at..]) {
        if gone < most && e == element && spared == 0 {
            gone += 1;
        } else {
            spared -= usize::from(spared > 0 && e == element);
            if end != at {
                bytes.copy_within(at..at + size, end);
            }
            end += size;
        }
        at += size;
    }
    if gone > 0 {
        small.splice_items(end, at - end, &[], -(gone as isize));
    }
    gone
}

/// Puts `element` in the place of the one at `index`, which must exist.
pub fn set(entry: &mut Entry, index: usize, element: &[u8], limits: &Limits) {
    if let Entry::Small(small) = entry {
        let at = range_of(small.payload(), index..index + 1);
        if splice_one(small, at, element, 0, limits) {
            return;
        }
    }
    if let Some(list) = chunked(entry) {
        list.set(index, element);
    }
}

/// Inserts `element` before `index`.
pub fn insert(entry: &mut Entry, index: usize, element: &[u8], limits: &Limits) {
    if let Entry::Small(small) = entry {
        let at = skip(small.payload(), index).position();
        if splice_one(small, at..at, element, 1, limits) {
            return;
        }
    }
    if let Some(list) = chunked(entry) {
        list.insert(index, element);
    }
}

/// Moves the element at `from` to the other end, after `visit` has seen it.
pub fn rotate(entry: &mut Entry, from: End, visit: &mut dyn FnMut(&[u8])) {
    match entry {
        Entry::Small(small) => {
            let bytes = small.payload_mut();
            let at = place_at(bytes, from);
            if let Some((element, size)) = packed::read_element(&bytes[at]) {
                visit(element);
                match from {
                    End::Head => bytes[COUNT_LEN..].rotate_left(size),
                    End::Tail => bytes[COUNT_LEN..].rotate_right(size),
                }
            }
        }
        Entry::Large(_) => {
            let Some(list) = chunked(entry) else { return };
            let element = match from {
                End::Head => list.pop_front_with(Loose::of),
                End::Tail => list.pop_back_with(Loose::of),
            };
            let Some(element) = element else { return };
            visit(element.bytes());
            push_chunked(list, from.other(), element.bytes());
        }
    }
}

/// Longest element that [`Loose`] keeps on the stack.
const LOOSE: usize = 256;

/// An element on its way from one list to another: on the stack unless it is
/// long.
pub struct Loose {
    short: [u8; LOOSE],
    len: usize,
    long: Vec<u8>,
}

impl Loose {
    /// A copy of `element`.
    pub fn of(element: &[u8]) -> Self {
        let mut loose = Loose {
            short: [0; LOOSE],
            len: element.len(),
            long: Vec::new(),
        };
        match loose.short.get_mut(..element.len()) {
            Some(short) => short.copy_from_slice(element),
            None => loose.long.extend_from_slice(element),
        }
        loose
    }

    /// The element.
    pub fn bytes(&self) -> &[u8] {
        self.short.get(..self.len).unwrap_or(&self.long)
    }
}

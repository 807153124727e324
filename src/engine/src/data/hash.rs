//! Hashes: packed in the key's allocation while small, fields and values in
//! turn in the order they came, else a segmented table.

use super::entry::{Entry, Payload, SmallEntry};
use super::packed::{self, Varint};
use super::small::{self, Bounds};
use super::table::{Item, Table};
use super::value::{Kind, Limits, Value};
use crate::base::hash::HashKey;
use crate::base::random::Random;

/// Elements of an item: the field and its value.
const PER: usize = 2;

fn bounds(limits: &Limits) -> Bounds {
    Bounds::new(
        limits.hash_max_listpack_entries,
        limits.hash_max_listpack_value,
    )
}

/// Visits fields and values.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) {
    match payload {
        Payload::Small(bytes) => {
            let mut walk = packed::elements(bytes);
            while let (Some(field), Some(value)) = (walk.next(), walk.next()) {
                visit(field, value);
            }
        }
        Payload::Large(Value::Hash(table)) => {
            table.iter().for_each(|f| visit(Item::key(f), f.payload()))
        }
        Payload::Large(_) => {}
    }
}

/// How many fields.
#[inline]
pub fn len(payload: Payload<'_>) -> usize {
    match payload {
        Payload::Small(bytes) => packed::count(bytes),
        Payload::Large(value) => value.len(),
    }
}

/// The value of `field`.
#[inline]
pub fn get<'a>(payload: Payload<'a>, field: &[u8]) -> Option<&'a [u8]> {
    match payload {
        Payload::Small(bytes) => {
            let at = small::find(bytes, PER, field)?.end;
            packed::read_element(bytes.get(at..)?).map(|(value, _)| value)
        }
        Payload::Large(Value::Hash(table)) => {
            table.get(table.hash(field), field).map(SmallEntry::payload)
        }
        Payload::Large(_) => None,
    }
}

/// A new hash of `pairs`, fields and values in turn, and how many fields it has.
pub fn create(key: &[u8], pairs: &[&[u8]], limits: &Limits, seed: HashKey) -> (Entry, usize) {
    let (entry, done) = small::create(Kind::Hash, key, PER, pairs, bounds(limits));
    let mut entry = Entry::Small(entry);
    let added = set(&mut entry, &pairs[done..], limits, seed);
    (entry, done / PER + added)
}

/// Sets fields to values, given in turn, and answers how many are new. A
/// value as long as the one before needs no allocation.
pub fn set(entry: &mut Entry, pairs: &[&[u8]], limits: &Limits, seed: HashKey) -> usize {
    let (mut added, mut done) = (0, 0);
    if let Entry::Small(small) = entry {
        (added, done) = small::add(small, PER, pairs, bounds(limits), |small, field, pair| {
            replace(small, field.end, pair[1]);
        });
        if done == pairs.len() {
            return added;
        }
        promote(entry, seed);
    }
    let Entry::Large(object) = entry else {
        return added;
    };
    let Value::Hash(table) = &mut object.value else {
        return added;
    };
    for pair in pairs[done..].chunks_exact(PER) {
        let (field, value) = (pair[0], pair[1]);
        let hash = table.hash(field);
        match table.get_mut(hash, field) {
            Some(item) => {
                let old = item.payload().len();
                item.splice(0, old, &[value]);
            }
            None => {
                table.insert(hash, item(field, value));
                added += 1;
            }
        }
    }
    added
}

/// A field of a large hash.
fn item(field: &[u8], value: &[u8]) -> SmallEntry {
    SmallEntry::new(Kind::String, field, None, &[value])
}

/// Replaces the packed value at `at`.
fn replace(small: &mut SmallEntry, at: usize, value: &[u8]) {
    let old = small.payload().get(at..).and_then(packed::read_element);
    let size = old.map_or(0, |(_, size)| size);
    let len = Varint::new(value.len() as u64);
    small.splice(at, size, &[len.as_bytes(), value]);
}

fn promote(entry: &mut Entry, seed: HashKey) {
    let mut table = Table::new(seed);
    for_each(entry.payload(), &mut |field, value| {
        table.insert(table.hash(field), item(field, value));
    });
    entry.promote(Value::Hash(table));
}

/// Removes `field`; `false` when it isn't there.
pub fn remove(entry: &mut Entry, field: &[u8]) -> bool {
    match entry {
        Entry::Small(small) => match small::find(small.payload(), PER, field) {
            Some(range) => {
                small::remove(small, PER, range);
                true
            }
            None => false,
        },
        Entry::Large(object) => match &mut object.value {
            Value::Hash(table) => table.remove(table.hash(field), field).is_some(),
            _ => false,
        },
    }
}

/// A field and its value, each field with the same chance.
pub fn random<'a>(payload: Payload<'a>, rng: &mut dyn Random) -> Option<(&'a [u8], &'a [u8])> {
    match payload {
        Payload::Small(bytes) => {
            let nth = rng.below(packed::count(bytes) as u64) as usize;
            let mut walk = packed::elements(bytes);
            Some((walk.nth(nth * PER)?, walk.next()?))
        }
        Payload::Large(Value::Hash(table)) => {
            let field = table.random(rng)?;
            Some((field.key(), field.payload()))
        }
        Payload::Large(_) => None,
    }
}

/// Visits `count` different fields, fewer than there are; every choice of so
/// many is equally likely.
pub fn choose(
    payload: Payload<'_>,
    count: usize,
    rng: &mut dyn Random,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) {
    match payload {
        Payload::Small(bytes) => {
            let mut walk = packed::elements(bytes);
            let pairs = std::iter::from_fn(|| Some((walk.next()?, walk.next()?)));
            small::choose(pairs, packed::count(bytes), count, rng, &mut |(f, v)| {
                visit(f, v);
            });
        }
        Payload::Large(Value::Hash(table)) => {
            small::choose_in_table(table, count, rng, &mut |f| visit(f.key(), f.payload()));
        }
        Payload::Large(_) => {}
    }
}

/// Visits fields from `cursor` on and returns the next cursor; a small hash
/// is visited whole. See [`Table::scan`].
pub fn scan(
    payload: Payload<'_>,
    cursor: u64,
    count: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> u64 {
    match payload {
        Payload::Large(Value::Hash(table)) => {
            table.scan(cursor, count, |f| visit(f.key(), f.payload()))
        }
        _ => {
            for_each(payload, visit);
            0
        }
    }
}

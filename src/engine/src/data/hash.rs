//! Hashes: packed in the key's allocation while small, fields and values in
//! turn in the order they came, else a segmented table.
//!
//! A packed hash in which a field ends at some time has the mark (see
//! [`packed`]): behind each value stands a further element, empty, or the time
//! in ms (u64 le) at which the field ends. In a table the time is the item's.

pub mod expiry;

use super::entry::{Entry, Payload, SmallEntry};
use super::packed::{self, Varint};
use super::small::{self, Bounds};
use super::table::{Item, Table};
use super::value::{Kind, Limits, Value};
use crate::base::hash::HashKey;
use crate::base::random::Random;

/// Elements of an item: the field and its value.
const PER: usize = 2;
/// Elements of an item of a marked hash: also when it ends.
const MARKED_PER: usize = 3;

fn per(bytes: &[u8]) -> usize {
    if packed::is_marked(bytes) {
        MARKED_PER
    } else {
        PER
    }
}

/// Fields, values and when they end, of a packed hash.
fn items(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], Option<u64>)> {
    let marked = packed::is_marked(bytes);
    let mut walk = packed::elements(bytes);
    std::iter::from_fn(move || {
        let (field, value) = (walk.next()?, walk.next()?);
        let ends = if marked {
            expiry::read(walk.next()?)
        } else {
            None
        };
        Some((field, value, ends))
    })
}

/// Whether `payload` is a well-formed packed hash.
pub fn is_well_formed(payload: &[u8]) -> bool {
    let per = per(payload);
    let count = packed::count(payload);
    let mut walk = packed::elements(payload);
    for n in 0..count * per {
        match walk.next() {
            Some(time) if n % per == PER && !expiry::is_well_formed(time) => return false,
            Some(_) => {}
            None => return false,
        }
    }
    count > 0 && walk.position() == payload.len()
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds::new(
        limits.hash_max_listpack_entries,
        limits.hash_max_listpack_value,
    )
}

/// Visits fields and values.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) {
    match payload {
        Payload::Small(bytes) => items(bytes).for_each(|(field, value, _)| visit(field, value)),
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
            let at = small::find(bytes, per(bytes), field)?.end;
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

/// Sets fields to values, given in turn, and answers how many are new. None
/// of them ends any more. A value as long as the one before needs no
/// allocation.
pub fn set(entry: &mut Entry, pairs: &[&[u8]], limits: &Limits, seed: HashKey) -> usize {
    let (mut added, mut done) = (0, 0);
    if let Entry::Small(small) = entry {
        (added, done) = if packed::is_marked(small.payload()) {
            expiry::add(small, pairs, bounds(limits))
        } else {
            small::add(small, PER, pairs, bounds(limits), |small, field, pair| {
                replace(small, field.end, pair[1]);
            })
        };
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
                if item.expiry().is_some() {
                    table.set_expiry(hash, field, None);
                }
            }
            None => {
                table.insert(hash, item(field, value, None));
                added += 1;
            }
        }
    }
    added
}

/// A field of a large hash.
pub fn item(field: &[u8], value: &[u8], ends: Option<u64>) -> SmallEntry {
    SmallEntry::new(Kind::String, field, ends, &[value])
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
    expiry::for_each(entry.payload(), &mut |field, value, ends| {
        table.insert(table.hash(field), item(field, value, ends));
    });
    entry.promote(Value::Hash(table));
}

/// Removes `field`; `false` when it isn't there.
pub fn remove(entry: &mut Entry, field: &[u8]) -> bool {
    match entry {
        Entry::Small(small) => {
            let per = per(small.payload());
            let found = small::find(small.payload(), per, field);
            found
                .map(|range| small::remove(small, per, range))
                .is_some()
        }
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
            Some((walk.nth(nth * per(bytes))?, walk.next()?))
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
            small::choose(
                items(bytes),
                packed::count(bytes),
                count,
                rng,
                &mut |(f, v, _)| {
                    visit(f, v);
                },
            );
        }
        Payload::Large(Value::Hash(table)) => {
            small::choose_in_table(table, count, rng, &mut |f| visit(f.key(), f.payload()));
        }
        Payload::Large(_) => {}
    }
}

/// Visits fields from `cursor` on, also with when they end, and returns the
/// next cursor; a small hash is visited whole. See [`Table::scan`].
pub fn scan(payload: Payload<'_>, cursor: u64, count: usize, visit: &mut expiry::Visit<'_>) -> u64 {
    match payload {
        Payload::Large(Value::Hash(table)) => table.scan(cursor, count, |f| {
            visit(f.key(), f.payload(), f.expiry());
        }),
        _ => {
            expiry::for_each(payload, visit);
            0
        }
    }
}

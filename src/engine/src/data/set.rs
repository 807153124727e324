//! Sets: packed in the key's allocation while small, else a segmented table.

use super::entry::{Entry, Payload};
use super::packed;
use super::small::{self, Bounds};
use super::table::Table;
use super::value::{Kind, Limits, Value};
use crate::base::hash::HashKey;
use crate::base::number;
use crate::base::random::Random;

/// Members up to this length are copied to the stack while they are removed.
const SHORT: usize = 64;

fn bounds(limits: &Limits) -> Bounds {
    Bounds::new(
        limits.set_max_listpack_entries,
        limits.set_max_listpack_value,
    )
}

/// The members, in no order that means anything.
pub fn members<'a>(payload: Payload<'a>) -> impl Iterator<Item = &'a [u8]> {
    let (packed, table) = match payload {
        Payload::Small(bytes) => (Some(packed::elements(bytes)), None),
        Payload::Large(Value::Set(table)) => (None, Some(table.iter())),
        Payload::Large(_) => (None, None),
    };
    let large = table.into_iter().flatten().map(|m| &**m);
    packed.into_iter().flatten().chain(large)
}

/// Visits the members, in no order that means anything.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8])) {
    match payload {
        Payload::Small(bytes) => packed::elements(bytes).for_each(visit),
        Payload::Large(Value::Set(table)) => table.iter().for_each(|m| visit(m)),
        Payload::Large(_) => {}
    }
}

/// Puts members that are integers, and no more than an intset of Redis holds,
/// in the order of their numbers, which is an intset's; others stay as they are.
pub fn sort_integers(members: &mut [&[u8]], limits: &Limits) {
    if members.len() > limits.set_max_intset_entries {
        return;
    }
    let numbers: Option<Vec<i64>> = members.iter().map(|m| number::parse_i64(m)).collect();
    if let Some(numbers) = numbers
        && !numbers.is_sorted()
    {
        let mut pairs: Vec<(i64, &[u8])> =
            numbers.into_iter().zip(members.iter().copied()).collect();
        pairs.sort_unstable();
        for (place, (_, member)) in members.iter_mut().zip(pairs) {
            *place = member;
        }
    }
}

/// How many members.
#[inline]
pub fn len(payload: Payload<'_>) -> usize {
    match payload {
        Payload::Small(bytes) => packed::count(bytes),
        Payload::Large(value) => value.len(),
    }
}

/// Whether `member` is in.
#[inline]
pub fn contains(payload: Payload<'_>, member: &[u8]) -> bool {
    match payload {
        Payload::Small(bytes) => small::find(bytes, 1, member).is_some(),
        Payload::Large(Value::Set(table)) => table.get(table.hash(member), member).is_some(),
        Payload::Large(_) => false,
    }
}

/// A new set of `members`, and how many they are without repetitions.
pub fn create(key: &[u8], members: &[&[u8]], limits: &Limits, seed: HashKey) -> (Entry, usize) {
    let (entry, done) = small::create(Kind::Set, key, 1, members, bounds(limits));
    let mut entry = Entry::Small(entry);
    let added = add(&mut entry, &members[done..], limits, seed);
    (entry, done + added)
}

/// A new set of `members`, which are all different.
pub fn of(key: &[u8], members: &[&[u8]], limits: &Limits, seed: HashKey) -> Entry {
    if bounds(limits).suit_all(members) {
        return small::pack(Kind::Set, key, 1, members);
    }
    let mut table: Table<Box<[u8]>> = Table::new(seed);
    for &member in members {
        table.insert(table.hash(member), member.into());
    }
    Entry::large(key, None, Value::Set(table))
}

/// Adds `members` and answers how many are new.
pub fn add(entry: &mut Entry, members: &[&[u8]], limits: &Limits, seed: HashKey) -> usize {
    let (mut added, mut done) = (0, 0);
    if let Entry::Small(small) = entry {
        (added, done) = small::add(small, 1, members, bounds(limits), |_, _, _| {});
        if done == members.len() {
            return added;
        }
        promote(entry, seed);
    }
    let Entry::Large(object) = entry else {
        return added;
    };
    let Value::Set(table) = &mut object.value else {
        return added;
    };
    for &member in &members[done..] {
        let hash = table.hash(member);
        if table.get(hash, member).is_none() {
            table.insert(hash, member.into());
            added += 1;
        }
    }
    added
}

fn promote(entry: &mut Entry, seed: HashKey) {
    let mut table: Table<Box<[u8]>> = Table::new(seed);
    for member in members(entry.payload()) {
        table.insert(table.hash(member), member.into());
    }
    entry.promote(Value::Set(table));
}

/// Removes `member`; `false` when it isn't in.
pub fn remove(entry: &mut Entry, member: &[u8]) -> bool {
    match entry {
        Entry::Small(small) => match small::find(small.payload(), 1, member) {
            Some(range) => {
                small::remove(small, 1, range);
                true
            }
            None => false,
        },
        Entry::Large(object) => match &mut object.value {
            Value::Set(table) => table.remove(table.hash(member), member).is_some(),
            _ => false,
        },
    }
}

/// A member, each with the same chance.
pub fn random<'a>(payload: Payload<'a>, rng: &mut dyn Random) -> Option<&'a [u8]> {
    match payload {
        Payload::Small(bytes) => {
            let nth = rng.below(packed::count(bytes) as u64) as usize;
            packed::elements(bytes).nth(nth)
        }
        Payload::Large(Value::Set(table)) => table.random(rng).map(|m| &**m),
        Payload::Large(_) => None,
    }
}

/// Removes a member, each with the same chance, and shows it; `false` when
/// there is none.
pub fn pop(entry: &mut Entry, rng: &mut dyn Random, visit: &mut dyn FnMut(&[u8])) -> bool {
    match entry {
        Entry::Small(small) => {
            let nth = rng.below(packed::count(small.payload()) as u64) as usize;
            let mut walk = packed::elements(small.payload());
            let mut found = None;
            for _ in 0..=nth {
                found = walk.next_with_range();
            }
            let Some((member, range)) = found else {
                return false;
            };
            visit(member);
            small::remove(small, 1, range);
            true
        }
        Entry::Large(object) => {
            let Value::Set(table) = &mut object.value else {
                return false;
            };
            let Some(member) = table.random(rng) else {
                return false;
            };
            // The table is asked to remove by a key that must not be its own.
            let hash = table.hash(member);
            let mut short = [0; SHORT];
            let long: Box<[u8]>;
            let key: &[u8] = match short.get_mut(..member.len()) {
                Some(room) => {
                    room.copy_from_slice(member);
                    room
                }
                None => {
                    long = member.clone();
                    &long
                }
            };
            match table.remove(hash, key) {
                Some(member) => {
                    visit(&member);
                    true
                }
                None => false,
            }
        }
    }
}

/// Visits `count` different members, fewer than there are; every choice of
/// so many is equally likely.
pub fn choose(
    payload: Payload<'_>,
    count: usize,
    rng: &mut dyn Random,
    visit: &mut dyn FnMut(&[u8]),
) {
    match payload {
        Payload::Small(bytes) => {
            let members = packed::elements(bytes);
            small::choose(members, packed::count(bytes), count, rng, &mut |m| visit(m));
        }
        Payload::Large(Value::Set(table)) => {
            small::choose_in_table(table, count, rng, &mut |m| visit(m));
        }
        Payload::Large(_) => {}
    }
}

/// Visits members from `cursor` on and returns the next cursor; a small set
/// is visited whole. See [`Table::scan`].
pub fn scan(payload: Payload<'_>, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8])) -> u64 {
    match payload {
        Payload::Large(Value::Set(table)) => table.scan(cursor, count, |m| visit(m)),
        _ => {
            for_each(payload, visit);
            0
        }
    }
}

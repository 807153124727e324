//! Fields that end at some time.

use super::{MARKED_PER, PER, items, replace};
use crate::data::entry::{Entry, Payload, SmallEntry};
use crate::data::packed::{self, MARK, push_element};
use crate::data::small::{self, Bounds};
use crate::data::value::Value;

/// Latest time there may be, as in Redis 8.0, unix ms.
pub const LATEST: u64 = (1 << 46) - 1;

/// The time in an element.
pub fn read(element: &[u8]) -> Option<u64> {
    element.try_into().ok().map(u64::from_le_bytes)
}

/// Whether an element is a time or empty. No field ends in 1970: replay,
/// whose clock stands at 0, would take it for due; nor later than a command
/// can say.
pub fn is_well_formed(element: &[u8]) -> bool {
    element.is_empty() || read(element).is_some_and(|at| (1..=LATEST).contains(&at))
}

/// Appends the element for a time.
pub fn push(out: &mut Vec<u8>, ends: Option<u64>) {
    match ends {
        Some(at) => push_element(out, &at.to_le_bytes()),
        None => push_element(out, &[]),
    }
}

/// Whether a field may end.
#[inline]
pub fn any(payload: Payload<'_>) -> bool {
    match payload {
        Payload::Small(bytes) => packed::is_marked(bytes),
        Payload::Large(Value::Hash(table)) => table.with_expiry() > 0,
        Payload::Large(_) => false,
    }
}

/// A time before which no field ends; `None` if none ends at all.
pub fn next(payload: Payload<'_>) -> Option<u64> {
    match payload {
        Payload::Small(bytes) => items(bytes).filter_map(|(_, _, ends)| ends).min(),
        Payload::Large(Value::Hash(table)) => (table.with_expiry() > 0).then(|| table.min_expiry()),
        Payload::Large(_) => None,
    }
}

/// When `field` ends, if it does; `None` when there is no such field.
pub fn of(payload: Payload<'_>, field: &[u8]) -> Option<Option<u64>> {
    match payload {
        Payload::Small(bytes) => {
            let mut all = items(bytes);
            all.find_map(|(name, _, ends)| (name == field).then_some(ends))
        }
        Payload::Large(Value::Hash(table)) => {
            table.get(table.hash(field), field).map(SmallEntry::expiry)
        }
        Payload::Large(_) => None,
    }
}

/// Sees a field, its value and when it ends.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8], Option<u64>) + 'a;

/// Visits all fields.
pub fn for_each(payload: Payload<'_>, visit: &mut Visit<'_>) {
    match payload {
        Payload::Small(bytes) => items(bytes).for_each(|(f, v, ends)| visit(f, v, ends)),
        Payload::Large(Value::Hash(table)) => table
            .iter()
            .for_each(|f| visit(f.key(), f.payload(), f.expiry())),
        Payload::Large(_) => {}
    }
}

/// Lets `field` end at a time, or never; `false` when there is no such field.
pub fn set(entry: &mut Entry, field: &[u8], ends: Option<u64>) -> bool {
    match entry {
        Entry::Small(small) => {
            if !packed::is_marked(small.payload()) {
                if small::find(small.payload(), PER, field).is_none() {
                    return false;
                }
                if ends.is_none() {
                    return true;
                }
                rewrite(small, true);
            }
            let Some(range) = small::find(small.payload(), MARKED_PER, field) else {
                return false;
            };
            set_at(small, range.end, ends);
            if ends.is_none() {
                unmark_if_idle(small);
            }
            true
        }
        Entry::Large(object) => match &mut object.value {
            Value::Hash(table) => table.set_expiry(table.hash(field), field, ends),
            _ => false,
        },
    }
}

/// Removes fields that end at or before `now`, of a large hash `budget` at
/// most, and shows each.
pub fn take_due(entry: &mut Entry, now: u64, budget: usize, visit: &mut dyn FnMut(&[u8])) {
    match entry {
        Entry::Small(small) => {
            let is_due = |ends: Option<u64>| ends.is_some_and(|at| at <= now);
            let due: Vec<Box<[u8]>> = items(small.payload())
                .filter(|(_, _, ends)| is_due(*ends))
                .map(|(field, _, _)| field.into())
                .collect();
            for field in &due {
                if let Some(range) = small::find(small.payload(), MARKED_PER, field) {
                    small::remove(small, MARKED_PER, range);
                    visit(field);
                }
            }
            unmark_if_idle(small);
        }
        Entry::Large(object) => {
            if let Value::Hash(table) = &mut object.value {
                table.take_due(now, budget, &mut |item| visit(item.key()));
            }
        }
    }
}

/// Adds pairs to a marked hash; see [`small::add`].
pub(super) fn add(small: &mut SmallEntry, pairs: &[&[u8]], bounds: Bounds) -> (usize, usize) {
    let items: Vec<&[u8]> = pairs
        .chunks_exact(PER)
        .flat_map(|pair| [pair[0], pair[1], &[]])
        .collect();
    let (added, done) = small::add(small, MARKED_PER, &items, bounds, |small, field, item| {
        replace(small, field.end, item[1]);
        set_at(small, field.end, None);
    });
    unmark_if_idle(small);
    (added, done / MARKED_PER * PER)
}

/// Sets the time behind the packed value at `value`.
fn set_at(small: &mut SmallEntry, value: usize, ends: Option<u64>) {
    let size_at = |at: usize| {
        let element = small.payload().get(at..).and_then(packed::read_element);
        element.map_or(0, |(_, size)| size)
    };
    let at = value + size_at(value);
    let old = size_at(at);
    let mut new = Vec::with_capacity(9);
    push(&mut new, ends);
    small.splice(at, old, &[&new]);
}

/// Takes the mark from a hash in which no field ends.
fn unmark_if_idle(small: &mut SmallEntry) {
    if packed::is_marked(small.payload())
        && items(small.payload()).all(|(_, _, ends)| ends.is_none())
    {
        rewrite(small, false);
    }
}

/// Packs the fields with or without the mark; without, no field ends.
fn rewrite(small: &mut SmallEntry, marked: bool) {
    let count = packed::count(small.payload()) as u16 | if marked { MARK } else { 0 };
    let mut bytes = count.to_le_bytes().to_vec();
    for (field, value, ends) in items(small.payload()) {
        push_element(&mut bytes, field);
        push_element(&mut bytes, value);
        if marked {
            push(&mut bytes, ends);
        }
    }
    let old = small.payload().len();
    small.splice(0, old, &[&bytes]);
}

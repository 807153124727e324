//! How much memory an entry takes, for MEMORY USAGE. Sizes are those asked of
//! the allocator.

use super::entry::{Entry, Object, Payload};
use super::table::{Item, Table};
use super::value::Value;

/// A key's place in its segment, and the byte that tells it from strangers.
const SLOT: usize = size_of::<Entry>() + 1;

/// Bytes that `entry` takes in all. Of a large collection's elements that lie
/// in allocations of their own, so many (0 is none) are looked at, and the
/// rest is taken to be like them.
pub fn usage(entry: &Entry, samples: usize) -> usize {
    match (entry, entry.payload()) {
        (Entry::Small(small), _) => SLOT + small.as_bytes().len(),
        (Entry::Large(_), Payload::Large(value)) => {
            SLOT + size_of::<Object>() + entry.key().len() + heap_bytes(value, samples)
        }
        (Entry::Large(_), Payload::Small(_)) => SLOT,
    }
}

fn heap_bytes(value: &Value, samples: usize) -> usize {
    match value {
        Value::Str(bytes) => bytes.capacity(),
        Value::List(list) => list.heap_bytes(),
        Value::Set(table) => table.heap_bytes() + items(table, samples, |m| m.len()),
        Value::Hash(table) => table.heap_bytes() + items(table, samples, |f| f.as_bytes().len()),
        Value::Zset(set) => size_of_val(&**set) + set.heap_bytes(samples),
        Value::Stream(stream) => size_of_val(&**stream) + stream.heap_bytes(samples),
    }
}

/// Bytes that the items of a table take beside it, by the mean of so many.
pub(super) fn items<T: Item>(
    table: &Table<T>,
    samples: usize,
    size: impl Fn(&T) -> usize,
) -> usize {
    let looked_at = samples.min(table.len());
    let sum: usize = table.iter().take(looked_at).map(size).sum();
    let mean = sum as f64 / looked_at.max(1) as f64;
    (mean * table.len() as f64) as usize
}

//! What the tool says of a key's value.

use persist_engine::data::entry::Entry;
use persist_engine::data::stream::{Group, Stream};
use persist_engine::data::value::Kind;
use persist_engine::data::{hash, list, memory, set, string, zset};

/// How many elements a value has; of a string, how many bytes.
pub fn elements(entry: &Entry) -> u64 {
    let payload = entry.payload();
    let len = match entry.kind() {
        Kind::String => string::bytes(entry).len(),
        Kind::List => list::len(payload),
        Kind::Set => set::len(payload),
        Kind::Hash => hash::len(payload),
        Kind::Zset => zset::View::of(entry).len(),
        Kind::Stream => return Stream::of(entry).map_or(0, |stream| stream.entries.len()),
    };
    len as u64
}

/// Bytes that a key takes in a server's memory, all of its elements looked at.
pub fn memory(entry: &Entry) -> u64 {
    memory::usage(entry, usize::MAX) as u64
}

/// Whether two values are the same, whatever their encoding. When consumers
/// of a stream were last seen doesn't count: a restart may set it back.
pub fn same(left: &Entry, right: &Entry) -> bool {
    let (a, b) = (left.payload(), right.payload());
    match (left.kind(), right.kind()) {
        (Kind::String, Kind::String) => string::bytes(left) == string::bytes(right),
        (Kind::List, Kind::List) => {
            list::len(a) == list::len(b) && list::iter_from(a, 0).eq(list::iter_from(b, 0))
        }
        (Kind::Set, Kind::Set) => {
            set::len(a) == set::len(b) && set::members(a).all(|member| set::contains(b, member))
        }
        (Kind::Hash, Kind::Hash) => {
            let mut same = hash::len(a) == hash::len(b);
            hash::expiry::for_each(a, &mut |field, value, ends| {
                same = same
                    && hash::get(b, field) == Some(value)
                    && hash::expiry::of(b, field) == Some(ends);
            });
            same
        }
        (Kind::Zset, Kind::Zset) => {
            let other = zset::View::of(right);
            let mut same = zset::View::of(left).len() == other.len();
            zset::for_each(a, &mut |score, member| {
                same = same && other.score_of(member) == Some(score);
            });
            same
        }
        (Kind::Stream, Kind::Stream) => match (Stream::of(left), Stream::of(right)) {
            (Some(a), Some(b)) => same_stream(a, b),
            _ => false,
        },
        _ => false,
    }
}

fn same_stream(left: &Stream, right: &Stream) -> bool {
    let (a, b) = (&left.entries, &right.entries);
    let numbers = (a.len(), a.last_id, a.max_deleted, a.added)
        == (b.len(), b.last_id, b.max_deleted, b.added);
    let mut pairs = a.iter().zip(b.iter());
    numbers
        && pairs.all(|(a, b)| a.id == b.id && a.pairs().eq(b.pairs()))
        && left.groups.len() == right.groups.len()
        && left.groups.iter().zip(&right.groups).all(|(a, b)| {
            let pending = |group: &Group| -> Vec<_> {
                let all = group.pending().iter();
                all.map(|(id, p)| (*id, p.consumer().to_vec(), p.delivered_ms, p.deliveries))
                    .collect()
            };
            a.0 == b.0
                && (a.1.last_id, a.1.entries_read) == (b.1.last_id, b.1.entries_read)
                && a.1.consumers().keys().eq(b.1.consumers().keys())
                && pending(a.1) == pending(b.1)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_engine::data::value::Limits;

    /// What looks the same as text isn't.
    #[test]
    fn same_means_the_same() {
        let limits = Limits::default();
        let seed = persist_engine::base::hash::Seed([1; 16]).into();
        let list = |items: &[&[u8]]| list::entry(b"k", list::End::Tail, items, &limits);
        assert!(same(&list(&[b"a", b"b"]), &list(&[b"a", b"b"])));
        assert!(!same(&list(&[b"a, b"]), &list(&[b"a", b"b"])));
        assert!(!same(&list(&[b"a", b"b"]), &list(&[b"b", b"a"])));
        let hash = |pairs: &[&[u8]]| hash::create(b"k", pairs, &limits, seed).0;
        assert!(same(
            &hash(&[b"f", b"1", b"g", b"2"]),
            &hash(&[b"g", b"2", b"f", b"1"])
        ));
        assert!(!same(&hash(&[b"f:1", b""]), &hash(&[b"f", b"1"])));
        let mut ends = hash(&[b"f", b"1"]);
        assert!(hash::expiry::set(&mut ends, b"f", Some(5)));
        assert!(!same(&ends, &hash(&[b"f", b"1"])) && !same(&hash(&[b"f", b"1"]), &ends));
        let set = |members: &[&[u8]]| set::of(b"k", members, &limits, seed);
        assert!(same(&set(&[b"a", b"b"]), &set(&[b"b", b"a"])));
        assert!(!same(&set(&[b"a", b"b"]), &set(&[b"a", b"c"])));
        assert!(!same(&set(&[b"a", b"b"]), &list(&[b"a", b"b"])));
        let zset = |score| zset::single(b"k", &limits, seed, score, b"m");
        assert!(same(&zset(1.5), &zset(1.5)) && !same(&zset(1.5), &zset(1.25)));
    }
}

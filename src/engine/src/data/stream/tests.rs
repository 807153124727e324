//! Streams against a list of entries.

use super::block::{Block, Full};
use super::*;
use crate::base::random::{Random, SeededRandom};

/// One entry of the model.
type Line = (StreamId, Vec<Vec<u8>>);

fn all(entries: &Entries) -> Vec<Line> {
    entries.iter().map(line).collect()
}

fn line(item: Item<'_>) -> Line {
    let pairs = item.pairs().flat_map(|(f, v)| [f.to_vec(), v.to_vec()]);
    (item.id, pairs.collect())
}

/// Fields that are often the same, and values of all lengths.
fn some_pairs(rng: &mut SeededRandom) -> Vec<Vec<u8>> {
    let names = match rng.below(4) {
        0 => vec!["x".to_string(); 1 + rng.below(3) as usize],
        1 => vec![format!("f{}", rng.below(3))],
        _ => vec!["field".into(), "other".into()],
    };
    let mut pairs = Vec::new();
    for name in names {
        let len = [0, 3, 60, 70, 300, 5000][rng.below(6) as usize];
        pairs.push(name.into_bytes());
        pairs.push(match rng.below(3) {
            0 => rng.below(1 << 40).to_string().into_bytes(),
            _ => vec![b'v'; len],
        });
    }
    pairs
}

fn check(entries: &Entries, model: &[Line]) {
    assert_eq!(all(entries), model);
    let back: Vec<Line> = entries.iter().rev().map(line).collect();
    assert!(back.iter().rev().eq(model));
    assert_eq!(entries.len(), model.len() as u64);
    let bases = entries.blocks().map(Block::base);
    assert_eq!(entries.radix_nodes(), radix::nodes(bases));
    let first = model.first().map_or(StreamId::MIN, |l| l.0);
    assert_eq!(entries.first_id(), first);
    assert_eq!(entries.top_id(), model.last().map(|l| l.0));
}

#[test]
fn a_stream_does_what_a_list_does() {
    for seed in 0..60 {
        let mut rng = SeededRandom::new(seed);
        let full = Full {
            entries: [0, 3, 100][rng.below(3) as usize],
            bytes: [0, 300, 4096][rng.below(3) as usize],
        };
        let mut entries = Entries::default();
        let mut model: Vec<Line> = Vec::new();
        for _ in 0..300 {
            let near = |rng: &mut SeededRandom, model: &[Line]| match rng.below(4) {
                0 => StreamId::new(rng.below(40), rng.below(20)),
                _ if model.is_empty() => StreamId::new(5, 5),
                _ => model[rng.below(model.len() as u64) as usize].0,
            };
            match rng.below(12) {
                0..=6 => {
                    let last = entries.last_id;
                    let id = match rng.below(3) {
                        0 => StreamId::new(last.ms + 1 + rng.below(3), rng.below(300)),
                        _ => last.next().unwrap(),
                    };
                    let pairs = some_pairs(&mut rng);
                    let slices: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
                    entries.append(id, &slices, full);
                    model.push((id, pairs));
                }
                7 => {
                    let id = near(&mut rng, &model);
                    let there = model.iter().position(|l| l.0 == id);
                    assert_eq!(entries.contains(id), there.is_some());
                    assert_eq!(entries.remove(id), there.is_some());
                    there.map(|at| model.remove(at));
                }
                8 => {
                    let id = near(&mut rng, &model);
                    let (gone, _) = entries.trim(Trim::exact(Keep::From(id)));
                    let before = model.len();
                    model.retain(|l| l.0 >= id);
                    assert_eq!(gone as usize, before - model.len());
                }
                9 if rng.below(4) == 0 => {
                    let left = rng.below(1 + 2 * model.len() as u64);
                    entries.trim(Trim::exact(Keep::Newest(left)));
                    model.drain(..model.len().saturating_sub(left as usize));
                }
                10 => {
                    let trim = Trim {
                        keep: Keep::Newest(rng.below(1 + model.len() as u64)),
                        approximate: true,
                        limit: rng.below(200),
                    };
                    let (gone, _) = entries.trim(trim);
                    model.drain(..gone as usize);
                    let Keep::Newest(least) = trim.keep else {
                        panic!()
                    };
                    assert!(gone == 0 || model.len() as u64 >= least);
                    assert!(trim.limit == 0 || gone <= trim.limit);
                }
                // As XSETID does.
                11 if rng.below(2) == 0 => {
                    entries.last_id = match entries.top_id() {
                        Some(top) => top,
                        None => StreamId::new(rng.below(3), rng.below(3)),
                    };
                }
                _ => {
                    let (a, b) = (near(&mut rng, &model), near(&mut rng, &model));
                    let within = |l: &&Line| a <= l.0 && l.0 <= b;
                    let want: Vec<Line> = model.iter().filter(within).cloned().collect();
                    let found: Vec<Line> = entries.range(a, b).map(line).collect();
                    assert_eq!(found, want, "{a} {b}");
                    let found: Vec<Line> = entries.range(a, b).rev().map(line).collect();
                    assert!(found.iter().rev().eq(&want), "{a} {b}");
                }
            }
            check(&entries, &model);
            if rng.below(20) == 0 {
                entries = through_parts(&Stream {
                    entries,
                    ..Stream::default()
                })
                .entries;
                check(&entries, &model);
            }
        }
        let stream = Stream {
            entries,
            ..Stream::default()
        };
        check(&through_parts(&stream).entries, &model);
    }
}

/// Written in pieces and read back.
fn through_parts(stream: &Stream) -> Stream {
    let mut bytes = Vec::new();
    let mut count = 0;
    parts::for_each(stream, &mut |write| {
        write(&mut bytes);
        count += 1;
    });
    assert_eq!(count, parts::count(stream));
    let mut builder = parts::Builder::default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        rest = &rest[builder.add(rest).unwrap()..];
    }
    builder.finish().unwrap()
}

fn sample() -> Stream {
    let mut stream = Stream::default();
    let full = Full {
        entries: 2,
        bytes: 0,
    };
    for n in 1..=5 {
        stream
            .entries
            .append(StreamId::new(n, 0), &[b"f", b"v"], full);
    }
    stream.entries.remove(StreamId::new(2, 0));
    stream.entries.max_deleted = StreamId::new(2, 0);
    let mut group = Group::new(StreamId::new(4, 0), None);
    assert!(group.create_consumer(b"a", 7) && group.create_consumer(b"b", 8));
    assert!(!group.create_consumer(b"a", 9));
    group.assign(StreamId::new(1, 0), b"a", 10, 1);
    group.assign(StreamId::new(3, 0), b"a", 10, 1);
    group.assign(StreamId::new(3, 0), b"b", 11, 2);
    stream.groups.insert(b"g"[..].into(), group);
    let none = Group::new(StreamId::MIN, Some(0));
    stream.groups.insert(b""[..].into(), none);
    stream
}

#[test]
fn groups_come_back_from_pieces() {
    let stream = sample();
    let back = through_parts(&stream);
    assert_eq!(format!("{back:?}"), format!("{stream:?}"));
}

#[test]
fn damaged_pieces_are_refused_or_read_whole() {
    let mut bytes = Vec::new();
    parts::for_each(&sample(), &mut |write| write(&mut bytes));
    let read = |bytes: &[u8]| {
        let mut builder = parts::Builder::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[builder.add(rest)?..];
        }
        builder.finish()
    };
    assert!(read(&bytes).is_some());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            if let Some(stream) = read(&bad) {
                assert_eq!(stream.entries.iter().count() as u64, stream.entries.len());
                assert_eq!(
                    stream.entries.iter().rev().count() as u64,
                    stream.entries.len()
                );
            }
        }
        read(&bytes[..at]);
    }
}

#[test]
fn an_entry_belongs_to_one_consumer() {
    let mut stream = sample();
    let group = stream.groups.get_mut(&b"g"[..]).unwrap();
    let ids = |group: &Group, name: &[u8]| group.consumer(name).unwrap().pending().len();
    assert_eq!((ids(group, b"a"), ids(group, b"b")), (1, 1));
    assert_eq!(group.pending()[&StreamId::new(3, 0)].consumer(), b"b");
    assert!(group.acknowledge(StreamId::new(3, 0)));
    assert!(!group.acknowledge(StreamId::new(3, 0)));
    assert_eq!((ids(group, b"a"), ids(group, b"b")), (1, 0));
    assert_eq!(group.remove_consumer(b"a"), Some(1));
    assert_eq!(group.remove_consumer(b"a"), None);
    assert!(group.pending().is_empty());
}

#[test]
fn fields_are_kept_once_and_removed_entries_free_their_bytes() {
    let value = [b'v'; 50];
    let pairs: [&[u8]; 4] = [b"a long field name", &value, b"another field name", &value];
    let mut block = Block::new(StreamId::new(1, 1), &pairs);
    for n in 2..=90 {
        block.push(StreamId::new(n, 0), &pairs);
    }
    block.seal();
    assert!(block.heap_bytes() < 90 * 112);
    for n in 3..=90 {
        assert!(block.remove(StreamId::new(n, 0)));
    }
    block.seal();
    assert!(block.heap_bytes() < 300);
    assert_eq!(block.last(), StreamId::new(90, 0));
}

#[test]
fn ids_may_go_back_below_what_was_removed() {
    let full = Full {
        entries: 3,
        bytes: 0,
    };
    let id = |seq| StreamId::new(1, seq);
    let mut stream = Stream::default();
    let entries = &mut stream.entries;
    for seq in [1, 2, 9] {
        entries.append(id(seq), &[b"f", b"v"], full);
    }
    assert!(entries.remove(id(9)));
    // XSETID; the next block begins below what the first one once held.
    entries.last_id = id(2);
    entries.append(id(5), &[b"f", b"v"], full);
    assert_eq!(entries.block_count(), 2);
    let ids = |entries: &Entries| Vec::from_iter(entries.iter().map(|item| item.id.seq));
    assert_eq!(ids(entries), [1, 2, 5]);
    assert_eq!(ids(&through_parts(&stream).entries), [1, 2, 5]);

    // An empty block that stays, and an id below all it ever held.
    let entries = &mut stream.entries;
    assert!(entries.remove(id(5)));
    entries.trim(Trim::exact(Keep::From(id(7))));
    assert_eq!((entries.len(), entries.block_count()), (0, 1));
    entries.last_id = StreamId::MIN;
    entries.append(StreamId::new(0, 4), &[b"f", b"v"], full);
    assert_eq!(entries.block_count(), 1);
    assert!(entries.contains(StreamId::new(0, 4)));
    let range = entries.range(StreamId::new(0, 3), StreamId::new(0, 5));
    assert_eq!(range.count(), 1);
    let bases = entries.blocks().map(Block::base);
    assert_eq!(entries.radix_nodes(), radix::nodes(bases));
    assert_eq!(ids(&through_parts(&stream).entries), [4]);
}

use super::*;
use crate::base::hash::Seed;
use crate::base::random::SeededRandom;
use crate::data::entry::SmallEntry;
use std::collections::{BTreeMap, BTreeSet};

type Fields = Table<SmallEntry>;

fn item(n: u64, expiry: Option<u64>) -> SmallEntry {
    SmallEntry::new(
        crate::data::value::Kind::String,
        &n.to_le_bytes(),
        expiry,
        &[b"v"],
    )
}

fn put(t: &mut Fields, n: u64, expiry: Option<u64>) -> bool {
    let hash = t.hash(&n.to_le_bytes());
    t.insert(hash, item(n, expiry)).is_some()
}

fn take(t: &mut Fields, n: u64) -> bool {
    let hash = t.hash(&n.to_le_bytes());
    t.remove(hash, &n.to_le_bytes()).is_some()
}

fn key(item: &SmallEntry) -> u64 {
    u64::from_le_bytes(item.key().try_into().unwrap())
}

fn check(t: &Fields, model: &BTreeMap<u64, Option<u64>>) {
    assert_eq!(t.len(), model.len());
    assert_eq!(t.with_expiry(), model.values().flatten().count());
    assert!(t.min_expiry() <= model.values().flatten().min().copied().unwrap_or(u64::MAX));
    let seen: BTreeMap<u64, Option<u64>> = t.iter().map(|i| (key(i), i.expiry())).collect();
    assert_eq!(&seen, model);
    // Segments come in hash order.
    let mut next = Some(0);
    while let Some(at) = next {
        let (mut items, after) = t.segment_at(at);
        assert!(
            items.all(|i| t.hash(i.key()) >= at && after.is_none_or(|end| t.hash(i.key()) < end))
        );
        next = after;
    }
}

#[test]
fn it_is_a_map() {
    let mut rng = SeededRandom::new(3);
    for round in 0..4 {
        let mut t = Fields::new(Seed([round; 16]).into());
        let mut model = BTreeMap::new();
        let universe = [40, 3_000, 20_000, 60_000][usize::from(round)];
        for phase in 0..4 {
            for _ in 0..universe {
                let n = rng.below(universe);
                let expiry = (rng.below(3) == 0).then(|| rng.below(1000));
                let write = rng.below(10) < if phase % 2 == 0 { 8 } else { 2 };
                if write {
                    assert_eq!(put(&mut t, n, expiry), model.insert(n, expiry).is_some());
                } else if rng.below(4) == 0 {
                    let hash = t.hash(&n.to_le_bytes());
                    let found = t.set_expiry(hash, &n.to_le_bytes(), expiry);
                    assert_eq!(found, model.contains_key(&n));
                    model.entry(n).and_modify(|e| *e = expiry);
                } else {
                    assert_eq!(take(&mut t, n), model.remove(&n).is_some());
                }
                let hash = t.hash(&n.to_le_bytes());
                assert_eq!(
                    t.get(hash, &n.to_le_bytes()).map(Item::expiry),
                    model.get(&n).copied()
                );
            }
            check(&t, &model);
            let now = 200 * (phase + 1);
            let mut gone = BTreeSet::new();
            t.take_due(now, 50, &mut |i| assert!(gone.insert(key(&i))));
            t.take_due(now, usize::MAX, &mut |i| assert!(gone.insert(key(&i))));
            let due: BTreeSet<u64> = model
                .iter()
                .filter(|(_, e)| e.is_some_and(|ms| ms <= now))
                .map(|(n, _)| *n)
                .collect();
            assert_eq!(gone, due);
            model.retain(|n, _| !due.contains(n));
            check(&t, &model);
        }
        for n in 0..universe {
            assert_eq!(take(&mut t, n), model.remove(&n).is_some());
        }
        check(&t, &model);
        assert!(
            matches!(t.root, Child::Segment(_)),
            "an emptied table keeps its nodes"
        );
    }
}

#[test]
fn a_scan_sees_all_that_stays_while_the_table_changes() {
    let mut rng = SeededRandom::new(5);
    for round in 0..20 {
        let mut t = Fields::new(Seed([round; 16]).into());
        let stay = 1 + rng.below(5_000);
        for n in 0..stay {
            put(&mut t, n, None);
        }
        let mut others = stay;
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        let mut calls = 0;
        loop {
            cursor = t.scan(cursor, 1 + rng.below(300) as usize, |i| {
                seen.insert(key(i));
            });
            assert!(cursor < 1 << 53);
            calls += 1;
            if cursor == 0 || calls > 100_000 {
                break;
            }
            // Grow and shrink under the scan.
            if rng.below(2) == 0 {
                for _ in 0..rng.below(2_000) {
                    put(&mut t, others, None);
                    others += 1;
                }
            } else {
                for n in stay..others {
                    take(&mut t, n);
                }
            }
        }
        assert_eq!(cursor, 0, "the scan ends");
        assert!((0..stay).all(|n| seen.contains(&n)), "round {round}");
    }
}

#[test]
fn an_undisturbed_scan_sees_each_item_once() {
    let mut t = Fields::new(Seed([9; 16]).into());
    for n in 0..10_000 {
        put(&mut t, n, None);
    }
    let (mut cursor, mut seen) = (0, 0);
    loop {
        let before = seen;
        cursor = t.scan(cursor, 10, |_| seen += 1);
        assert!(seen - before <= 10 + 64, "a call stays near its COUNT");
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 10_000);
    // Any cursor at all is safe.
    for cursor in [1, 77, u64::MAX, 1 << 48, (1 << 48) - 1] {
        t.scan(cursor, 10, |_| {});
    }
}

#[test]
fn random_choice_is_even() {
    for len in [1u64, 7, 300, 2_000] {
        let mut t = Fields::new(Seed([1; 16]).into());
        for n in 0..len {
            put(&mut t, n, None);
        }
        let mut rng = SeededRandom::new(11);
        let mut hits = vec![0u32; len as usize];
        let each = 400;
        for _ in 0..len * each {
            hits[key(t.random(&mut rng).unwrap()) as usize] += 1;
        }
        // Chi-square: its mean is the degrees of freedom, its variance twice that.
        let chi: f64 = hits
            .iter()
            .map(|&h| (f64::from(h) - each as f64).powi(2) / each as f64)
            .sum();
        let df = len as f64 - 1.0;
        assert!(
            (chi - df).abs() <= 6.0 * (2.0 * df).sqrt() + 1.0,
            "len {len}: chi-square {chi}"
        );
    }
}

#[test]
fn one_insert_never_touches_more_than_a_segment() {
    // What bounds a stall: the most a single insert moves is one segment.
    let mut t = Fields::new(Seed([2; 16]).into());
    for n in 0..200_000 {
        put(&mut t, n, None);
    }
    fn largest(c: &Child<SmallEntry>) -> usize {
        match c {
            Child::Segment(s) => s.len(),
            Child::Node(n) => n.children.iter().map(largest).max().unwrap(),
        }
    }
    assert!(largest(&t.root) <= SEGMENT_CAP);
    let per_key = t.heap_bytes() as f64 / 200_000.0;
    assert!(per_key < 33.0, "{per_key} bytes a key");
}

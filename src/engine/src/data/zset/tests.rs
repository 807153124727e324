use super::*;
use crate::base::hash::Seed;
use crate::base::random::{Random, SeededRandom};

fn seed() -> HashKey {
    Seed([3; 16]).into()
}

/// Limits under which sets are large past `entries` members.
fn limits(entries: usize) -> Limits {
    Limits {
        zset_max_listpack_entries: entries,
        ..Limits::default()
    }
}

fn content(entry: &Entry) -> Vec<(f64, Vec<u8>)> {
    View::of(entry)
        .iter_from(0)
        .map(|(score, member)| (score, member.to_vec()))
        .collect()
}

#[test]
fn every_form_keeps_rank_order_and_agrees_with_a_model() {
    let mut rng = SeededRandom::new(11);
    for max in [0, 8, 500] {
        let limits = limits(max);
        let mut model: Vec<(f64, Vec<u8>)> = vec![(1.0, b"m0".to_vec())];
        let mut entry = single(b"key", &limits, seed(), 1.0, b"m0");
        for step in 0..4000 {
            let member = format!("m{}", rng.below(300));
            let member = member.as_bytes();
            // Scores of every packed length.
            let score = match rng.below(4) {
                0 => rng.below(5) as f64 - 2.0,
                1 => rng.below(1 << 40) as f64,
                2 => rng.below(1000) as f64 / 7.0,
                _ => f64::INFINITY,
            };
            let at = model.iter().position(|(_, m)| m == member);
            let old = at.map(|at| model[at].0);
            if rng.below(3) == 0 && model.len() > 1 {
                assert_eq!(remove(&mut entry, member), at.is_some());
                at.map(|at| model.remove(at));
            } else {
                let change = change(&mut entry, &limits, seed(), member, |seen| {
                    assert_eq!(seen, old);
                    Some(score)
                });
                assert_eq!(
                    change,
                    match old {
                        None => Change::Added,
                        Some(old) if old == score => Change::Same,
                        Some(_) => Change::Updated,
                    }
                );
                at.map(|at| model.remove(at));
                model.push((score, member.to_vec()));
                model.sort_by(|a, b| a.partial_cmp(b).unwrap());
            }
            if step % 97 == 0 {
                let from = rng.below(model.len() as u64) as usize;
                let to = (from + 2).min(model.len());
                if to - from < model.len() {
                    remove_ranks(&mut entry, from..to);
                    model.drain(from..to);
                }
            }
            assert_eq!(content(&entry), model, "limit {max}, step {step}");
            if let Entry::Small(small) = &entry {
                assert!(is_well_formed(small.payload()));
            }
            let view = View::of(&entry);
            assert_eq!(view.len(), model.len());
            let rank = rng.below(model.len() as u64) as usize;
            assert_eq!(
                view.rank_of(&model[rank].1),
                Some((rank, model[rank].0)),
                "rank of {rank}"
            );
        }
        assert_eq!(matches!(entry, Entry::Small(_)), max == 500);
    }
}

#[test]
fn a_walk_backwards_meets_every_rank() {
    for max in [0, 1000] {
        let members: Vec<String> = (0..400).map(|i| format!("{i:03}")).collect();
        let entries = || members.iter().map(|m| (7.0, m.as_bytes()));
        let entry = build(b"k", &limits(max), seed(), entries).unwrap();
        for ranks in [0..400, 0..0, 399..400, 0..1, 5..133, 5..134, 100..399] {
            let mut seen = Vec::new();
            View::of(&entry).visit(ranks.clone(), true, |_, m| seen.push(m.to_vec()));
            let want: Vec<_> = members[ranks].iter().rev().cloned().collect();
            assert_eq!(seen, want.iter().map(|m| m.as_bytes()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_large_set_is_built_only_from_sorted_members() {
    let build = |entries: &[(f64, &str)]| {
        let entries = entries.iter().map(|(s, m)| (*s, m.as_bytes()));
        let set = SortedSet::from_sorted(seed(), entries)?;
        Some(set.iter_from(0).map(|(s, _)| s).collect::<Vec<_>>())
    };
    assert_eq!(build(&[]), Some(vec![]));
    assert_eq!(
        build(&[(1.0, "b"), (1.0, "c"), (2.0, "a")]).unwrap().len(),
        3
    );
    assert_eq!(build(&[(1.0, "b"), (1.0, "a")]), None);
    assert_eq!(build(&[(1.0, "b"), (0.0, "c")]), None);
    assert_eq!(build(&[(1.0, "b"), (2.0, "b")]), None);
    assert_eq!(build(&[(f64::NAN, "b")]), None);
}

#[test]
fn foreign_bytes_are_refused() {
    let entry = build(b"k", &Limits::default(), seed(), || {
        [(1.0, &b"a"[..]), (1.5, b"b"), (1.5, b"c")].into_iter()
    });
    let Some(Entry::Small(small)) = entry else {
        panic!()
    };
    let payload = small.payload();
    assert!(is_well_formed(payload));
    for cut in 0..payload.len() {
        assert!(!is_well_formed(&payload[..cut]));
    }
    let mut longer = payload.to_vec();
    longer.push(0);
    assert!(!is_well_formed(&longer));
    // The last member made equal to the one before.
    let mut twice = payload.to_vec();
    *twice.last_mut().unwrap() = b'b';
    assert!(!is_well_formed(&twice));
}

//! Sets against a naive model, and what only sets have.

use std::collections::{BTreeSet, HashMap};

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};
use crate::data::entry::Entry;
use crate::data::value::Limits;

type Set = BTreeSet<Vec<u8>>;

fn bench(entries: usize) -> Bench {
    let mut bench = Bench::default();
    bench.limits = Limits {
        set_max_listpack_entries: entries,
        set_max_listpack_value: 12,
        ..Limits::default()
    };
    bench
}

fn is_large(bench: &Bench, key: &[u8]) -> bool {
    matches!(bench.space.peek(0, key), Some(Entry::Large(_)))
}

/// The members of a reply, sorted, which must all be different.
fn members(node: Node) -> Set {
    let (Node::Set(items) | Node::Array(items)) = node else {
        panic!("{node}");
    };
    let len = items.len();
    let set: Set = items
        .into_iter()
        .map(|i| match i {
            Node::Bulk(b) => b,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(set.len(), len, "a member twice");
    set
}

fn word(rng: &mut SeededRandom) -> Vec<u8> {
    let mut word = vec![0xff, b'a' + rng.below(24) as u8];
    if rng.below(60) == 0 {
        word.resize(13, b'x');
    }
    // Among them the empty member.
    word.drain(..usize::from(rng.below(9) == 0) * 2);
    word
}

fn algebra(name: &str, sets: &[Set]) -> Set {
    let (first, others) = sets.split_first().unwrap();
    let mut out = first.clone();
    for other in others {
        out = match name {
            "INTER" => &out & other,
            "UNION" => &out | other,
            _ => &out - other,
        };
    }
    out
}

fn run_model(seed: u64, entries: usize) {
    let mut rng = SeededRandom::new(seed);
    let mut bench = bench(entries);
    let mut model: HashMap<Vec<u8>, Set> = HashMap::new();
    let (mut saw_small, mut saw_large) = (false, false);
    for step in 0..4000 {
        let key = vec![b'k', b'0' + rng.below(4) as u8];
        let other = vec![b'k', b'0' + rng.below(4) as u8];
        let member = word(&mut rng);
        let context = format!("seed {seed}, step {step}");
        let mut set = model.remove(&key).unwrap_or_default();
        match rng.below(14) {
            0..3 => {
                let words: Vec<Vec<u8>> = (0..=rng.below(40)).map(|_| word(&mut rng)).collect();
                let mut args = vec![&b"SADD"[..], &key];
                args.extend(words.iter().map(|w| &w[..]));
                let added = words.iter().filter(|w| set.insert(w.to_vec())).count();
                assert_eq!(bench.argv(&args), Node::Int(added as i64), "{context}");
            }
            3..6 => {
                let words: Vec<Vec<u8>> = (0..=rng.below(10)).map(|_| word(&mut rng)).collect();
                let mut args = vec![&b"SREM"[..], &key];
                args.extend(words.iter().map(|w| &w[..]));
                let removed = words.iter().filter(|w| set.remove(*w)).count();
                assert_eq!(bench.argv(&args), Node::Int(removed as i64), "{context}");
            }
            6 => {
                let want = if set.is_empty() {
                    0
                } else if key == other {
                    i64::from(set.contains(&member))
                } else if set.remove(&member) {
                    model
                        .entry(other.clone())
                        .or_default()
                        .insert(member.clone());
                    1
                } else {
                    0
                };
                assert_eq!(
                    bench.argv(&[b"SMOVE", &key, &other, &member]),
                    Node::Int(want),
                    "{context}"
                );
            }
            7 => {
                let got = bench.argv(&[b"SPOP", &key]);
                match got {
                    Node::Null => assert!(set.is_empty(), "{context}"),
                    Node::Bulk(m) => assert!(set.remove(&m), "{context}"),
                    other => panic!("{other}"),
                }
                let n = rng.below(12);
                let got = members(bench.argv(&[b"SPOP", &key, n.to_string().as_bytes()]));
                assert_eq!(got.len(), set.len().min(n as usize), "{context}");
                assert!(got.iter().all(|m| set.remove(m)), "{context}");
            }
            8 => {
                let n = 1 + rng.below(30);
                let got = members(bench.argv(&[b"SRANDMEMBER", &key, n.to_string().as_bytes()]));
                assert_eq!(got.len(), set.len().min(n as usize), "{context}");
                assert!(got.is_subset(&set), "{context}");
                let minus = format!("-{n}");
                let Node::Array(got) = bench.argv(&[b"SRANDMEMBER", &key, minus.as_bytes()]) else {
                    panic!()
                };
                assert_eq!(
                    got.len(),
                    if set.is_empty() { 0 } else { n as usize },
                    "{context}"
                );
            }
            9 | 10 => {
                let name = ["INTER", "UNION", "DIFF"][rng.below(3) as usize];
                let keys: Vec<Vec<u8>> = (0..=rng.below(3))
                    .map(|_| vec![b'k', b'0' + rng.below(5) as u8])
                    .collect();
                if !set.is_empty() {
                    model.insert(key.clone(), set.clone());
                }
                let sets: Vec<Set> = keys
                    .iter()
                    .map(|k| model.get(k).cloned().unwrap_or_default())
                    .collect();
                let want = algebra(name, &sets);
                let command = format!("S{name}");
                let mut args = vec![command.as_bytes()];
                args.extend(keys.iter().map(|k| &k[..]));
                assert_eq!(members(bench.argv(&args)), want, "{context}");
                let command = format!("S{name}STORE");
                args[0] = command.as_bytes();
                args.insert(1, &key);
                assert_eq!(bench.argv(&args), Node::Int(want.len() as i64), "{context}");
                set = want;
                if name == "INTER" {
                    let n = keys.len().to_string();
                    let limit = rng.below(5);
                    let mut args = vec![&b"SINTERCARD"[..], n.as_bytes()];
                    args.extend(keys.iter().map(|k| &k[..]));
                    let digits = limit.to_string();
                    args.extend([&b"LIMIT"[..], digits.as_bytes()]);
                    // The destination may be among the sources.
                    model.insert(key.clone(), set.clone());
                    let sets: Vec<Set> = keys
                        .iter()
                        .map(|k| model.get(k).cloned().unwrap_or_default())
                        .collect();
                    let all = algebra(name, &sets).len() as i64;
                    let want = if limit == 0 {
                        all
                    } else {
                        all.min(limit as i64)
                    };
                    assert_eq!(bench.argv(&args), Node::Int(want), "{context}");
                }
            }
            11 => {
                assert_eq!(members(bench.argv(&[b"SMEMBERS", &key])), set, "{context}");
                assert_eq!(scan(&mut bench, &key, 2), set, "{context}");
            }
            12 => {
                let there = Node::Int(set.contains(&member).into());
                assert_eq!(
                    bench.argv(&[b"SISMEMBER", &key, &member]),
                    there,
                    "{context}"
                );
                assert_eq!(
                    bench.argv(&[b"SMISMEMBER", &key, b"none", &member]),
                    Node::Array(vec![Node::Int(0), there]),
                    "{context}"
                );
            }
            _ => assert_eq!(
                bench.argv(&[b"SCARD", &key]),
                Node::Int(set.len() as i64),
                "{context}"
            ),
        }
        model.remove(&key);
        if !set.is_empty() {
            model.insert(key.clone(), set);
        }
        let large = is_large(&bench, &key);
        saw_large |= large;
        saw_small |= !large && model.contains_key(&key);
        assert_eq!(
            bench.space.peek(0, &key).is_some(),
            model.contains_key(&key),
            "{context}"
        );
    }
    assert!(saw_small && saw_large);
    check_replay(&bench);
}

fn scan(bench: &mut Bench, key: &[u8], count: usize) -> Set {
    let mut all = Set::new();
    let mut cursor = b"0".to_vec();
    loop {
        let count = count.to_string();
        let Node::Array(mut reply) =
            bench.argv(&[b"SSCAN", key, &cursor, b"COUNT", count.as_bytes()])
        else {
            panic!()
        };
        all.extend(members(reply.remove(1)));
        let Node::Bulk(next) = reply.remove(0) else {
            panic!()
        };
        if next == b"0" {
            return all;
        }
        cursor = next;
    }
}

#[test]
fn random_commands_against_a_model() {
    for seed in 0..12 {
        run_model(seed, [5, 10, 23][seed as usize % 3]);
    }
}

#[test]
fn both_forms_answer_alike() {
    let lines = [
        "SADD s a b c d a",
        "SADD s d e",
        "SADD s a",
        "SADD t c d x",
        "SREM s a q a",
        "SMEMBERS s",
        "SCARD s",
        "SISMEMBER s b",
        "SMISMEMBER s a b q",
        "SINTER s t",
        "SUNION s t",
        "SDIFF s t",
        "SINTERCARD 2 s t",
        "SUNIONSTORE u s t",
        "SMEMBERS u",
        "SMOVE s t b",
        "SMEMBERS t",
        "SSCAN s 0 MATCH [cd]",
        "SRANDMEMBER s 10",
        "SPOP s 10",
        "SCARD s",
    ];
    let (mut small, mut large) = (bench(100), bench(0));
    for line in lines {
        let sorted = |bench: &mut Bench| {
            let reply = bench.run(line);
            let mut words: Vec<String> = reply.split([' ', '[', ']']).map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&mut small), sorted(&mut large), "{line}");
        assert!(!is_large(&small, b"s"));
        assert!(!is_large(&small, b"u"));
    }
    assert!(is_large(&large, b"t") && is_large(&large, b"u"));
    assert_eq!(small.trace.events, large.trace.events);
    assert_eq!(small.trace.effects, large.trace.effects);
}

fn effects(b: &Bench) -> Vec<String> {
    let words = b.trace.effects.iter();
    words
        .map(|(_, e)| String::from_utf8(e.join(&b' ')).unwrap())
        .collect()
}

#[test]
fn what_is_logged_and_told() {
    let mut b = Bench::default();
    for line in [
        "SADD s a",
        "SADD s a",
        "SREM s x",
        "SPOP s",
        "SADD s a b",
        "SPOP s 2",
        "SPOP s 2",
        "SADD s a",
        "SADD t a",
        "SMOVE s t a",
        "SMOVE s t a",
        "SINTERSTORE r t nokey",
        "SINTERSTORE r t",
        "SDIFFSTORE r t t",
        "SREM t a",
    ] {
        b.run(line);
    }
    assert_eq!(
        effects(&b),
        [
            "SADD s a",
            "SREM s a",
            "SADD s a b",
            "DEL s",
            "SADD s a",
            "SADD t a",
            "SMOVE s t a",
            "SINTERSTORE r t",
            "DEL r",
            "SREM t a",
        ]
    );
    assert_eq!(
        b.trace.events,
        [
            "Set:sadd:s",
            "Set:spop:s",
            "Generic:del:s",
            "Set:sadd:s",
            "Set:spop:s",
            "Generic:del:s",
            "Set:sadd:s",
            "Set:sadd:t",
            "Set:srem:s",
            "Generic:del:s",
            "Set:sinterstore:r",
            "Generic:del:r",
            "Set:srem:t",
            "Generic:del:t",
        ]
    );
    check_replay(&b);
}

#[test]
fn a_stored_set_has_no_expiry_and_a_due_source_is_gone() {
    let mut b = Bench::default();
    b.run("SET r v EX 10");
    b.run("SADD s a");
    assert_eq!(b.run("SUNIONSTORE r s"), "1");
    assert_eq!(b.space.peek(0, b"r").unwrap().expiry(), None);
    let at = 1_000_500;
    let table = b.space.db_mut(0);
    let hash = table.hash(b"s");
    table.set_expiry(hash, b"s", Some(at));
    b.clock.set_ms(at);
    assert_eq!(b.run("SINTERSTORE r s"), "0");
    assert!(b.space.is_empty());
    assert_eq!(effects(&b)[3..], ["DEL s", "DEL r"]);
}

#[test]
fn large_pops_are_logged_in_batches() {
    let mut b = Bench::default();
    for i in 0..6000 {
        b.run(&format!(
            "SADD s {}{i}",
            if i % 100 == 0 {
                "long".repeat(30)
            } else {
                String::new()
            }
        ));
    }
    b.trace.effects.clear();
    let before = members(b.argv(&[b"SMEMBERS", b"s"]));
    let popped = members(b.argv(&[b"SPOP", b"s", b"3500"]));
    let after = members(b.argv(&[b"SMEMBERS", b"s"]));
    assert_eq!(popped.len(), 3500);
    assert!(popped.is_disjoint(&after));
    assert_eq!(&popped | &after, before);
    let sizes: Vec<usize> = b.trace.effects.iter().map(|(_, e)| e.len() - 2).collect();
    assert_eq!(sizes, [1000, 1000, 1000, 500]);
    assert!(
        b.trace
            .effects
            .iter()
            .all(|(_, e)| e[0] == b"SREM" && e[1] == b"s")
    );
    let logged: Set = b
        .trace
        .effects
        .iter()
        .flat_map(|(_, e)| e[2..].to_vec())
        .collect();
    assert_eq!(logged, popped);
    assert_eq!(scan(&mut b, b"s", 50), after);
    assert_eq!(b.run("SPOP s 0"), "~[]");
    for _ in 0..2500 {
        assert_ne!(b.run("SPOP s"), "nil");
    }
    assert!(b.space.is_empty());
}

#[test]
fn every_member_is_as_likely() {
    for entries in [0, 1000] {
        let mut b = bench(entries);
        for i in 0..40 {
            b.run(&format!("SADD s {i}"));
        }
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        for _ in 0..3000 {
            // Popped ones go back, so that the set stays the same.
            let mut some = members(b.argv(&[b"SRANDMEMBER", b"s", b"7"]));
            let popped = members(b.argv(&[b"SPOP", b"s", b"4"]));
            for m in &popped {
                *seen.entry(m.clone()).or_default() += 1;
                b.argv(&[b"SADD", b"s", m]);
            }
            some.extend(members(Node::Array(vec![b.argv(&[b"SRANDMEMBER", b"s"])])));
            for m in some {
                *seen.entry(m).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), 40);
        // About 890 expected (the single one may be among the seven), with a
        // deviation of about 30.
        assert!(seen.values().all(|n| (750..1030).contains(n)), "{seen:?}");
    }
}

#[test]
fn differences_are_the_same_either_way() {
    let mut b = Bench::default();
    for i in 0..500 {
        b.run(&format!("SADD s {i}"));
    }
    let mut line = String::from("SDIFF s");
    for i in 0..50 {
        // Many small ones: they are put together before the first is walked.
        b.run(&format!("SADD t{i} {} {}", i * 3, 1000 + i));
        line.push_str(&format!(" t{i}"));
    }
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let got = members(b.argv(&args));
    let want: Set = (0..500u32)
        .filter(|i| i % 3 != 0 || *i >= 150)
        .map(|i| i.to_string().into_bytes())
        .collect();
    assert_eq!(got, want);
}

//! Hashes against a naive model, and what only hashes have.

use std::collections::{BTreeMap, HashMap};

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};
use crate::data::entry::Entry;
use crate::data::value::Limits;

type Model = HashMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn bulk(bytes: &[u8]) -> Node {
    Node::Bulk(bytes.to_vec())
}

/// Small bounds, so that hashes outgrow them often.
fn bench(entries: usize) -> Bench {
    let mut bench = Bench::default();
    bench.limits = Limits {
        hash_max_listpack_entries: entries,
        hash_max_listpack_value: 12,
        ..Limits::default()
    };
    bench
}

fn is_large(bench: &Bench, key: &[u8]) -> bool {
    matches!(bench.space.peek(0, key), Some(Entry::Large(_)))
}

/// A flat reply of fields and values, as pairs in the order of fields.
fn pairs(node: Node) -> Vec<(Node, Node)> {
    let (Node::Map(items) | Node::Array(items)) = node else {
        panic!("{node}");
    };
    let mut pairs: Vec<(Node, Node)> = items
        .chunks(2)
        .map(|p| (p[0].clone(), p[1].clone()))
        .collect();
    pairs.sort_by_key(|p| p.0.to_string());
    pairs
}

fn word(rng: &mut SeededRandom, prefix: u8, kinds: u64) -> Vec<u8> {
    let n = rng.below(kinds);
    let mut word = vec![prefix, b'a' + n as u8, 0, 0xff];
    // A few are too long to be packed, many share their length.
    if rng.below(60) == 0 {
        word.resize(13 + n as usize * 20, b'x');
    }
    word.truncate(1 + word.len().max(2) - 2);
    word
}

fn run_model(seed: u64, entries: usize, keys: u64) {
    let mut rng = SeededRandom::new(seed);
    let mut bench = bench(entries);
    let mut model = Model::new();
    let (mut saw_small, mut saw_large) = (false, false);
    for step in 0..4000 {
        let key = vec![b'k', b'0' + rng.below(keys) as u8];
        let field = word(&mut rng, b'f', 20);
        let value = word(&mut rng, b'v', 20);
        let hash = model.get(&key);
        let old = hash.and_then(|h| h.get(&field)).cloned();
        let context = format!("seed {seed}, step {step}");
        match rng.below(14) {
            0..3 => {
                let mut args = vec![
                    if rng.below(4) == 0 {
                        &b"HMSET"[..]
                    } else {
                        b"HSET"
                    },
                    &key,
                ];
                let more: Vec<Vec<u8>> = (0..rng.below(40))
                    .map(|i| word(&mut rng, if i % 2 == 0 { b'f' } else { b'v' }, 20))
                    .collect();
                let all: Vec<&[u8]> = [&field, &value]
                    .into_iter()
                    .chain(&more)
                    .map(|w| &w[..])
                    .collect();
                let all = &all[..all.len() / 2 * 2];
                args.extend(all);
                let hash = model.entry(key.clone()).or_default();
                let before = hash.len();
                for pair in all.chunks(2) {
                    hash.insert(pair[0].to_vec(), pair[1].to_vec());
                }
                let want = match args[0] {
                    b"HSET" => Node::Int((hash.len() - before) as i64),
                    _ => Node::Simple("OK"),
                };
                assert_eq!(bench.argv(&args), want, "{context}");
            }
            3 => {
                let want = i64::from(old.is_none());
                if old.is_none() {
                    model
                        .entry(key.clone())
                        .or_default()
                        .insert(field.clone(), value.clone());
                }
                assert_eq!(
                    bench.argv(&[b"HSETNX", &key, &field, &value]),
                    Node::Int(want),
                    "{context}"
                );
            }
            4 => {
                let want = old.as_deref().map_or(Node::Null, bulk);
                assert_eq!(bench.argv(&[b"HGET", &key, &field]), want, "{context}");
                assert_eq!(
                    bench.argv(&[b"HSTRLEN", &key, &field]),
                    Node::Int(old.as_ref().map_or(0, Vec::len) as i64)
                );
                assert_eq!(
                    bench.argv(&[b"HEXISTS", &key, &field]),
                    Node::Int(old.is_some().into())
                );
            }
            5..9 => {
                let fields: Vec<Vec<u8>> = (0..=rng.below(8))
                    .map(|_| word(&mut rng, b'f', 20))
                    .collect();
                let mut args = vec![&b"HDEL"[..], &key];
                args.extend(fields.iter().map(|f| &f[..]));
                let mut removed = 0;
                if let Some(hash) = model.get_mut(&key) {
                    removed = fields.iter().filter(|f| hash.remove(*f).is_some()).count();
                    if hash.is_empty() {
                        model.remove(&key);
                    }
                }
                assert_eq!(bench.argv(&args), Node::Int(removed as i64), "{context}");
            }
            9 => {
                let hash = model.entry(key.clone()).or_default();
                let n = rng.below(200) as i64 - 100;
                let field = b"n".to_vec();
                let old = hash
                    .get(&field)
                    .map_or(0, |v| String::from_utf8_lossy(v).parse::<i64>().unwrap());
                hash.insert(field.clone(), (old + n).to_string().into_bytes());
                let by = n.to_string();
                assert_eq!(
                    bench.argv(&[b"HINCRBY", &key, &field, by.as_bytes()]),
                    Node::Int(old + n),
                    "{context}"
                );
            }
            10 => {
                let got = bench.argv(&[b"HRANDFIELD", &key]);
                let known = hash.is_none() && got == Node::Null
                    || hash.is_some_and(|h| h.keys().any(|f| bulk(f) == got));
                assert!(known, "{context}: {got}");
                let len = hash.map_or(0, BTreeMap::len);
                let n = 1 + rng.below(30);
                let got = pairs(bench.argv(&[
                    b"HRANDFIELD",
                    &key,
                    n.to_string().as_bytes(),
                    b"WITHVALUES",
                ]));
                assert_eq!(got.len(), len.min(n as usize), "{context}");
                assert!(
                    got.windows(2).all(|w| w[0].0 != w[1].0),
                    "{context}: twice the same"
                );
                let minus = format!("-{n}");
                let more =
                    pairs(bench.argv(&[b"HRANDFIELD", &key, minus.as_bytes(), b"WITHVALUES"]));
                assert_eq!(
                    more.len(),
                    if len == 0 { 0 } else { n as usize },
                    "{context}"
                );
                for (field, value) in got.into_iter().chain(more) {
                    let Node::Bulk(field) = field else { panic!() };
                    assert_eq!(bulk(&hash.unwrap()[&field]), value, "{context}");
                }
            }
            11 => {
                let want: Vec<(Node, Node)> = hash
                    .into_iter()
                    .flatten()
                    .map(|(f, v)| (bulk(f), bulk(v)))
                    .collect();
                let mut sorted = want.clone();
                sorted.sort_by_key(|p| p.0.to_string());
                assert_eq!(pairs(bench.argv(&[b"HGETALL", &key])), sorted, "{context}");
                let scanned = scan(&mut bench, &key, 3);
                assert_eq!(scanned, sorted, "{context}");
            }
            12 => {
                let Node::Array(fields) = bench.argv(&[b"HKEYS", &key]) else {
                    panic!()
                };
                let Node::Array(values) = bench.argv(&[b"HVALS", &key]) else {
                    panic!()
                };
                assert_eq!(fields.len(), values.len());
                let both = fields
                    .into_iter()
                    .zip(values)
                    .flat_map(|(f, v)| [f, v])
                    .collect();
                assert_eq!(
                    pairs(Node::Array(both)),
                    pairs(bench.argv(&[b"HGETALL", &key])),
                    "{context}"
                );
            }
            _ => {
                let len = hash.map_or(0, BTreeMap::len);
                assert_eq!(
                    bench.argv(&[b"HLEN", &key]),
                    Node::Int(len as i64),
                    "{context}"
                );
                let both = Node::Array(vec![old.as_deref().map_or(Node::Null, bulk), Node::Null]);
                assert_eq!(
                    bench.argv(&[b"HMGET", &key, &field, b"none"]),
                    both,
                    "{context}"
                );
            }
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

fn scan(bench: &mut Bench, key: &[u8], count: usize) -> Vec<(Node, Node)> {
    let mut all = Vec::new();
    let mut cursor = b"0".to_vec();
    loop {
        let count = count.to_string();
        let Node::Array(mut reply) =
            bench.argv(&[b"HSCAN", key, &cursor, b"COUNT", count.as_bytes()])
        else {
            panic!()
        };
        all.extend(pairs(reply.remove(1)));
        let Node::Bulk(next) = reply.remove(0) else {
            panic!()
        };
        if next == b"0" {
            break;
        }
        cursor = next;
    }
    all.sort_by_key(|p| p.0.to_string());
    all
}

#[test]
fn random_commands_against_a_model() {
    for seed in 0..12 {
        run_model(seed, [6, 12, 40][seed as usize % 3], 3);
    }
}

#[test]
fn both_forms_answer_alike() {
    let lines = [
        "HSET h a 1 b 2 c 3 a 4",
        "HSET h a 5",
        "HSET h b longer",
        "HSETNX h d 4",
        "HSETNX h d 5",
        "HINCRBY h a 10",
        "HINCRBYFLOAT h c 0.5",
        "HDEL h b x b",
        "HGETALL h",
        "HMGET h a b c d",
        "HLEN h",
        "HSTRLEN h c",
        "HEXISTS h b",
        "HINCRBY h c 1",
        "HSCAN h 0 MATCH [ad]",
        "HRANDFIELD h 3",
        "HDEL h a c d",
        "HGETALL h",
        "HLEN h",
    ];
    let (mut small, mut large) = (bench(100), bench(0));
    for line in lines {
        let sorted = |bench: &mut Bench| {
            let reply = bench.run(line);
            let mut words: Vec<String> = reply
                .split([' ', '[', ']', '{', '}'])
                .map(str::to_owned)
                .collect();
            words.sort();
            words
        };
        assert_eq!(sorted(&mut small), sorted(&mut large), "{line}");
        assert!(!is_large(&small, b"h"));
        assert!(is_large(&large, b"h") || large.space.is_empty());
    }
    assert_eq!(small.trace.events, large.trace.events);
    assert_eq!(small.trace.effects, large.trace.effects);
}

#[test]
fn what_is_logged_and_told() {
    let mut b = Bench::default();
    for line in [
        "HSET h f 1",
        "HSETNX h f 2",
        "HDEL h x",
        "HINCRBY h f x",
        "HINCRBYFLOAT h f 0.25",
        "HINCRBY h f 1",
        "HDEL h f",
        "HDEL h f",
        "HGETALL h",
    ] {
        b.run(line);
    }
    let words: Vec<String> = b
        .trace
        .effects
        .iter()
        .map(|(_, e)| String::from_utf8(e.join(&b' ')).unwrap())
        .collect();
    assert_eq!(words, ["HSET h f 1", "HSET h f 1.25", "HDEL h f"]);
    assert_eq!(
        b.trace.events,
        [
            "Hash:hset:h",
            "Hash:hincrbyfloat:h",
            "Hash:hdel:h",
            "Generic:del:h"
        ]
    );
    check_replay(&b);
}

#[test]
fn pairs_nest_for_resp3_only() {
    let mut b = Bench::default();
    b.run("HSET h f v");
    assert_eq!(b.run("HRANDFIELD h -2 WITHVALUES"), r#"["f" "v" "f" "v"]"#);
    b.resp3 = true;
    assert_eq!(
        b.run("HRANDFIELD h -2 WITHVALUES"),
        r#"[["f" "v"] ["f" "v"]]"#
    );
    assert_eq!(b.run("HRANDFIELD h 5 withvalues"), r#"[["f" "v"]]"#);
    assert_eq!(b.run("HRANDFIELD h 5"), r#"["f"]"#);
}

#[test]
fn every_field_is_as_likely() {
    for entries in [0, 1000] {
        let mut b = bench(entries);
        for i in 0..40 {
            b.run(&format!("HSET h f{i} v"));
        }
        let mut seen: HashMap<String, u32> = HashMap::new();
        for _ in 0..4000 {
            *seen.entry(b.run("HRANDFIELD h")).or_default() += 1;
            let Node::Array(fields) = b.argv(&[b"HRANDFIELD", b"h", b"10"]) else {
                panic!()
            };
            for f in fields {
                *seen.entry(f.to_string()).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), 40);
        // 1100 expected, with a deviation of about 32.
        assert!(seen.values().all(|n| (940..1260).contains(n)), "{seen:?}");
    }
}

#[test]
fn a_hash_of_many_fields_is_scanned_whole() {
    let mut b = Bench::default();
    for i in 0..5000 {
        b.run(&format!("HSET h field:{i} {i}"));
    }
    let all = scan(&mut b, b"h", 100);
    assert_eq!(all.len(), 5000);
    assert_eq!(all, pairs(b.argv(&[b"HGETALL", b"h"])));
    b.run("HDEL h field:7");
    check_replay(&b);
}

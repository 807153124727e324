//! Keys of any kind against a naive model, with time passing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};
use crate::data::entry::Entry;
use crate::data::value::Kind;

/// Value and expiry of every key that hasn't ended.
type Model = BTreeMap<(u32, String), (String, Option<i64>)>;

fn drop_ended(model: &mut Model, now: i64) {
    model.retain(|_, (_, at)| at.is_none_or(|at| at > now));
}

/// What Redis would answer.
fn expected(model: &mut Model, db: u32, now: i64, line: &str) -> Node {
    drop_ended(model, now);
    let words: Vec<&str> = line.split(' ').collect();
    let int = |i: usize| words[i].parse::<i64>().unwrap();
    let has = |word: &str| words[3..].contains(&word);
    let at = |i: usize| (db, words[i].to_string());
    let yes = |yes: bool| Node::Int(i64::from(yes));
    let ok = Node::Simple("OK");
    match words[0] {
        "SET" => {
            let ms = words.get(4).map(|ms| ms.parse::<i64>().unwrap());
            model.insert(at(1), (words[2].into(), ms.map(|ms| now + ms)));
            ok
        }
        "GET" => match model.get(&at(1)) {
            Some((value, _)) => Node::Bulk(value.clone().into()),
            None => Node::Null,
        },
        "DEL" => Node::Int(
            (1..words.len())
                .filter(|i| model.remove(&at(*i)).is_some())
                .count() as i64,
        ),
        "EXISTS" => Node::Int(
            (1..words.len())
                .filter(|i| model.contains_key(&at(*i)))
                .count() as i64,
        ),
        "PTTL" => Node::Int(match model.get(&at(1)) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, Some(end))) => end - now,
        }),
        "PERSIST" => yes(model.get_mut(&at(1)).is_some_and(|e| e.1.take().is_some())),
        "PEXPIRE" | "PEXPIREAT" => {
            let end = int(2) + if words[0] == "PEXPIRE" { now } else { 0 };
            let Some((_, expiry)) = model.get_mut(&at(1)) else {
                return Node::Int(0);
            };
            let old = expiry.unwrap_or(i64::MAX);
            let fits = (!has("NX") || expiry.is_none())
                && (!has("XX") || expiry.is_some())
                && (!has("GT") || end > old)
                && (!has("LT") || end < old);
            if fits {
                *expiry = Some(end);
            }
            yes(fits)
        }
        "RENAME" | "RENAMENX" => {
            let nx = words[0] == "RENAMENX";
            if !model.contains_key(&at(1)) {
                return Node::Error("ERR no such key".into());
            }
            let stays = nx && model.contains_key(&at(2));
            if !stays && let Some(value) = model.remove(&at(1)) {
                model.insert(at(2), value);
            }
            if nx { yes(!stays) } else { ok }
        }
        "COPY" | "MOVE" => {
            let copies = words[0] == "COPY";
            let to = if copies {
                (int(4) as u32, words[2].to_string())
            } else {
                (int(2) as u32, words[1].to_string())
            };
            if to.0 == db && (!copies || to.1 == words[1]) {
                let text = "ERR source and destination objects are the same";
                return Node::Error(text.into());
            }
            let free = !model.contains_key(&to) || (copies && has("REPLACE"));
            let found = model.get(&at(1)).cloned().filter(|_| free);
            if let Some(value) = &found {
                model.insert(to, value.clone());
                if !copies {
                    model.remove(&at(1));
                }
            }
            yes(found.is_some())
        }
        "SWAPDB" => {
            let (a, b) = (int(1) as u32, int(2) as u32);
            *model = std::mem::take(model)
                .into_iter()
                .map(|((db, key), value)| {
                    let db = match db {
                        db if db == a => b,
                        db if db == b => a,
                        db => db,
                    };
                    ((db, key), value)
                })
                .collect();
            ok
        }
        "FLUSHDB" => {
            model.retain(|(other, _), _| *other != db);
            ok
        }
        "FLUSHALL" => {
            model.clear();
            ok
        }
        other => panic!("{other}"),
    }
}

fn random_line(rng: &mut SeededRandom, now: u64) -> String {
    const SHAPES: [&str; 22] = [
        "SET k v",
        "SET k v",
        "SET k v PX t",
        "SET k v PX t",
        "GET k",
        "DEL k k",
        "EXISTS k k k",
        "PTTL k",
        "PTTL k",
        "PERSIST k",
        "PEXPIRE k t",
        "PEXPIRE k t o",
        "PEXPIRE k t XX o",
        "PEXPIREAT k a o",
        "PEXPIRE k -5",
        "RENAME k k",
        "RENAMENX k k",
        "COPY k k DB d",
        "COPY k k DB d REPLACE",
        "MOVE k d",
        "SWAPDB d d",
        "FLUSHDB",
    ];
    let shape = match rng.below(200) {
        0 => "FLUSHALL",
        _ => SHAPES[rng.below(SHAPES.len() as u64) as usize],
    };
    let mut words = Vec::new();
    for word in shape.split(' ') {
        words.push(match word {
            "k" => format!("key{}", rng.below(8)),
            "v" => "v".repeat(1 + rng.below(9) as usize),
            "t" => (1 + rng.below(300)).to_string(),
            "a" => (now - 50 + rng.below(300)).to_string(),
            "o" => ["XX", "GT", "LT"][rng.below(3) as usize].to_string(),
            "d" => rng.below(3).to_string(),
            word => word.to_string(),
        });
    }
    words.join(" ")
}

#[test]
fn answers_like_the_model_while_time_passes() {
    for seed in 0..20 {
        let mut rng = SeededRandom::new(seed);
        let mut model = Model::new();
        let mut bench = Bench::default();
        bench.limits.string_max_small = 4;
        let mut now = 1_000_000;
        for step in 0..3000 {
            now += rng.below(8);
            bench.clock.set_ms(now);
            bench.db = rng.below(3) as u32;
            let line = random_line(&mut rng, now);
            let want = expected(&mut model, bench.db, now as i64, &line);
            assert_eq!(
                bench.run(&line),
                want.to_string(),
                "seed {seed}, step {step}: {line}"
            );
            if step % 100 == 0 {
                drop_ended(&mut model, now as i64);
                let live: BTreeSet<String> = model
                    .keys()
                    .filter(|(db, _)| *db == bench.db)
                    .map(|(_, key)| key.clone())
                    .collect();
                assert_eq!(listed(&mut bench, &["KEYS", "*"]), live);
                assert_eq!(scanned(&mut bench, 2), live);
                let random = bench.run("RANDOMKEY");
                assert!(
                    live.contains(random.trim_matches('"')) || live.is_empty() && random == "nil"
                );
            }
        }
        check_replay(&bench);
    }
}

fn names(node: Node) -> BTreeSet<String> {
    let Node::Array(items) = node else {
        panic!("{node}")
    };
    let name = |item: &Node| item.to_string().trim_matches('"').to_string();
    items.iter().map(name).collect()
}

fn listed(bench: &mut Bench, words: &[&str]) -> BTreeSet<String> {
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
    names(bench.argv(&words))
}

fn scanned(bench: &mut Bench, count: usize) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut cursor = "0".to_string();
    loop {
        let line = format!("SCAN {cursor} COUNT {count}");
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let Node::Array(mut parts) = bench.argv(&words) else {
            panic!()
        };
        all.extend(names(parts.remove(1)));
        cursor = parts[0].to_string().trim_matches('"').to_string();
        if cursor == "0" {
            return all;
        }
    }
}

#[test]
fn a_scan_sees_every_key_of_a_big_database() {
    let mut bench = Bench::default();
    for i in 0..5000 {
        bench.run(&format!("SET key{i} v"));
    }
    for count in [1, 10, 1000, 100_000] {
        assert_eq!(scanned(&mut bench, count).len(), 5000);
    }
    assert_eq!(listed(&mut bench, &["KEYS", "key1?"]).len(), 10);
}

#[test]
fn scanning_skips_ended_keys_and_leaves_them() {
    let mut bench = Bench::default();
    bench.run("SET a 1 PX 5");
    bench.run("SET b 1");
    bench.clock.advance_ms(10);
    assert_eq!(bench.run("KEYS *"), "[\"b\"]");
    assert_eq!(bench.run("SCAN 0 COUNT 100"), "[\"0\" [\"b\"]]");
    assert_eq!(bench.run("DBSIZE"), "2");
    for _ in 0..20 {
        assert_eq!(bench.run("RANDOMKEY"), "\"b\"");
    }
    assert_eq!(bench.run("DBSIZE"), "1", "RANDOMKEY met it and removed it");
    check_replay(&bench);
}

#[test]
fn the_empty_key_is_matched_by_a_star_only() {
    let mut bench = Bench::default();
    bench.run("SET \"\" v");
    assert_eq!(bench.run("KEYS *"), "[\"\"]");
    assert_eq!(bench.run("KEYS **"), "[]");
    assert_eq!(bench.run("SCAN 0 COUNT 99 MATCH *"), "[\"0\" [\"\"]]");
}

#[test]
fn what_the_log_and_watchers_are_told() {
    for (line, log, events) in [
        ("DEL a none", "0 DEL a none", "Generic:del:a"),
        (
            "UNLINK a b a",
            "0 UNLINK a b a",
            "Generic:del:a Generic:del:b",
        ),
        ("EXPIRE a 10", "0 PEXPIREAT a 1010000", "Generic:expire:a"),
        ("EXPIRE a 10 XX", "", ""),
        ("EXPIRE a -1", "0 DEL a", "Generic:del:a"),
        ("PERSIST a", "", ""),
        ("PERSIST t", "0 PERSIST t", "Generic:persist:t"),
        (
            "RENAME a t",
            "0 RENAME a t",
            "Generic:rename_from:a Generic:rename_to:t",
        ),
        ("RENAME a a", "", ""),
        ("RENAMENX a t", "", ""),
        ("COPY a b DB 1", "0 COPY a b DB 1", "Generic:copy_to:b"),
        ("COPY a t", "", ""),
        (
            "MOVE a 1",
            "0 MOVE a 1",
            "Generic:move_from:a Generic:move_to:a",
        ),
        (
            "SWAPDB 0 1",
            "0 SWAPDB 0 1",
            "replaced:0:3 by 0 replaced:1:0 by 3",
        ),
        ("SWAPDB 1 1", "", ""),
        ("SWAPDB 1 2", "", ""),
        ("FLUSHDB", "0 FLUSHDB", "replaced:0:3 by 0"),
        ("FLUSHALL ASYNC", "0 FLUSHALL ASYNC", "replaced:0:3 by 0"),
    ] {
        let mut bench = Bench::default();
        for line in ["SET a 1", "SET b 2", "SET t 3 EX 100"] {
            bench.run(line);
        }
        bench.trace.events.clear();
        let before = bench.trace.effects.len();
        bench.run(line);
        let effects: Vec<String> = bench.trace.effects[before..]
            .iter()
            .map(|(db, words)| format!("{db} {}", words.join(&b' ').escape_ascii()))
            .collect();
        assert_eq!(effects.join("|"), log, "{line}");
        assert_eq!(bench.trace.events.join(" "), events, "{line}");
        check_replay(&bench);
    }
}

#[test]
fn a_rename_over_an_ended_key_tells_so_first() {
    let mut bench = Bench::default();
    bench.run("SET a 1");
    bench.run("SET b 2 PX 5");
    bench.clock.advance_ms(10);
    bench.trace.events.clear();
    bench.run("RENAME a b");
    assert_eq!(
        bench.trace.events.join(" "),
        "Expired:expired:b Generic:rename_from:a Generic:rename_to:b"
    );
    check_replay(&bench);
}

#[test]
fn replay_ends_no_key_by_itself() {
    let mut bench = Bench::default();
    let words = |line: &str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
    bench.replay(&[
        (0, words("SET a 1")),
        (0, words("PEXPIREAT a -5")),
        (0, words("INCR a")),
        (0, words("SWAPDB 0 40")),
    ]);
    assert_eq!(bench.space.db(40).unwrap().len(), 1);
}

#[test]
fn every_kind_can_be_renamed_and_copied() {
    let mut bench = Bench::default();
    let table = bench.space.db_mut(0);
    let hash = table.hash(b"l");
    let payload = b"\x01\x00\x01x";
    table.insert(
        hash,
        Entry::small(Kind::List, b"l", Some(1 << 60), &[payload]),
    );
    for (line, want) in [
        ("COPY l m", "1"),
        ("RENAME m n", "OK"),
        ("TYPE n", "list"),
        ("PEXPIRETIME n", "1152921504606846976"),
        ("SCAN 0 COUNT 99 TYPE string", "[\"0\" []]"),
        ("MOVE n 1", "1"),
        ("DBSIZE", "1"),
    ] {
        assert_eq!(bench.run(line), want, "{line}");
    }
}

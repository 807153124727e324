//! Strings against a naive model, in every form.

use std::collections::HashMap;

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};
use crate::data::entry::{Entry, Payload};
use crate::data::value::Kind;

type Model = HashMap<Vec<u8>, Vec<u8>>;

const OK: Node = Node::Simple("OK");
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";

fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let n: i64 = text.parse().ok()?;
    (n.to_string() == text).then_some(n)
}

fn bulk(value: Option<Vec<u8>>) -> Node {
    value.map_or(Node::Null, Node::Bulk)
}

/// What Redis would answer.
fn expected(model: &mut Model, args: &[Vec<u8>]) -> Node {
    let key = args[1].clone();
    let old = model.get(&key).cloned();
    let text = old.clone().unwrap_or_default();
    let arg_int = |i: usize| number(&args[i]).unwrap();
    match args[0].as_slice() {
        b"SET" => {
            model.insert(key, args[2].clone());
            OK
        }
        b"GET" => bulk(old),
        b"GETSET" => bulk(model.insert(key, args[2].clone())),
        b"GETDEL" => bulk(model.remove(&key)),
        b"STRLEN" => Node::Int(text.len() as i64),
        b"SETNX" => {
            if old.is_none() {
                model.insert(key, args[2].clone());
            }
            Node::Int(i64::from(old.is_none()))
        }
        b"MSETNX" => {
            let none = !args[1..].iter().step_by(2).any(|k| model.contains_key(k));
            for pair in args[1..].chunks(2).filter(|_| none) {
                model.insert(pair[0].clone(), pair[1].clone());
            }
            Node::Int(i64::from(none))
        }
        b"MGET" => Node::Array(
            args[1..]
                .iter()
                .map(|k| bulk(model.get(k).cloned()))
                .collect(),
        ),
        b"APPEND" => {
            let new = [text, args[2].clone()].concat();
            model.insert(key, new.clone());
            Node::Int(new.len() as i64)
        }
        b"SETRANGE" => {
            let (at, part) = (arg_int(2) as usize, &args[3]);
            let mut new = text;
            if !part.is_empty() {
                new.resize(new.len().max(at + part.len()), 0);
                new[at..at + part.len()].copy_from_slice(part);
                model.insert(key, new.clone());
            }
            Node::Int(new.len() as i64)
        }
        b"GETRANGE" => {
            let (start, end, len) = (arg_int(2), arg_int(3), text.len() as i64);
            let place = |n: i64| if n < 0 { (len + n).max(0) } else { n };
            let inverted = start < 0 && end < 0 && start > end;
            Node::Bulk(
                text.iter()
                    .zip(0..)
                    .filter(|(_, i)| !inverted && place(start) <= *i && *i <= place(end))
                    .map(|(b, _)| *b)
                    .collect(),
            )
        }
        b"INCRBY" => match old.map_or(Some(0), |text| number(&text)) {
            None => Node::Error(NOT_INTEGER.into()),
            Some(n) => match n.checked_add(arg_int(2)) {
                None => Node::Error("ERR increment or decrement would overflow".into()),
                Some(sum) => {
                    model.insert(key, sum.to_string().into());
                    Node::Int(sum)
                }
            },
        },
        other => panic!("{}", other.escape_ascii()),
    }
}

fn random_command(rng: &mut SeededRandom) -> Vec<Vec<u8>> {
    const NAMES: [(&str, &str); 14] = [
        ("SET", "kv"),
        ("SET", "ki"),
        ("GET", "k"),
        ("GETSET", "kv"),
        ("GETDEL", "k"),
        ("STRLEN", "k"),
        ("SETNX", "kv"),
        ("MSETNX", "kvkv"),
        ("MGET", "kkk"),
        ("APPEND", "kv"),
        ("SETRANGE", "kpv"),
        ("GETRANGE", "knn"),
        ("INCRBY", "ki"),
        ("INCRBY", "kn"),
    ];
    let (name, shape) = NAMES[rng.below(NAMES.len() as u64) as usize];
    let mut args = vec![name.as_bytes().to_vec()];
    for kind in shape.chars() {
        let small = rng.below(24) as i64;
        args.push(match kind {
            'k' => format!("key{}", rng.below(6)).into(),
            'v' => vec![b'a' + small as u8; rng.below(12) as usize],
            'p' => small.to_string().into(),
            'n' => (small - 12).to_string().into(),
            _ => ((rng.next_u64() >> rng.below(64)) as i64)
                .to_string()
                .into(),
        });
    }
    args
}

#[test]
fn every_form_answers_like_the_model() {
    for seed in 0..20 {
        let mut rng = SeededRandom::new(seed);
        let mut model = Model::new();
        let mut benches = [0, 5, 10, 16384].map(|max| {
            let mut bench = Bench::default();
            bench.limits.string_max_small = max;
            bench
        });
        for step in 0..2000 {
            let args = random_command(&mut rng);
            let want = expected(&mut model, &args);
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            for bench in &mut benches {
                let got = bench.argv(&args);
                let line = args.join(&b' ').escape_ascii().to_string();
                assert_eq!(got, want, "seed {seed}, step {step}: {line}");
            }
        }
        benches.iter().for_each(check_replay);
    }
}

#[test]
fn what_the_log_says() {
    for (lines, want) in [
        (&["SET k v NX GET"][..], "SET k v"),
        (&["SET k v EX 10"], "SET k v PXAT 1010000"),
        (&["SET k v EXAT 1"], "SET k v PXAT 1000"),
        (&["SET k v KEEPTTL"], "SET k v"),
        (
            &["SETEX k 1 v", "SET k w KEEPTTL"],
            "SET k v PXAT 1001000|SET k w KEEPTTL",
        ),
        (&["PSETEX k 5 v"], "SET k v PXAT 1000005"),
        (&["SET k v", "SETNX k w", "SET k w NX"], "SET k v"),
        (&["MSETNX a 1 b 2", "MSETNX b 1"], "MSET a 1 b 2"),
        (&["GETSET k v", "GETDEL k", "GETDEL k"], "SET k v|DEL k"),
        (
            &[
                "SET k v",
                "GETEX k",
                "GETEX k PERSIST",
                "GETEX k PX 5",
                "GETEX k PERSIST",
            ],
            "SET k v|PEXPIREAT k 1000005|PERSIST k",
        ),
        (&["SET k v", "GETEX k PXAT 5"], "SET k v|DEL k"),
        (
            &["INCR k", "DECRBY k 2", "APPEND k a", "INCR k"],
            "INCR k|DECRBY k 2|APPEND k a",
        ),
        (&["INCRBYFLOAT k 1.50"], "SET k 1.5 KEEPTTL"),
        (&["SETRANGE k 1 \"\"", "SETRANGE k 1 a"], "SETRANGE k 1 a"),
        (
            &["SET k v EXAT 1", "SET k w"],
            "SET k v PXAT 1000|DEL k|SET k w",
        ),
    ] {
        let mut bench = Bench::default();
        for line in lines {
            bench.run(line);
        }
        let effects: Vec<String> = bench
            .trace
            .effects
            .iter()
            .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
            .collect();
        assert_eq!(effects.join("|"), want, "{lines:?}");
        check_replay(&bench);
    }
}

#[test]
fn events_are_those_of_redis() {
    let mut bench = Bench::default();
    for (line, want) in [
        ("SET k v EX 10", "String:set:k Generic:expire:k"),
        ("SET k w KEEPTTL", "String:set:k"),
        ("SET k w NX", ""),
        ("GETEX k EX 5", "Generic:expire:k"),
        ("GETEX k PERSIST", "Generic:persist:k"),
        ("GETEX k EXAT 1", "Generic:del:k"),
        ("MSET a 1 b 2", "String:set:a String:set:b"),
        ("INCR a", "String:incrby:a"),
        ("INCRBYFLOAT a 1", "String:incrbyfloat:a"),
        ("APPEND a 1", "String:append:a"),
        ("SETRANGE a 1 \"\"", ""),
        ("SETRANGE a 1 x", "String:setrange:a"),
        ("GETDEL a", "Generic:del:a"),
        ("SET k v EXAT 1", "String:set:k Generic:expire:k"),
        ("SET k v", "Expired:expired:k String:set:k"),
    ] {
        bench.trace.events.clear();
        bench.run(line);
        assert_eq!(bench.trace.events.join(" "), want, "{line}");
    }
}

#[test]
fn other_kinds_are_refused_and_left_alone() {
    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let mut bench = Bench::default();
    let table = bench.space.db_mut(0);
    let hash = table.hash(b"l");
    table.insert(
        hash,
        Entry::small(Kind::List, b"l", None, &[b"\x01\x00\x01x"]),
    );
    for (line, want) in [
        ("GET l", WRONG),
        ("SET l v GET", WRONG),
        (
            "SET l v EX 0 GET",
            "-ERR invalid expire time in 'set' command",
        ),
        ("SET l v NX", "nil"),
        ("GETSET l v", WRONG),
        ("GETDEL l", WRONG),
        ("GETEX l EX 0", WRONG),
        ("GETEX l FOO", "-ERR syntax error"),
        ("MGET l", "[nil]"),
        ("MSETNX a 1 l 2", "0"),
        ("INCR l", WRONG),
        ("INCRBY l a", "-ERR value is not an integer or out of range"),
        ("INCRBYFLOAT l a", WRONG),
        ("APPEND l v", WRONG),
        ("STRLEN l", WRONG),
        ("GETRANGE l 0 1", WRONG),
        ("SETRANGE l 0 \"\"", WRONG),
        ("SETRANGE l -1 v", "-ERR offset is out of range"),
        ("TYPE l", "list"),
    ] {
        assert_eq!(bench.run(line), want, "{line}");
    }
    assert!(bench.trace.effects.is_empty() && bench.trace.events.is_empty());
    assert_eq!(bench.run("SET l v"), "OK");
    assert_eq!(bench.run("TYPE l"), "string");
}

#[test]
fn counting_stays_in_place_while_the_length_does() {
    let mut bench = Bench::default();
    let place = |bench: &Bench| {
        let table = bench.space.db(0).unwrap();
        match table.get(table.hash(b"k"), b"k").unwrap().payload() {
            Payload::Small(bytes) => bytes.as_ptr(),
            Payload::Large(_) => panic!("a number is small"),
        }
    };
    bench.run("SET k 10 EX 100");
    let before = place(&bench);
    for n in 11..100 {
        assert_eq!(bench.run("INCR k"), n.to_string());
        assert_eq!(place(&bench), before);
    }
    assert_eq!(bench.run("INCR k"), "100");
    assert_eq!(bench.run("TTL k"), "100");
}

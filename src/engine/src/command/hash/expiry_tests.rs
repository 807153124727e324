//! Fields that end, in both forms, against a model, and what they leave.

use std::collections::BTreeMap;

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay, dump};
use crate::base::random::{Random, SeededRandom};
use crate::data::entry::Payload;
use crate::data::{hash, packed};

fn bench(entries: usize) -> Bench {
    let mut b = Bench::default();
    b.limits.hash_max_listpack_entries = entries;
    b
}

fn logged(b: &Bench) -> Vec<String> {
    let text = |words: &Vec<Vec<u8>>| words.join(&b' ').escape_ascii().to_string();
    b.trace
        .effects
        .iter()
        .map(|(_, words)| text(words))
        .collect()
}

fn hgetall(b: &mut Bench, key: &str) -> BTreeMap<String, String> {
    let Node::Map(items) = b.argv(&[b"HGETALL", key.as_bytes()]) else {
        panic!("{key}")
    };
    items
        .chunks(2)
        .map(|pair| (pair[0].to_string(), pair[1].to_string()))
        .collect()
}

/// Field, value, and when it ends.
type Model = BTreeMap<String, (String, Option<u64>)>;

fn run_model(seed: u64, entries: usize) {
    let mut rng = SeededRandom::new(seed);
    let mut b = bench(entries);
    let mut model = Model::new();
    let mut now = 1_000_000;
    for step in 0..1500 {
        let field = format!("f{}", rng.below(12));
        let value = format!("{}", rng.below(1000));
        match rng.below(10) {
            0..3 => {
                b.run(&format!("HSET h {field} {value}"));
                model.insert(field, (value, None));
            }
            3..5 => {
                let at = now + 1 + rng.below(300);
                let want = if let Some(known) = model.get_mut(&field) {
                    known.1 = Some(at);
                    1
                } else {
                    -2
                };
                let got = b.run(&format!("HPEXPIREAT h {at} FIELDS 1 {field}"));
                assert_eq!(got, format!("[{want}]"), "step {step}");
            }
            5 => {
                b.run(&format!("HPERSIST h FIELDS 1 {field}"));
                if let Some(known) = model.get_mut(&field) {
                    known.1 = None;
                }
            }
            6 => {
                b.run(&format!("HDEL h {field}"));
                model.remove(&field);
            }
            7 => {
                b.run(&format!("HINCRBY h {field} 1"));
                let known = model.entry(field).or_insert(("0".into(), None));
                known.0 = (known.0.parse::<i64>().unwrap() + 1).to_string();
            }
            8 => {
                let want = match model.get(&field) {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, Some(at))) => *at as i64,
                };
                let got = b.run(&format!("HPEXPIRETIME h FIELDS 1 {field}"));
                assert_eq!(got, format!("[{want}]"), "step {step}");
            }
            _ => {
                now += rng.below(60);
                b.clock.set_ms(now);
                model.retain(|_, (_, ends)| ends.is_none_or(|at| at > now));
            }
        }
        let want: BTreeMap<String, String> = model
            .iter()
            .map(|(field, (value, _))| (format!("\"{field}\""), format!("\"{value}\"")))
            .collect();
        assert_eq!(hgetall(&mut b, "h"), want, "seed {seed}, step {step}");
        assert_eq!(b.run("EXISTS h"), i32::from(!model.is_empty()).to_string());
        let ends = model.values().filter_map(|(_, ends)| *ends).min();
        let alarm = b.space.next_alarm(0);
        assert!(ends.is_none_or(|at| alarm <= at), "step {step}");
    }
    check_replay(&b);
}

#[test]
fn random_commands_against_a_model() {
    for seed in 0..8 {
        run_model(seed, [0, 5, 1000][seed as usize % 3]);
    }
}

#[test]
fn what_is_logged_and_told() {
    for entries in [0, 100] {
        let mut b = bench(entries);
        for line in [
            "HSET h a 1 b 2 c 3 d 4",
            "HEXPIRE h 10 FIELDS 3 a b none",
            "HEXPIRE h 5 GT FIELDS 1 a",
            "HPERSIST h FIELDS 2 b c",
            "HGETEX h PX 5 FIELDS 1 c",
            "HGETEX h PERSIST FIELDS 2 c d",
            "HSETEX h PXAT 2000000 FIELDS 1 e 5",
            "HSETEX h KEEPTTL FIELDS 2 e 6 d 4",
            "HINCRBY h e 1",
            "HINCRBYFLOAT h e 0.5",
            "HEXPIRE h 0 FIELDS 1 d",
            "HGETDEL h FIELDS 2 c none",
        ] {
            b.run(line);
        }
        b.clock.set_ms(1_500_000);
        b.run("HLEN h");
        b.clock.set_ms(3_000_000);
        b.run("HDEL h b");
        assert_eq!(b.run("HGETALL h"), "{}");
        assert_eq!(
            logged(&b),
            [
                "HSET h a 1 b 2 c 3 d 4",
                "HPEXPIREAT h 1010000 FIELDS 2 a b",
                "HPERSIST h FIELDS 1 b",
                "HPEXPIREAT h 1000005 FIELDS 1 c",
                "HPERSIST h FIELDS 1 c",
                "HSET h e 5",
                "HPEXPIREAT h 2000000 FIELDS 1 e",
                "HSET h e 6 d 4",
                "HPEXPIREAT h 2000000 FIELDS 1 e",
                "HINCRBY h e 1",
                "HSET h e 7.5",
                "HPEXPIREAT h 2000000 FIELDS 1 e",
                "HDEL h d",
                "HDEL h c",
                "HDEL h a",
                "HDEL h e",
                "HDEL h b"
            ]
        );
        assert_eq!(
            b.trace.events.join(" ").replace(":h", ""),
            "Hash:hset Hash:hexpire Hash:hpersist Hash:hexpire Hash:hpersist Hash:hset \
             Hash:hexpire Hash:hset Hash:hincrby Hash:hincrbyfloat Hash:hdel Hash:hdel \
             Hash:hexpired Hash:hexpired Hash:hdel Generic:del"
                .replace(":h", "")
        );
        assert!(b.space.is_empty() && !b.space.has_ending_fields());
        check_replay(&b);
    }
}

#[test]
fn times_go_with_the_value() {
    for entries in [0, 100] {
        let mut b = bench(entries);
        b.run("HSET h a 1 b 2");
        b.run("HPEXPIREAT h 2000000 FIELDS 1 a");
        let Node::Bulk(bytes) = b.argv(&[b"DUMP", b"h"]) else {
            panic!()
        };
        b.argv(&[b"RESTORE", b"restored", b"0", &bytes]);
        for line in [
            "COPY h copy",
            "RENAME h renamed",
            "COPY copy far DB 3",
            "SWAPDB 3 4",
            "MOVE copy 5",
        ] {
            assert!(["OK", "1"].contains(&b.run(line).as_str()), "{line}");
        }
        b.clock.set_ms(2_000_000);
        for (db, key) in [(0, "renamed"), (0, "restored"), (4, "far"), (5, "copy")] {
            b.db = db;
            assert_eq!(b.run(&format!("HKEYS {key}")), r#"["b"]"#, "{key}");
        }
        assert!(!b.space.has_ending_fields());
        check_replay(&b);
    }
}

#[test]
fn nothing_is_kept_for_hashes_whose_fields_dont_end() {
    let mut b = bench(100);
    b.run("HSET h a 1 b 2 c 3");
    let size = |b: &mut Bench| b.run("MEMORY USAGE h");
    let before = size(&mut b);
    b.run("HEXPIRE h 100 FIELDS 2 a b");
    assert_ne!(size(&mut b), before);
    assert_eq!(b.run("OBJECT ENCODING h"), "\"listpackex\"");
    b.run("HPERSIST h FIELDS 1 a");
    b.run("HSET h b 2");
    assert_eq!(size(&mut b), before);
    assert_eq!(b.run("OBJECT ENCODING h"), "\"listpack\"");
    b.run("HEXPIRE h 100 FIELDS 1 a");
    b.run("DEL h");
    assert!(!b.space.has_ending_fields());
    b.run("HSETEX h EX 5 FIELDS 1 a 1");
    b.run("SET h x");
    assert!(!b.space.has_ending_fields());
    b.run("HSETEX g EX 5 FIELDS 1 a 1");
    b.run("FLUSHALL");
    assert!(!b.space.has_ending_fields());
}

#[test]
fn a_log_is_replayed_without_a_clock() {
    let mut b = bench(100);
    b.run("HSETEX h PX 10 FIELDS 1 a 1");
    b.run("HSET h b 2");
    let effects = b.trace.effects.clone();
    b.clock.set_ms(5_000_000);
    assert_eq!(b.run("HLEN h"), "1");
    // Long after, the field is still there until somebody asks the clock.
    let mut copy = Bench::default();
    copy.clock.set_ms(9_000_000);
    copy.replay(&effects);
    assert_eq!(dump(&copy.space, 0), ["h @None = hash [a:1@1000010, b:2]"]);
    assert_eq!(copy.run("HGETALL h"), "{\"b\" \"2\"}");
}

#[test]
fn foreign_bytes_are_refused() {
    let pack = |count: u16, elements: &[&[u8]]| {
        let mut bytes = count.to_le_bytes().to_vec();
        elements
            .iter()
            .for_each(|element| packed::push_element(&mut bytes, element));
        bytes
    };
    let time = 5u64.to_le_bytes();
    let marked = packed::MARK | 1;
    assert!(hash::is_well_formed(&pack(marked, &[b"f", b"v", &time])));
    assert!(hash::is_well_formed(&pack(marked, &[b"f", b"v", b""])));
    assert!(hash::is_well_formed(&pack(1, &[b"f", b"v"])));
    for bad in [
        pack(marked, &[b"f", b"v", b"1234567"]),
        pack(marked, &[b"f", b"v", &[0; 8]]),
        pack(marked, &[b"f", b"v"]),
        pack(packed::MARK, &[]),
        pack(1, &[b"f", b"v", &time]),
    ] {
        assert!(!hash::is_well_formed(&bad));
    }
    let fine = pack(marked, &[b"f", b"v", &time]);
    assert_eq!(hash::expiry::next(Payload::Small(&fine)), Some(5));
}

/// Many fields of a large hash have ended, and nobody takes them all out at once: no command sees one, and each takes
/// out only some.
#[test]
fn fields_that_ended_and_are_still_there_are_seen_by_nobody() {
    const MANY: usize = 20_000;
    let fill = || {
        let mut b = bench(512);
        b.clock.set_ms(1_000_000);
        for from in (0..MANY).step_by(1000) {
            let pairs: Vec<String> = (from..from + 1000).map(|i| format!("f{i} {i}")).collect();
            let pairs = pairs.join(" ");
            b.run(&format!("HSETEX h PXAT 2000000 FIELDS 1000 {pairs}"));
        }
        b.run("HSET h live 1");
        b.run("HSETEX h PXAT 9000000 FIELDS 1 later 2");
        b.clock.set_ms(3_000_000);
        b
    };
    let (mut b, mut emptied) = (fill(), fill());
    assert_eq!(hgetall(&mut emptied, "h").len(), 2);
    assert_eq!(emptied.run("HLEN h"), "2");
    for line in [
        "HGET h f19999",
        "HMGET h f19998 live f19997",
        "HEXISTS h f19996",
        "HSTRLEN h f19995",
        "HSET h f19994 x live 3",
        "HTTL h FIELDS 3 f19994 f19993 live",
        "HPTTL h FIELDS 1 later",
        "HSETNX h f19992 x",
        "HINCRBY h f19991 5",
        "HINCRBYFLOAT h f19990 1.5",
        "HDEL h f19989 f19989 none",
        "HPEXPIREAT h 8000000 FIELDS 2 f19988 f19994",
        "HPERSIST h FIELDS 2 f19987 f19994",
        "HGETDEL h FIELDS 2 f19986 f19992",
        "HGETEX h PXAT 8000000 FIELDS 2 f19985 live",
        "HSETEX h FNX KEEPTTL FIELDS 1 f19984 y",
        "HSETEX h FXX FIELDS 1 f19983 y",
        "HMSET h f19982 z",
        "EXISTS h",
        "TYPE h",
        "TTL h",
        "PEXPIREAT h 99000000",
        "PERSIST h",
        "RENAME h g",
        "HGET g f19981",
        "MOVE g 1",
    ] {
        let before = b.trace.effects.len();
        assert_eq!(b.run(line), emptied.run(line), "{line}");
        let taken: usize = b.trace.effects[before..]
            .iter()
            .map(|(_, words)| words.len())
            .sum();
        // A few looks, and what else it says.
        assert!(taken < 500, "{line}: {taken} words in the log");
    }
    (b.db, emptied.db) = (1, 1);
    let Node::Int(left) = b.argv(&[b"HLEN", b"g"]) else {
        panic!("no number")
    };
    assert!(left > 5_000, "{left}");
    let mut seen = Vec::new();
    let mut cursor = "0".to_string();
    loop {
        let line = format!("HSCAN g {cursor} COUNT 100");
        let Node::Array(parts) = b.argv(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
        else {
            panic!("no array")
        };
        cursor = parts[0].to_string().trim_matches('"').to_string();
        if let Node::Array(pairs) = &parts[1] {
            seen.extend(pairs.chunks(2).map(|pair| pair[0].to_string()));
        }
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    let wanted: Vec<String> = hgetall(&mut emptied, "g").into_keys().collect();
    assert_eq!(seen, wanted);
    // Who wants all of it sees none of them either, nor does a replay.
    assert_eq!(hgetall(&mut b, "g"), hgetall(&mut emptied, "g"));
    assert_eq!(b.run("HLEN g"), emptied.run("HLEN g"));
    assert_eq!(dump(&b.space, 1), dump(&emptied.space, 1));
    check_replay(&b);
}

/// Writing over it, or deleting it, takes no longer than that.
#[test]
fn overwriting_a_hash_of_ended_fields_ends_few_of_them() {
    for line in ["SET h x", "DEL h", "UNLINK h", "RENAME k h"] {
        let mut b = bench(512);
        b.clock.set_ms(1_000_000);
        let pairs: Vec<String> = (0..5000).map(|i| format!("f{i} {i}")).collect();
        let pairs = pairs.join(" ");
        b.run(&format!("HSETEX h PXAT 2000000 FIELDS 5000 {pairs}"));
        b.run("SET k v");
        b.clock.set_ms(3_000_000);
        let before = b.trace.effects.len();
        b.run(line);
        let effects = &b.trace.effects[before..];
        let words: usize = effects.iter().map(|(_, words)| words.len()).sum();
        assert!(words < 500, "{line}: {words} words in the log");
        check_replay(&b);
    }
}

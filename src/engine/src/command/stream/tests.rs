//! What streams log, and that it does the same again.

use crate::base::random::{Random, SeededRandom};
use crate::command::testing::{Bench, check_replay, dump};

/// The effects so far, as lines.
fn effects(bench: &mut Bench) -> Vec<String> {
    let all = std::mem::take(&mut bench.trace.effects);
    let line = |words: Vec<Vec<u8>>| words.join(&b' ').escape_ascii().to_string();
    all.into_iter().map(|(_, words)| line(words)).collect()
}

fn run(bench: &mut Bench, lines: &[&str]) {
    for line in lines {
        let reply = bench.run(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

#[test]
fn ids_and_trims_are_logged_as_they_came_out() {
    let mut bench = Bench::default();
    bench.limits.stream_node_max_entries = 2;
    run(
        &mut bench,
        &[
            "XADD s * f v",
            "XADD s NOMKSTREAM 1000000-* f v",
            "XADD s 2000000 f v",
            "XADD s MAXLEN ~ 2 * f v",
            "XADD s MAXLEN ~ 2 LIMIT 2 * f v",
            "XADD s MINID 2000000-2 * f v",
            "XADD s MAXLEN 9 * f v",
            "XTRIM s MINID ~ 2000000-4",
            "XTRIM s MAXLEN 100",
            "XTRIM s MAXLEN ~ 0",
        ],
    );
    assert_eq!(
        effects(&mut bench),
        [
            "XADD s 1000000-0 f v",
            "XADD s 1000000-1 f v",
            "XADD s 2000000-0 f v",
            "XADD s MAXLEN = 2 2000000-1 f v",
            "XADD s 2000000-2 f v",
            "XADD s MAXLEN = 2 2000000-3 f v",
            "XADD s 2000000-4 f v",
            "XTRIM s MAXLEN = 1",
            "XTRIM s MAXLEN = 0",
        ]
    );
}

#[test]
fn deliveries_are_logged_with_their_times_and_counts() {
    let mut bench = Bench::default();
    run(
        &mut bench,
        &[
            "XADD s 1 f v",
            "XADD s 2 f v",
            "XADD s 3 f v",
            "XADD s 4 f v",
            "XGROUP CREATE s g 0 ENTRIESREAD 0",
        ],
    );
    effects(&mut bench);
    run(&mut bench, &["XREADGROUP GROUP g c COUNT 2 STREAMS s >"]);
    assert_eq!(
        effects(&mut bench),
        [
            "XCLAIM s g c 0 1-0 2-0 TIME 1000000 RETRYCOUNT 1 FORCE JUSTID LASTID 2-0",
            "XGROUP SETID s g 2-0 ENTRIESREAD 2",
        ]
    );
    bench.clock.advance_ms(50);
    run(
        &mut bench,
        &[
            "XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s >",
            "XREADGROUP GROUP g d NOACK STREAMS s 0",
            "XREADGROUP GROUP g c COUNT 1 STREAMS s 0",
            "XCLAIM s g d 0 1-0 2-0 7-0 JUSTID",
            "XDEL s 1-0",
            "XREADGROUP GROUP g d STREAMS s 0",
            "XAUTOCLAIM s g e 0 -",
            "XCLAIM s g e 0 9-9 LASTID 4-1",
            "XACK s g 2-0 9-0",
            "XACK s g 2-0",
            "XREADGROUP GROUP g c STREAMS s >",
        ],
    );
    assert_eq!(
        effects(&mut bench),
        [
            "XGROUP SETID s g 3-0 ENTRIESREAD 3",
            "XGROUP CREATECONSUMER s g d",
            "XCLAIM s g c 0 1-0 TIME 1000050 RETRYCOUNT 2 FORCE JUSTID LASTID 3-0",
            "XCLAIM s g d 0 1-0 TIME 1000050 RETRYCOUNT 2 FORCE JUSTID LASTID 3-0",
            "XCLAIM s g d 0 2-0 TIME 1000050 RETRYCOUNT 1 FORCE JUSTID LASTID 3-0",
            "XDEL s 1-0",
            "XCLAIM s g d 0 2-0 TIME 1000050 RETRYCOUNT 2 FORCE JUSTID LASTID 3-0",
            "XACK s g 1-0",
            "XCLAIM s g e 0 2-0 TIME 1000050 RETRYCOUNT 3 FORCE JUSTID LASTID 3-0",
            "XGROUP SETID s g 4-1 ENTRIESREAD 3",
            "XACK s g 2-0 9-0",
        ]
    );
}

#[test]
fn a_consumer_is_seen_again_after_a_replay() {
    let mut bench = Bench::default();
    run(
        &mut bench,
        &[
            "XADD s 1 f v",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g c STREAMS s >",
        ],
    );
    let mut copy = Bench::default();
    copy.replay(&bench.trace.effects);
    copy.clock.advance_ms(70);
    assert_eq!(
        copy.run("XINFO CONSUMERS s g"),
        "[{\"name\" \"c\" \"pending\" 1 \"idle\" 70}]"
    );
}

#[test]
fn lag_is_told_only_where_it_is_known() {
    let mut bench = Bench::default();
    let lag = |bench: &mut Bench| {
        let text = bench.run("XINFO GROUPS s");
        let at = text.find("\"entries-read\" ").unwrap();
        text[at + 15..text.len() - 2].replace(" \"lag\"", "")
    };
    run(&mut bench, &["XGROUP CREATE s g $ MKSTREAM"]);
    assert_eq!(lag(&mut bench), "nil 0");
    run(
        &mut bench,
        &[
            "XADD s 1 f v",
            "XADD s 2 f v",
            "XADD s 3 f v",
            "XADD s 4 f v",
        ],
    );
    assert_eq!(lag(&mut bench), "nil 4");
    run(&mut bench, &["XREADGROUP GROUP g c COUNT 1 STREAMS s >"]);
    assert_eq!(lag(&mut bench), "1 3");
    run(&mut bench, &["XDEL s 3"]);
    // A hole is ahead.
    assert_eq!(lag(&mut bench), "1 nil");
    run(&mut bench, &["XREADGROUP GROUP g c COUNT 1 STREAMS s >"]);
    assert_eq!(lag(&mut bench), "nil nil");
    run(&mut bench, &["XREADGROUP GROUP g c COUNT 1 STREAMS s >"]);
    assert_eq!(lag(&mut bench), "4 0");
    run(&mut bench, &["XGROUP SETID s g 0", "XTRIM s MAXLEN 1"]);
    assert_eq!(lag(&mut bench), "nil 1");
    run(&mut bench, &["XTRIM s MAXLEN 0"]);
    assert_eq!(lag(&mut bench), "nil 0");
}

#[test]
fn subcommands_are_counted_and_named() {
    let mut bench = Bench::default();
    for (line, reply) in [
        (
            "XINFO GROUPS",
            "-ERR wrong number of arguments for 'persist.xinfo|groups' command",
        ),
        (
            "XINFO HELP x",
            "-ERR wrong number of arguments for 'persist.xinfo|help' command",
        ),
        (
            "XINFO what k",
            "-ERR unknown subcommand 'what'. Try PERSIST.XINFO HELP.",
        ),
        (
            "XGROUP DESTROY k",
            "-ERR wrong number of arguments for 'persist.xgroup|destroy' command",
        ),
        (
            "XGROUP setid k g 0 MKSTREAM",
            "-ERR unknown subcommand or wrong number of arguments for 'setid'. Try PERSIST.XGROUP HELP.",
        ),
    ] {
        assert_eq!(bench.run(line), reply, "{line}");
    }
    let Some(help) = bench
        .run("XGROUP HELP")
        .strip_prefix("[PERSIST.XGROUP <sub")
        .map(str::len)
    else {
        panic!();
    };
    assert!(help > 500);
    let strange = bench.argv(&[b"XPENDING", b"a\r\nb\0c", b"\r\ng\n"]);
    assert_eq!(
        strange.to_string(),
        "-NOGROUP No such key 'a  b' or consumer group '  g '"
    );
}

/// A random command on few streams, groups and ids.
fn line(rng: &mut SeededRandom) -> String {
    let key = format!("s{}", rng.below(2));
    let group = format!("g{}", rng.below(2));
    let consumer = format!("c{}", rng.below(3));
    let id = format!("{}-{}", 1_000_000 + rng.below(40), rng.below(3));
    let n = rng.below(30);
    match rng.below(26) {
        0..=4 => format!("XADD {key} * f {n} g {n}"),
        5 => format!("XADD {key} {id} f{} v", rng.below(2)),
        6 => format!("XADD {key} MAXLEN ~ {n} * f v"),
        7 => format!("XADD {key} MAXLEN {n} * f v"),
        8 => format!("XADD {key} MINID ~ {id} * f v"),
        9 => format!("XTRIM {key} MINID {id}"),
        10 => format!("XTRIM {key} MAXLEN ~ {n} LIMIT {}", rng.below(20)),
        11 | 12 => format!("XDEL {key} {id}"),
        13 => format!("XSETID {key} {id} MAXDELETEDID {id}"),
        14 => format!("XGROUP CREATE {key} {group} {id} MKSTREAM"),
        15 => format!("XGROUP CREATE {key} {group} $"),
        16 => format!("XGROUP SETID {key} {group} {id}"),
        17 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
        18..=20 => format!("XREADGROUP GROUP {group} {consumer} COUNT 3 STREAMS {key} >"),
        21 => format!("XREADGROUP GROUP {group} {consumer} STREAMS {key} {id}"),
        22 => format!("XACK {key} {group} {id}"),
        23 => format!("XCLAIM {key} {group} {consumer} {n} {id} FORCE"),
        24 => format!("XAUTOCLAIM {key} {group} {consumer} 0 - COUNT {}", 1 + n),
        _ => match n {
            0 => format!("DEL {key}"),
            1 => format!("XGROUP DESTROY {key} {group}"),
            2 => "COPY s0 s1 REPLACE".into(),
            3 => "RENAME s0 s1".into(),
            _ => format!("XREADGROUP GROUP {group} {consumer} NOACK STREAMS {key} >"),
        },
    }
}

#[test]
fn whatever_is_done_replay_does_it_again() {
    for seed in 0..40 {
        let mut bench = Bench::default();
        bench.limits.stream_node_max_entries = 1 + seed % 5;
        let mut rng = SeededRandom::new(seed);
        for _ in 0..400 {
            bench.run(&line(&mut rng));
            bench.clock.advance_ms(rng.below(2));
        }
        check_replay(&bench);
        assert!(!dump(&bench.space, 0).is_empty());
    }
}

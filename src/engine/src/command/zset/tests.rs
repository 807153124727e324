//! Sorted set commands against a naive model, in every form at once.

use std::collections::BTreeSet;

use crate::base::random::{Random, SeededRandom};
use crate::command::reply::Node;
use crate::command::testing::{Bench, check_replay, dump};

/// Members and scores, sorted when asked.
#[derive(Default)]
struct Model(Vec<(f64, String)>);

impl Model {
    fn score(&self, member: &str) -> Option<f64> {
        let found = self.0.iter().find(|(_, m)| m == member);
        found.map(|(score, _)| *score)
    }

    fn set(&mut self, member: &str, score: f64) {
        self.remove(member);
        self.0.push((score, member.to_string()));
        self.0.sort_by(|a, b| a.partial_cmp(b).unwrap());
    }

    fn remove(&mut self, member: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, m)| m != member);
        self.0.len() < before
    }

    fn retain(&mut self, keep: impl Fn(usize, f64, &str) -> bool) -> String {
        let before = self.0.len();
        let mut rank = 0;
        self.0.retain(|(score, member)| {
            rank += 1;
            keep(rank - 1, *score, member)
        });
        (before - self.0.len()).to_string()
    }

    /// Members with scores, as a flat reply.
    fn show<'a>(items: impl Iterator<Item = &'a (f64, String)>) -> String {
        let words: Vec<String> = items.map(|(s, m)| format!("\"{m}\" {s}")).collect();
        format!("[{}]", words.join(" "))
    }

    /// A random command, done to the model: the line and the reply.
    fn step(&mut self, rng: &mut SeededRandom) -> (String, String) {
        let member = format!("m{}", rng.below(40));
        let score = match rng.below(3) {
            0 => rng.below(8) as f64 - 3.0,
            1 => rng.below(900) as f64 / 8.0,
            _ => 1e15 + rng.below(5) as f64,
        };
        let (lo, hi) = (rng.below(30) as i64 - 12, rng.below(30) as i64 - 12);
        let len = self.0.len() as i64;
        let index = |n: i64| if n < 0 { n + len } else { n };
        let in_ranks = |rank: usize| index(lo) <= rank as i64 && rank as i64 <= index(hi);
        let (min, max) = (score - 3.0, score + rng.below(60) as f64);
        let old = self.score(&member);
        match rng.below(13) {
            0..=2 => {
                let mut added = 0;
                let mut line = "ZADD z".to_string();
                for _ in 0..=rng.below(3) {
                    let member = format!("m{}", rng.below(40));
                    added += usize::from(self.score(&member).is_none());
                    self.set(&member, score);
                    line += &format!(" {score} {member}");
                }
                (line, added.to_string())
            }
            3 => {
                let (word, exists, fits): (_, _, fn(f64, f64) -> bool) = match rng.below(5) {
                    0 => ("NX", Some(false), |_, _| true),
                    1 => ("XX", Some(true), |_, _| true),
                    2 => ("GT", None, |old, new| new > old),
                    3 => ("LT", None, |old, new| new < old),
                    _ => ("XX GT", Some(true), |old, new| new > old),
                };
                let allowed = exists.is_none_or(|e| e == old.is_some())
                    && old.is_none_or(|old| fits(old, score));
                let changed = allowed && old != Some(score);
                if changed {
                    self.set(&member, score);
                }
                let line = format!("ZADD z {word} CH {score} {member}");
                (line, u8::from(changed).to_string())
            }
            4 => {
                let new = old.unwrap_or(0.0) + score;
                self.set(&member, new);
                (format!("ZINCRBY z {score} {member}"), new.to_string())
            }
            5 => {
                let removed = u8::from(self.remove(&member));
                (format!("ZREM z {member}"), removed.to_string())
            }
            6 => {
                let rank = self.0.iter().position(|(_, m)| *m == member);
                match rng.below(3) {
                    0 => (
                        format!("ZSCORE z {member}"),
                        old.map_or("nil".into(), |s| s.to_string()),
                    ),
                    1 => (
                        format!("ZRANK z {member}"),
                        rank.map_or("nil".into(), |r| r.to_string()),
                    ),
                    _ => (
                        format!("ZREVRANK z {member}"),
                        rank.map_or("nil".into(), |r| (self.0.len() - 1 - r).to_string()),
                    ),
                }
            }
            7 => {
                let found: Vec<_> = (0..self.0.len()).filter(|r| in_ranks(*r)).collect();
                match rng.below(2) {
                    0 => (
                        format!("ZRANGE z {lo} {hi} WITHSCORES"),
                        Self::show(found.iter().map(|r| &self.0[*r])),
                    ),
                    _ => (
                        format!("ZREVRANGE z {lo} {hi} WITHSCORES"),
                        Self::show(found.iter().map(|r| &self.0[self.0.len() - 1 - r])),
                    ),
                }
            }
            8 => {
                let skip = rng.below(3) as usize;
                let most = rng.below(6) as usize;
                let found = || self.0.iter().filter(|(s, _)| min < *s && *s <= max);
                match rng.below(3) {
                    0 => (
                        format!("ZRANGEBYSCORE z ({min} {max} WITHSCORES LIMIT {skip} {most}"),
                        Self::show(found().skip(skip).take(most)),
                    ),
                    1 => (
                        format!("ZRANGE z {max} ({min} REV BYSCORE LIMIT {skip} {most} WITHSCORES"),
                        Self::show(found().rev().skip(skip).take(most)),
                    ),
                    _ => (
                        format!("ZCOUNT z ({min} {max}"),
                        found().count().to_string(),
                    ),
                }
            }
            9 if rng.below(3) == 0 => (
                format!("ZREMRANGEBYRANK z {lo} {hi}"),
                self.retain(|rank, _, _| !in_ranks(rank)),
            ),
            10 if rng.below(3) == 0 => (
                format!("ZREMRANGEBYSCORE z {min} ({max}"),
                self.retain(|_, score, _| !(min <= score && score < max)),
            ),
            11 => {
                let count = 1 + rng.below(4) as usize;
                let count = count.min(self.0.len());
                if rng.below(2) == 0 {
                    let popped: Vec<_> = self.0.drain(..count).collect();
                    (format!("ZPOPMIN z {count}"), Self::show(popped.iter()))
                } else {
                    let popped: Vec<_> = self.0.drain(self.0.len() - count..).collect();
                    let line = format!("ZPOPMAX z {count}");
                    (line, Self::show(popped.iter().rev()))
                }
            }
            _ => ("ZCARD z".into(), self.0.len().to_string()),
        }
    }
}

fn bench(max_entries: usize) -> Bench {
    let mut bench = Bench::default();
    bench.limits.zset_max_listpack_entries = max_entries;
    bench
}

#[test]
fn random_commands_agree_with_a_model_in_every_form() {
    let mut rng = SeededRandom::new(5);
    let mut model = Model::default();
    let mut benches = [bench(0), bench(10), bench(128)];
    for step in 0..12_000 {
        let (line, want) = model.step(&mut rng);
        for bench in &mut benches {
            assert_eq!(bench.run(&line), want, "step {step}: {line}");
        }
    }
    benches.iter().for_each(check_replay);
    assert_eq!(dump(&benches[0].space, 0), dump(&benches[2].space, 0));
}

#[test]
fn large_and_small_forms_reply_alike() {
    let words = [
        "ZRANGEBYLEX z [m2 (m5",
        "ZREVRANGEBYLEX z + [m3 LIMIT 1 7",
        "ZRANGE z - [m4 BYLEX LIMIT 2 -1",
        "ZLEXCOUNT z (m10 +",
        "ZREMRANGEBYLEX z [m31 (m33",
        "ZRANGESTORE d z 3 -4 REV",
        "ZRANGE d 0 -1 WITHSCORES",
        "ZUNIONSTORE u 2 z d WEIGHTS 2 -1 AGGREGATE MIN",
        "ZRANGE u 0 -1 WITHSCORES",
        "ZINTER 2 u d WITHSCORES",
        "ZDIFF 2 z d WITHSCORES",
        "ZINTERCARD 2 z u LIMIT 5",
        "ZMPOP 2 none d MAX COUNT 3",
        "ZMSCORE u m1 m2 nobody",
        "ZPOPMIN u 200",
        "ZPOPMAX z 35",
        "ZCARD z",
    ];
    for resp3 in [false, true] {
        let mut benches = [bench(0), bench(12), bench(128)];
        let mut add: Vec<String> = vec!["ZADD".into(), "z".into()];
        (0..100).for_each(|i| add.extend(["1".into(), format!("m{i}")]));
        let add = add.join(" ");
        for line in std::iter::once(&*add).chain(words) {
            let replies = benches.each_mut().map(|bench| {
                bench.resp3 = resp3;
                bench.run(line)
            });
            assert_eq!(replies[0], replies[1], "{line}");
            assert_eq!(replies[0], replies[2], "{line}");
            assert!(!replies[0].starts_with('-'), "{line}: {}", replies[0]);
        }
        benches.iter().for_each(check_replay);
    }
}

#[test]
fn pairs_are_nested_in_resp3() {
    let mut bench = Bench::default();
    bench.resp3 = true;
    for (line, want) in [
        ("ZADD z 1 a 2 b 3 c", "3"),
        ("ZRANGE z 0 1 WITHSCORES", "[[\"a\" 1] [\"b\" 2]]"),
        ("ZRANGEBYSCORE z 3 4 WITHSCORES", "[[\"c\" 3]]"),
        (
            "ZRANDMEMBER z 3 WITHSCORES",
            "[[\"c\" 3] [\"b\" 2] [\"a\" 1]]",
        ),
        ("ZUNION 1 z WITHSCORES", "[[\"a\" 1] [\"b\" 2] [\"c\" 3]]"),
        ("ZSCAN z 0 MATCH a", "[\"0\" [\"a\" \"1\"]]"),
        ("ZRANK z a WITHSCORE", "[0 1]"),
        ("ZPOPMIN z", "[\"a\" 1]"),
        ("ZPOPMIN z 1", "[[\"b\" 2]]"),
        ("ZMPOP 1 z MIN", "[\"z\" [[\"c\" 3]]]"),
    ] {
        assert_eq!(bench.run(line), want, "{line}");
    }
}

/// The effects and events of `line`, as text.
fn traces(bench: &mut Bench, line: &str) -> (Vec<String>, Vec<String>) {
    bench.trace = Default::default();
    bench.run(line);
    let effects = bench.trace.effects.iter().map(|(_, words)| {
        let words = words.iter().map(|w| w.escape_ascii().to_string());
        words.collect::<Vec<_>>().join(" ")
    });
    (effects.collect(), bench.trace.events.clone())
}

#[test]
fn the_log_gets_results_and_watchers_get_events() {
    let mut bench = Bench::default();
    for (line, effects, events) in [
        ("ZADD z NX 1.50 a 2 b", "ZADD z 1.5 a 2 b", "Zset:zadd:z"),
        ("ZADD z 1.5 a 2e0 b", "", ""),
        ("ZADD z GT CH 1 a 0x10 b", "ZADD z 16 b", "Zset:zadd:z"),
        ("ZADD z XX 1 nobody", "", ""),
        ("ZADD none XX 1 nobody", "", ""),
        ("ZADD z INCR 0.1 a", "ZADD z 1.6 a", "Zset:zincr:z"),
        ("ZINCRBY z 0.2 a", "ZADD z 1.8 a", "Zset:zincr:z"),
        ("ZINCRBY z 0 a", "", ""),
        ("ZINCRBY z inf c", "ZADD z inf c", "Zset:zincr:z"),
        ("ZINCRBY z -inf c", "", ""),
        ("ZREM z nobody", "", ""),
        ("ZREMRANGEBYRANK z 9 9", "", ""),
        ("ZPOPMIN z 0", "", ""),
        ("ZPOPMAX z 2", "ZREM z c b", "Zset:zpopmax:z"),
        ("ZMPOP 1 z MIN", "DEL z", "Zset:zpopmin:z Generic:del:z"),
        ("ZADD z 1 a", "ZADD z 1 a", "Zset:zadd:z"),
        ("ZREM z a", "ZREM z a", "Zset:zrem:z Generic:del:z"),
        ("ZADD z -0 a", "ZADD z -0 a", "Zset:zadd:z"),
        (
            "ZRANGESTORE d z 0 -1",
            "ZRANGESTORE d z 0 -1",
            "Zset:zrangestore:d",
        ),
        ("ZUNIONSTORE d 1 none", "DEL d", "Generic:del:d"),
        ("ZUNIONSTORE d 1 none", "", ""),
        (
            "ZREMRANGEBYSCORE z 0 0",
            "ZREMRANGEBYSCORE z 0 0",
            "Zset:zremrangebyscore:z Generic:del:z",
        ),
    ] {
        let (got_effects, got_events) = traces(&mut bench, line);
        assert_eq!(got_effects.join("; "), effects, "{line}");
        assert_eq!(got_events.join(" "), events, "{line}");
    }
}

#[test]
fn a_long_change_is_logged_in_parts() {
    let mut bench = bench(20);
    let mut line = "ZADD z".to_string();
    (0..100).for_each(|i| line += &format!(" {}.25 m{i}", i % 7));
    let (effects, _) = traces(&mut bench, &line);
    assert_eq!(effects.len(), 4);
    check_replay(&bench);
    let (effects, _) = traces(&mut bench, "ZPOPMIN z 70");
    assert_eq!(effects.len(), 3);
    assert_eq!(bench.run("ZCARD z"), "30");
}

#[test]
fn random_members_are_distinct_or_not_as_asked() {
    for max in [0, 500] {
        let mut bench = bench(max);
        let mut line = "ZADD z".to_string();
        (0..300).for_each(|i| line += &format!(" 1 m{i}"));
        bench.run(&line);
        let mut pick = |count: &str| match bench.argv(&[b"ZRANDMEMBER", b"z", count.as_bytes()]) {
            Node::Array(items) => items.iter().map(Node::to_string).collect::<Vec<_>>(),
            other => panic!("{other}"),
        };
        for count in [1, 20, 99, 100, 250, 300] {
            let picked = pick(&count.to_string());
            assert_eq!(picked.len(), count);
            assert_eq!(picked.into_iter().collect::<BTreeSet<_>>().len(), count);
        }
        assert_eq!(pick("400").len(), 300);
        let picked = pick("-3000");
        assert_eq!(picked.len(), 3000);
        assert!(picked.into_iter().collect::<BTreeSet<_>>().len() > 250);
    }
}

#[test]
fn a_scan_meets_every_member() {
    let mut bench = bench(16);
    let mut line = "ZADD z".to_string();
    (0..1000).for_each(|i| line += &format!(" {i}.5 m{i}"));
    bench.run(&line);
    let mut cursor = "0".to_string();
    let mut seen = BTreeSet::new();
    loop {
        let reply = bench.argv(&[b"ZSCAN", b"z", cursor.as_bytes(), b"COUNT", b"7"]);
        let Node::Array(parts) = reply else { panic!() };
        let [Node::Bulk(next), Node::Array(items)] = &parts[..] else {
            panic!()
        };
        for pair in items.chunks(2) {
            let (member, score) = (pair[0].to_string(), pair[1].to_string());
            assert_eq!(
                member.trim_matches('"')[1..],
                score.trim_matches('"').replace(".5", "")
            );
            seen.insert(member);
        }
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
}

#[test]
fn only_large_sets_know_minus_zero() {
    for (max, want) in [(128, "0"), (0, "-0")] {
        let mut bench = bench(max);
        assert_eq!(bench.run("ZADD z -0 a"), "1");
        assert_eq!(bench.run("ZSCORE z a"), want);
        assert_eq!(bench.run("ZADD z CH 0 a"), "0");
    }
}

/// As Redis does, which adds one by one to a packed set until it is too large.
#[test]
fn a_stored_range_forgets_minus_zeros_that_were_packed() {
    let long = "m".repeat(70);
    for (range, a, z) in [
        ("0 -1", "0", "-0"),
        ("0 -1 REV", "-0", "0"),
        ("-1 1 BYSCORE", "0", "-0"),
        ("1 -1 BYSCORE REV", "-0", "0"),
        ("- + BYLEX", "0", "-0"),
    ] {
        let mut bench = bench(128);
        assert_eq!(bench.run(&format!("ZADD z 0 {long} -0 a -0 z")), "3");
        assert_eq!(bench.run(&format!("ZRANGESTORE d z {range}")), "3");
        let scores = bench.run("ZMSCORE d a z");
        assert_eq!(scores, format!("[{a} {z}]"), "{range}");
    }
}

#[test]
fn plain_sets_count_as_scores_of_one() {
    for max in [0, 128] {
        let mut bench = bench(128);
        bench.limits.set_max_listpack_entries = max;
        for (line, want) in [
            ("SADD s a b", "2"),
            ("ZADD z 5 b 6 c", "2"),
            ("ZUNION 2 z s WITHSCORES", "[\"a\" 1 \"b\" 6 \"c\" 6]"),
            ("ZINTER 2 s z WEIGHTS 2 1 WITHSCORES", "[\"b\" 7]"),
            ("ZDIFF 2 z s", "[\"c\"]"),
            ("ZDIFFSTORE d 2 s z", "1"),
            ("TYPE d", "zset"),
            ("ZINTERCARD 2 s z", "1"),
            ("SET str v", "OK"),
            (
                "ZUNION 2 s str FOO",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ] {
            assert_eq!(bench.run(line), want, "{line}");
        }
        check_replay(&bench);
    }
}

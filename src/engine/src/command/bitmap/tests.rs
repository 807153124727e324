//! Bitmap commands against a model, and what they log and tell.

use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn random_commands_on_both_forms_answer_alike() {
    for seed in 0..10 {
        let mut rng = SeededRandom::new(seed);
        let mut benches = [0, 10, 16384].map(|max| {
            let mut bench = Bench::default();
            bench.limits.string_max_small = max;
            bench
        });
        for step in 0..600 {
            let key = ["a", "b", "c"][rng.below(3) as usize];
            let at = rng.below(150);
            let n = |rng: &mut SeededRandom| rng.below(60) as i64 - 30;
            let width = 1 + rng.below(63);
            let line = match rng.below(8) {
                0 => format!("SETBIT {key} {at} {}", rng.below(2)),
                1 => format!("GETBIT {key} {at}"),
                2 => format!("BITCOUNT {key} {} {} BIT", n(&mut rng), n(&mut rng)),
                3 => format!("BITPOS {key} 0 {} {}", n(&mut rng), n(&mut rng)),
                4 => format!("BITOP XOR {key} a b c"),
                5 => format!(
                    "BITFIELD {key} OVERFLOW SAT SET i{width} {at} {}",
                    rng.next_u64() as i64
                ),
                6 => format!("BITFIELD {key} OVERFLOW FAIL INCRBY u{width} {at} 1000"),
                _ => format!("GET {key}"),
            };
            let replies = benches.each_mut().map(|bench| bench.run(&line));
            assert!(
                replies.iter().all(|reply| *reply == replies[0]),
                "seed {seed}, step {step}: {line}: {replies:?}"
            );
        }
        benches.iter().for_each(check_replay);
    }
}

#[test]
fn what_is_logged_and_told() {
    for (lines, effects, events) in [
        (
            &["SETBIT k 3 0", "SETBIT k 3 0", "SETBIT k 3 1"][..],
            "SETBIT k 3 0|SETBIT k 3 1",
            "String:setbit:k String:setbit:k",
        ),
        (
            &[
                "BITFIELD k GET u8 0",
                "BITFIELD k SET u8 0 0 GET u8 0",
                "BITFIELD k SET u8 0 0",
                "BITFIELD k OVERFLOW FAIL SET u8 0 256",
            ],
            "BITFIELD k SET u8 0 0 GET u8 0",
            "String:setbit:k",
        ),
        (
            // It grows, though nothing is set.
            &["SETBIT k 3 0", "BITFIELD k OVERFLOW FAIL SET u8 8 256"],
            "SETBIT k 3 0|BITFIELD k OVERFLOW FAIL SET u8 8 256",
            "String:setbit:k",
        ),
        (
            &[
                "SET a x EX 5",
                "BITOP NOT a a",
                "TTL a",
                "BITOP OR a n m",
                "BITOP OR a n m",
            ],
            "SET a x PXAT 1005000|BITOP NOT a a|DEL a",
            "String:set:a Generic:expire:a String:set:a Generic:del:a",
        ),
    ] {
        let mut bench = Bench::default();
        for line in lines {
            bench.run(line);
        }
        let logged: Vec<String> = bench
            .trace
            .effects
            .iter()
            .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
            .collect();
        assert_eq!(logged.join("|"), effects, "{lines:?}");
        assert_eq!(bench.trace.events.join(" "), events, "{lines:?}");
        check_replay(&bench);
    }
}

#[test]
fn other_kinds_are_refused_and_left_alone() {
    let mut bench = Bench::default();
    bench.run("RPUSH l x");
    for line in [
        "SETBIT l 0 1",
        "GETBIT l 0",
        "BITCOUNT l",
        "BITPOS l 1",
        "BITOP AND d none l",
        "BITFIELD l",
        "BITFIELD l SET u8 0 1",
        "BITFIELD_RO l GET u8 0",
    ] {
        assert_eq!(bench.run(line), WRONG, "{line}");
    }
    assert_eq!(bench.run("BITOP AND l none"), "0");
    assert_eq!(bench.run("EXISTS l"), "0");
}

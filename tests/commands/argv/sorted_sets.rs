//! Commands on sorted sets.

use super::{Argv, FLOATS, Maker};

const SCORE_BOUNDS: &[&str] = &[
    "-inf", "+inf", "inf", "(-inf", "(+inf", "(1", "(0.1", "((1", "(", "nan", "(nan", "", "(5",
    "(100", "(0x10", " 1", "1 ",
];

const LEX_BOUNDS: &[&str] = &[
    "-", "+", "[", "(", "[a", "(a", "[m1", "(m1", "[m5", "(m9", "[m50", "a", "", "[zz", "(\u{e9}",
    "--", "+x",
];

impl Maker {
    fn score_bound(&mut self) -> Vec<u8> {
        match self.rng.below(3) {
            0 => self.pick(SCORE_BOUNDS).into(),
            1 => (self.rng.below(40) as i64 - 10).to_string().into(),
            _ => self.float(),
        }
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.rng.below(3) {
            0 => {
                let kind = self.pick(&["[", "("]);
                [kind.as_bytes(), &self.member()].concat()
            }
            _ => self.pick(LEX_BOUNDS).into(),
        }
    }

    fn limit(&mut self, argv: &mut Argv) {
        if self.chance(35) {
            argv.push(b"LIMIT".to_vec());
            argv.push(self.integer());
            if !self.chance(4) {
                argv.push(self.integer());
            }
        }
    }

    pub(super) fn sorted_set(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(40) {
            0..9 => {
                let mut argv = Self::command("ZADD", [a]);
                for word in ["NX", "XX", "GT", "LT", "CH"] {
                    self.maybe(&mut argv, 8, word);
                }
                let incr = self.chance(10);
                if incr {
                    argv.push(b"INCR".to_vec());
                }
                let pairs = if incr && self.chance(90) {
                    1
                } else {
                    self.some()
                };
                // In some keys all scores are equal, mostly: for BYLEX.
                let by_name = [&b"k0"[..], b"k1", b"k2"].contains(&argv[1].as_slice());
                let equal = self.chance(if by_name { 92 } else { 20 });
                for _ in 0..pairs {
                    argv.push(match self.rng.below(12) {
                        _ if equal => b"0".to_vec(),
                        0 if pairs < 10 => self.pick(FLOATS).into(),
                        1..6 => (self.rng.below(40) as i64 - 10).to_string().into(),
                        _ => (self.rng.below(100_000) as f64 / 128.0).to_string().into(),
                    });
                    argv.push(self.member());
                }
                argv
            }
            9..11 => self.many("ZREM", a, Self::member),
            11 => {
                let name = self.pick(&["ZSCORE", "ZRANK", "ZREVRANK"]);
                Self::command(name, [a, self.member()])
            }
            12 => self.many("ZMSCORE", a, Self::member),
            13..15 => Self::command("ZINCRBY", [a, self.float(), self.member()]),
            15 => Self::command("ZCARD", [a]),
            16 => Self::command("ZCOUNT", [a, self.score_bound(), self.score_bound()]),
            17 => Self::command("ZLEXCOUNT", [a, self.lex_bound(), self.lex_bound()]),
            18..22 => {
                let mut argv = Self::command("ZRANGE", [a]);
                self.range_arguments(&mut argv);
                self.maybe(&mut argv, 40, "WITHSCORES");
                argv
            }
            22 => {
                let mut argv = Self::command("ZRANGESTORE", [a, b]);
                self.range_arguments(&mut argv);
                argv
            }
            23 => {
                let mut argv = Self::command("ZREVRANGE", [a, self.integer(), self.integer()]);
                self.maybe(&mut argv, 40, "WITHSCORES");
                argv
            }
            24..26 => {
                let name = self.pick(&["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]);
                let mut argv = Self::command(name, [a, self.score_bound(), self.score_bound()]);
                self.maybe(&mut argv, 40, "WITHSCORES");
                self.limit(&mut argv);
                self.maybe(&mut argv, 10, "WITHSCORES");
                argv
            }
            26 => {
                let name = self.pick(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let mut argv = Self::command(name, [a, self.lex_bound(), self.lex_bound()]);
                self.limit(&mut argv);
                argv
            }
            27 => Self::command("ZREMRANGEBYRANK", [a, self.integer(), self.integer()]),
            28 => Self::command(
                "ZREMRANGEBYSCORE",
                [a, self.score_bound(), self.score_bound()],
            ),
            29 => Self::command("ZREMRANGEBYLEX", [a, self.lex_bound(), self.lex_bound()]),
            30..32 => {
                let name = self.pick(&["ZPOPMIN", "ZPOPMAX"]);
                let mut argv = Self::command(name, [a]);
                if self.chance(50) {
                    argv.push(self.integer());
                }
                argv
            }
            32 => {
                let mut argv = Self::command("ZMPOP", []);
                self.counted(&mut argv);
                argv.push(self.pick(&["MIN", "MAX", "max", "MID"]).into());
                if self.chance(50) {
                    argv.push(b"COUNT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            33 => {
                let mut argv = Self::command("ZRANDMEMBER", [a]);
                if self.chance(80) {
                    argv.push(self.count());
                    self.maybe(&mut argv, 50, "WITHSCORES");
                    self.maybe(&mut argv, 5, "WITHVALUES");
                }
                argv
            }
            34 => {
                let name = self.pick(&["ZINTER", "ZUNION"]);
                let mut argv = Self::command(name, []);
                self.counted(&mut argv);
                self.weights(&mut argv);
                self.maybe(&mut argv, 50, "WITHSCORES");
                argv
            }
            35..37 => {
                let name = self.pick(&["ZINTERSTORE", "ZUNIONSTORE"]);
                let mut argv = Self::command(name, [a]);
                self.counted(&mut argv);
                self.weights(&mut argv);
                argv
            }
            37 => {
                let name = self.pick(&["ZDIFF", "ZDIFFSTORE", "ZINTERCARD"]);
                let mut argv = Self::command(name, []);
                if name == "ZDIFFSTORE" {
                    argv.push(a);
                }
                self.counted(&mut argv);
                if name == "ZDIFF" {
                    self.maybe(&mut argv, 50, "WITHSCORES");
                }
                if name == "ZINTERCARD" && self.chance(40) {
                    argv.push(b"LIMIT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            38 => self.many("SADD", a, Self::member),
            _ => {
                let mut argv = Self::command("ZSCAN", [a, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }

    fn range_arguments(&mut self, argv: &mut Argv) {
        let by = self.pick(&["", "", "BYSCORE", "BYLEX"]);
        for _ in 0..2 {
            argv.push(match by {
                "BYSCORE" => self.score_bound(),
                "BYLEX" => self.lex_bound(),
                _ => self.integer(),
            });
        }
        if !by.is_empty() {
            argv.push(by.into());
        }
        self.maybe(argv, 40, "REV");
        if !by.is_empty() || self.chance(5) {
            self.limit(argv);
        }
    }

    fn weights(&mut self, argv: &mut Argv) {
        let keys = argv
            .iter()
            .find_map(|arg| std::str::from_utf8(arg).ok()?.parse::<u64>().ok())
            .unwrap_or(1)
            .min(6);
        if self.chance(40) {
            argv.push(b"WEIGHTS".to_vec());
            let keys = if self.chance(5) { keys + 1 } else { keys };
            for _ in 0..keys {
                argv.push(self.float());
            }
        }
        if self.chance(40) {
            argv.push(b"AGGREGATE".to_vec());
            argv.push(self.pick(&["SUM", "MIN", "MAX", "max", "AVG"]).into());
        }
    }
}

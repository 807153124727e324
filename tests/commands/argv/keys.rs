//! Commands on keys of any type.

use super::{Argv, Maker};

impl Maker {
    /// Seconds, far away and never the same twice, so that two keyspaces that look at the clock at slightly different
    /// times come to the same result under GT and LT.
    pub(super) fn ttl(&mut self) -> u64 {
        loop {
            let ttl = 1000 * self.rng.between(100, 400_000);
            if self.used_ttls.insert(ttl) {
                return ttl;
            }
        }
    }

    pub(super) fn expiry(&mut self) -> Argv {
        let key = self.key();
        let name = self.pick(&[
            "EXPIRE",
            "PEXPIRE",
            "EXPIREAT",
            "PEXPIREAT",
            "TTL",
            "PTTL",
            "EXPIRETIME",
            "PEXPIRETIME",
            "PERSIST",
        ]);
        let mut argv = Self::command(name, [key]);
        if !name.ends_with("TTL") && !name.ends_with("TIME") && name != "PERSIST" {
            let millis = if name.starts_with('P') { 1000 } else { 1 };
            let time = match self.rng.below(10) {
                0 => self
                    .pick(&["0", "-1", "-1000", "-9223372036854775808"])
                    .into(),
                1 => self.integer_but_near().into(),
                _ if name.ends_with("AT") => {
                    // A few, so that equal times meet.
                    (millis * (4_000_000_000 + self.rng.below(5) * 5000)).to_string()
                }
                _ => (millis * self.ttl()).to_string(),
            };
            argv.push(time.into());
            if self.chance(40) {
                argv.push(self.pick(&["NX", "XX", "GT", "LT", "gt", "ZZ"]).into());
                if self.chance(15) {
                    argv.push(self.pick(&["NX", "XX", "GT", "LT"]).into());
                }
            }
        }
        argv
    }

    /// Edge cases of times; none that would end in the middle of a run.
    pub(super) fn integer_but_near(&mut self) -> &'static str {
        self.pick(&[
            "9223372036854775807",
            "9223372036854775",
            "9223372036854776",
            "9223372036854775808",
            "-9223372036854775807",
            "",
            "abc",
            "1.5",
            " 1",
            "+1",
        ])
    }

    /// EX, PX and their like, with a value.
    pub(super) fn expire_option(&mut self, argv: &mut Argv) {
        let word = self.pick(&["EX", "PX", "EXAT", "PXAT"]);
        let millis = if word.starts_with('P') { 1000 } else { 1 };
        argv.push(word.into());
        if self.chance(4) {
            return;
        }
        let time = match self.rng.below(8) {
            0 => self.pick(&["0", "-1", "-5"]).into(),
            1 => self.integer_but_near().into(),
            _ if word.ends_with("AT") => (millis * (4_000_000_000 + self.ttl())).to_string(),
            _ => (millis * self.ttl()).to_string(),
        };
        argv.push(time.into());
    }

    pub(super) fn keys(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(36) {
            32 => Self::command("DUMP", [a]),
            33..36 => self.restore(a, b),
            0 => Self::command("DEL", [a, b]),
            1 => Self::command("UNLINK", [a]),
            2 => {
                let name = self.pick(&["EXISTS", "TOUCH"]);
                Self::command(name, [a.clone(), b, a])
            }
            3 => Self::command("TYPE", [a]),
            4..6 => Self::command("RENAME", [a, b]),
            6 => Self::command("RENAMENX", [a, b]),
            7..10 => {
                let mut argv = Self::command("COPY", [a, b]);
                if self.chance(30) {
                    argv.push(b"DB".to_vec());
                    argv.push(self.pick(&["0", "1", "2", "15", "16", "-1", "abc"]).into());
                }
                self.maybe(&mut argv, 40, "REPLACE");
                argv
            }
            10 => {
                let db = self.pick(&["0", "1", "2", "16", "-1", "x"]);
                Self::command("MOVE", [a, db.into()])
            }
            11 => {
                let pattern = self.pick(&[
                    "*", "k*", "k[0-3]", "k[^1]", "?1", "", "k\\1", "[", "k[2-", "*\\", "shared?",
                    "**1", "k[3-0]",
                ]);
                Self::command("KEYS", [pattern.into()])
            }
            12..14 => {
                let mut argv = Self::command("SCAN", [b"0".to_vec()]);
                self.scan_options(&mut argv);
                if self.chance(30) {
                    argv.push(b"TYPE".to_vec());
                    argv.push(
                        self.pick(&["string", "hash", "zset", "STRING", "nope"])
                            .into(),
                    );
                }
                argv
            }
            14 => Self::command("RANDOMKEY", []),
            15 => Self::command("DBSIZE", []),
            16 => {
                let mut argv = Self::command("FLUSHDB", []);
                if self.chance(60) {
                    argv.push(self.pick(&["SYNC", "ASYNC", "async", "NOW"]).into());
                }
                // Mostly something else: an empty keyspace is no test.
                if self.chance(25) {
                    argv
                } else {
                    self.any_type()
                }
            }
            17 => {
                let (x, y) = (
                    self.pick(&["0", "1", "2"]),
                    self.pick(&["0", "1", "16", "-1", "x"]),
                );
                Self::command("SWAPDB", [x.into(), y.into()])
            }
            18 => {
                let db = self.pick(&["0", "0", "1", "2"]);
                Self::command("SELECT", [db.into()])
            }
            19..26 => self.expiry(),
            _ => self.any_type(),
        }
    }

    /// RESTORE with the name of a key in the place of what DUMP of it gives.
    pub(super) fn restore(&mut self, to: Vec<u8>, from: Vec<u8>) -> Argv {
        let mut argv = Self::command("RESTORE", [to]);
        argv.push(match self.below(4) {
            0 => self.pick(&["-1", "abc", ""]).into(),
            1 => (self.ttl() * 1000).to_string().into(),
            _ => b"0".to_vec(),
        });
        argv.push(from);
        self.maybe(&mut argv, 60, "REPLACE");
        self.maybe(&mut argv, 15, "replace");
        for word in ["IDLETIME", "FREQ"] {
            if self.chance(10) {
                argv.push(word.into());
                argv.push(self.integer());
            }
        }
        self.maybe(&mut argv, 15, "ABSTTL");
        argv
    }
}

//! Commands on strings.

use super::{Argv, Maker};

impl Maker {
    pub(super) fn string(&mut self) -> Argv {
        let key = self.key();
        match self.rng.below(27) {
            26 => self.common_subsequence(),
            0..4 => {
                let mut argv = Self::command("SET", [key, self.value()]);
                for word in ["NX", "XX", "GET", "KEEPTTL", "get"] {
                    self.maybe(&mut argv, 15, word);
                }
                if self.chance(35) {
                    self.expire_option(&mut argv);
                }
                self.maybe(&mut argv, 10, "NX");
                argv
            }
            4 => Self::command("GET", [key]),
            5 => Self::command("GETSET", [key, self.value()]),
            6 => Self::command("GETDEL", [key]),
            7 => {
                let mut argv = Self::command("GETEX", [key]);
                if self.chance(60) {
                    self.expire_option(&mut argv);
                }
                self.maybe(&mut argv, 25, "PERSIST");
                argv
            }
            8 => {
                let keys: Vec<_> = (0..self.some()).map(|_| self.key()).collect();
                Self::command("MGET", keys)
            }
            9..11 => {
                let name = self.pick(&["MSET", "MSETNX", "MSET"]);
                let mut argv = Self::command(name, []);
                for _ in 0..self.some().min(100) {
                    argv.push(self.key());
                    argv.push(self.value());
                }
                argv
            }
            11 => Self::command("SETNX", [key, self.value()]),
            12 => {
                let ttl = match self.rng.below(4) {
                    0 => self.pick(&["0", "-1", "abc", "9223372036854775807"]).into(),
                    _ => self.ttl().to_string(),
                };
                Self::command("SETEX", [key, ttl.into(), self.value()])
            }
            13 => {
                let ttl = match self.rng.below(4) {
                    0 => self.pick(&["0", "-1", "abc", "9223372036854775807"]).into(),
                    _ => (self.ttl() * 1000).to_string(),
                };
                Self::command("PSETEX", [key, ttl.into(), self.value()])
            }
            14 => Self::command("APPEND", [key, self.value()]),
            15 => Self::command("STRLEN", [key]),
            16 => {
                let name = self.pick(&["GETRANGE", "SUBSTR"]);
                Self::command(name, [key, self.integer(), self.integer()])
            }
            17 => {
                let offset = self
                    .pick(&[
                        "0",
                        "1",
                        "3",
                        "5",
                        "40",
                        "100",
                        "5000",
                        "-1",
                        "536870911",
                        "536870912",
                        "9223372036854775807",
                        "abc",
                        "",
                    ])
                    .to_owned();
                let value = if offset == "536870911" {
                    b"ab".to_vec()
                } else {
                    self.value()
                };
                Self::command("SETRANGE", [key, offset.into(), value])
            }
            18..20 => {
                let name = self.pick(&["INCR", "DECR"]);
                Self::command(name, [key])
            }
            20..22 => {
                let name = self.pick(&["INCRBY", "DECRBY"]);
                Self::command(name, [key, self.integer()])
            }
            22 => Self::command("SET", [key, self.integer()]),
            23 => Self::command("SET", [key, self.float()]),
            _ => Self::command("INCRBYFLOAT", [key, self.float()]),
        }
    }

    fn common_subsequence(&mut self) -> Argv {
        let mut argv = Self::command("LCS", [self.key(), self.key()]);
        for word in ["LEN", "IDX", "idx", "WITHMATCHLEN"] {
            self.maybe(&mut argv, 30, word);
        }
        if self.chance(30) {
            argv.push(b"MINMATCHLEN".to_vec());
            argv.push(self.integer());
        }
        argv
    }
}

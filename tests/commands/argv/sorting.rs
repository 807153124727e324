//! SORT, and what it sorts and looks up.

use super::{Argv, Maker};

impl Maker {
    /// Mostly small numbers, so that weights are found.
    fn sortable(&mut self) -> Vec<u8> {
        match self.below(60) {
            0 => self.float(),
            1 => self
                .pick(&["v1", "v2", "", "-3", "1e2", " 5", "inf", "nan", "5x"])
                .into(),
            2..5 => format!("{}.5", self.below(20)).into(),
            _ => self.below(30).to_string().into(),
        }
    }

    fn pattern(&mut self) -> Vec<u8> {
        self.pick(&[
            "w_*", "w_*", "h_*->f", "h_*->f", "h_*->", "w_*x", "*", "#", "k1", "nosort", "h_*->n",
            "->*", "",
        ])
        .into()
    }

    pub(super) fn sorting(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.below(20) {
            0..2 => self.many("RPUSH", a, Self::sortable),
            2..4 => self.many("SADD", a, Self::sortable),
            4..6 => {
                let mut argv = Self::command("ZADD", [a]);
                for _ in 0..self.some() {
                    argv.push(self.below(50).to_string().into());
                    argv.push(self.sortable());
                }
                argv
            }
            6 => {
                let mut argv = Self::command("MSET", []);
                for _ in 0..6 {
                    argv.push(format!("w_{}", self.below(30)).into());
                    argv.push(self.sortable());
                }
                argv
            }
            7 => {
                let key = format!("h_{}", self.below(30));
                Self::command("HSET", [key.into(), b"f".to_vec(), self.sortable()])
            }
            8 => Self::command("LRANGE", [a, b"0".to_vec(), b"-1".to_vec()]),
            _ => {
                let name = self.pick(&["SORT", "SORT", "SORT_RO"]);
                let mut argv = Self::command(name, [a]);
                if self.chance(35) {
                    argv.push(b"BY".to_vec());
                    argv.push(self.pattern());
                }
                if self.chance(30) {
                    argv.push(b"LIMIT".to_vec());
                    argv.push(self.integer());
                    argv.push(self.integer());
                }
                for _ in 0..self.below(3) {
                    argv.push(b"GET".to_vec());
                    argv.push(self.pattern());
                }
                for word in ["ASC", "DESC", "desc", "LIMIT"] {
                    self.maybe(&mut argv, if word == "LIMIT" { 2 } else { 20 }, word);
                }
                self.maybe(&mut argv, 45, "ALPHA");
                if self.chance(25) {
                    argv.push(b"STORE".to_vec());
                    argv.push(b);
                }
                argv
            }
        }
    }
}

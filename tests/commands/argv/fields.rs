//! Fields of hashes that end.

use super::{Argv, Maker};

impl Maker {
    fn fields(&mut self, argv: &mut Argv, pairs: bool) {
        let n = self.rng.between(1, 4);
        argv.push(
            self.pick(&["FIELDS", "FIELDS", "fields", "FIELDS", "FIELD"])
                .into(),
        );
        argv.push(if self.chance(6) {
            self.integer()
        } else {
            n.to_string().into()
        });
        for _ in 0..n {
            argv.push(self.field_name());
            if pairs {
                argv.push(self.value());
            }
        }
    }

    fn field_name(&mut self) -> Vec<u8> {
        match self.below(10) {
            0 => self.member(),
            _ => format!("f{}", self.below(12)).into(),
        }
    }

    /// A time for a word or command that counts seconds or ms, from now or from 1970.
    fn time(&mut self, milliseconds: bool, absolute: bool) -> Vec<u8> {
        let factor = if milliseconds { 1000 } else { 1 };
        match self.below(14) {
            0 => self
                .pick(&[
                    "0",
                    "-1",
                    "abc",
                    "",
                    "70368744177664",
                    "9223372036854775807",
                ])
                .into(),
            1 if absolute => b"1".to_vec(),
            _ if absolute => (factor * (4_000_000_000 + self.below(5) * 5000))
                .to_string()
                .into(),
            _ => (factor * self.ttl()).to_string().into(),
        }
    }

    fn time_option(&mut self, argv: &mut Argv) {
        let word = self.pick(&["EX", "PX", "EXAT", "PXAT"]);
        argv.push(word.into());
        if self.chance(97) {
            argv.push(self.time(word.starts_with('P'), word.ends_with("AT")));
        }
    }

    pub(super) fn hash_fields(&mut self) -> Argv {
        let key = self.key();
        match self.below(30) {
            0..6 => {
                let mut argv = Self::command("HSET", [key]);
                for _ in 0..self.some() {
                    argv.push(self.field_name());
                    argv.push(self.value());
                }
                argv
            }
            6..12 => {
                let name = self.pick(&["HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"]);
                let time = self.time(name.starts_with("HP"), name.ends_with("AT"));
                let mut argv = Self::command(name, [key, time]);
                if self.chance(40) {
                    argv.push(self.pick(&["NX", "XX", "GT", "LT", "lt", "ZZ"]).into());
                }
                self.fields(&mut argv, false);
                argv
            }
            12..15 => {
                let name = self.pick(&["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"]);
                let mut argv = Self::command(name, [key]);
                self.fields(&mut argv, false);
                argv
            }
            15..17 => {
                let name = self.pick(&["HPERSIST", "HGETDEL"]);
                let mut argv = Self::command(name, [key]);
                self.fields(&mut argv, false);
                argv
            }
            17..20 => {
                let mut argv = Self::command("HGETEX", [key]);
                match self.below(4) {
                    0 => {}
                    1 => argv.push(b"PERSIST".to_vec()),
                    _ => self.time_option(&mut argv),
                }
                self.fields(&mut argv, false);
                argv
            }
            20..24 => {
                let mut argv = Self::command("HSETEX", [key]);
                for word in ["FNX", "FXX", "KEEPTTL"] {
                    self.maybe(&mut argv, 15, word);
                }
                if self.chance(50) {
                    self.time_option(&mut argv);
                }
                self.maybe(&mut argv, 4, "FNX");
                self.maybe(&mut argv, 4, "NOW");
                self.fields(&mut argv, true);
                argv
            }
            24 => Self::command("HINCRBY", [key, self.field_name(), b"1".to_vec()]),
            25 => Self::command("HINCRBYFLOAT", [key, self.field_name(), b"0.5".to_vec()]),
            26 => Self::command("HGETALL", [key]),
            27 => {
                let to = self.key();
                let name = self.pick(&["RENAME", "COPY"]);
                Self::command(name, [key, to])
            }
            28 => {
                let from = self.key();
                self.restore(key, from)
            }
            _ => self.many("HDEL", key, Self::field_name),
        }
    }
}

//! Commands on hashes.

use super::{Argv, Maker};

impl Maker {
    pub(super) fn hash(&mut self) -> Argv {
        let key = self.key();
        match self.rng.below(24) {
            0..6 => {
                let name = self.pick(&["HSET", "HSET", "HMSET"]);
                let mut argv = Self::command(name, [key]);
                for _ in 0..self.some() {
                    argv.push(self.member());
                    argv.push(self.value());
                }
                argv
            }
            6 => Self::command("HSETNX", [key, self.member(), self.value()]),
            7 => Self::command("HGET", [key, self.member()]),
            8 => self.many("HMGET", key, Self::member),
            9 => Self::command("HGETALL", [key]),
            10..13 => self.many("HDEL", key, Self::member),
            13 => Self::command("HLEN", [key]),
            14 => {
                let name = self.pick(&["HEXISTS", "HSTRLEN"]);
                Self::command(name, [key, self.member()])
            }
            15 => {
                let name = self.pick(&["HKEYS", "HVALS"]);
                Self::command(name, [key])
            }
            16..18 => Self::command("HINCRBY", [key, self.member(), self.integer()]),
            18..20 => Self::command("HINCRBYFLOAT", [key, self.member(), self.float()]),
            20..22 => {
                let mut argv = Self::command("HRANDFIELD", [key]);
                if self.chance(80) {
                    argv.push(self.count());
                    self.maybe(&mut argv, 50, "WITHVALUES");
                    self.maybe(&mut argv, 5, "WITHSCORES");
                }
                argv
            }
            _ => {
                let mut argv = Self::command("HSCAN", [key, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }
}

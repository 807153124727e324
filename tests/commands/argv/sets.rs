//! Commands on sets.

use super::{Argv, Maker};

impl Maker {
    pub(super) fn set(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(26) {
            0..6 => {
                // All integers now and then: that is another encoding in the host.
                if self.chance(40) {
                    self.many("SADD", a, |maker| maker.below(900).to_string().into())
                } else {
                    self.many("SADD", a, Self::member)
                }
            }
            6..9 => self.many("SREM", a, Self::member),
            9 => {
                let name = self.pick(&["SMEMBERS", "SCARD"]);
                Self::command(name, [a])
            }
            10 => Self::command("SISMEMBER", [a, self.member()]),
            11 => self.many("SMISMEMBER", a, Self::member),
            12..14 => {
                let mut argv = Self::command("SPOP", [a]);
                if self.chance(50) {
                    argv.push(self.count());
                }
                argv
            }
            14..16 => {
                let mut argv = Self::command("SRANDMEMBER", [a]);
                if self.chance(70) {
                    argv.push(self.count());
                }
                argv
            }
            16..18 => Self::command("SMOVE", [a, b, self.member()]),
            18..20 => {
                let name = self.pick(&["SINTER", "SUNION", "SDIFF"]);
                self.few_keys(name)
            }
            20..23 => {
                let name = self.pick(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                let mut argv = self.few_keys(name);
                argv.insert(1, a);
                argv
            }
            23 => {
                let mut argv = Self::command("SINTERCARD", []);
                self.counted(&mut argv);
                if self.chance(40) {
                    argv.push(b"LIMIT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            _ => {
                let mut argv = Self::command("SSCAN", [a, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }

    fn few_keys(&mut self, name: &str) -> Argv {
        let keys: Vec<_> = (0..self.rng.between(1, 4)).map(|_| self.key()).collect();
        Self::command(name, keys)
    }
}

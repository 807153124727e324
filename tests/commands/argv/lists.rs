//! Commands on lists.

use super::{Argv, Maker};

impl Maker {
    pub(super) fn list(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(24) {
            0..6 => {
                let name = self.pick(&["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
                // A few values are common, so that LREM, LPOS and LINSERT find some.
                self.many(name, a, |maker| {
                    if maker.chance(50) {
                        format!("m{}", maker.below(6)).into()
                    } else {
                        maker.value()
                    }
                })
            }
            6..9 => {
                let name = self.pick(&["LPOP", "RPOP"]);
                let mut argv = Self::command(name, [a]);
                if self.chance(40) {
                    argv.push(self.integer());
                }
                argv
            }
            9 => {
                let mut argv = Self::command("LMPOP", []);
                self.counted(&mut argv);
                argv.push(self.pick(&["LEFT", "RIGHT", "left", "UP"]).into());
                if self.chance(50) {
                    argv.push(b"COUNT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            10..12 => {
                let (from, to) = (
                    self.pick(&["LEFT", "RIGHT", "right"]),
                    self.pick(&["LEFT", "RIGHT", "DOWN"]),
                );
                Self::command("LMOVE", [a, b, from.into(), to.into()])
            }
            12 => Self::command("RPOPLPUSH", [a, b]),
            13 => Self::command("LLEN", [a]),
            14..16 => Self::command("LRANGE", [a, self.integer(), self.integer()]),
            16 => Self::command("LINDEX", [a, self.integer()]),
            17..19 => {
                let mut argv = Self::command("LPOS", [a, self.element()]);
                for word in ["RANK", "COUNT", "MAXLEN"] {
                    if self.chance(35) {
                        argv.push(word.into());
                        if !self.chance(4) {
                            argv.push(self.integer());
                        }
                    }
                }
                argv
            }
            19 => Self::command("LSET", [a, self.integer(), self.value()]),
            20 => {
                let place = self.pick(&["BEFORE", "AFTER", "before", "AT"]);
                Self::command("LINSERT", [a, place.into(), self.element(), self.value()])
            }
            21 => Self::command("LREM", [a, self.integer(), self.element()]),
            22 => Self::command("LTRIM", [a, self.integer(), self.integer()]),
            _ => Self::command("LTRIM", [a, b"0".to_vec(), b"300".to_vec()]),
        }
    }

    fn element(&mut self) -> Vec<u8> {
        if self.chance(70) {
            format!("m{}", self.rng.below(6)).into()
        } else {
            self.value()
        }
    }
}
